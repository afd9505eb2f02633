"""How else a path may be read than byte for byte, as an application may do.

Routes and rules compare bytes. An application decodes what it is asked for: WSGI decodes all of a
path before the application sees it, some servers drop parameters (``;v=1``) and empty segments. So
a path whose other reading would take another route or another rule is refused; see ``web/site.py``.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

_PERCENT_SIGN, _SEMICOLON = b"%;"


def decoded(path: bytes) -> bytes:
    """``path`` with every percent-encoding decoded."""
    return unquote_to_bytes(path) if _PERCENT_SIGN in path else path


def other_reading(path: bytes) -> bytes:
    """``path`` decoded, without parameters and empty segments; ``path`` itself if that is the same.

    Dot segments have been refused before, however they are spelled.
    """
    if _PERCENT_SIGN not in path and _SEMICOLON not in path and path.find(b"//") < 0:
        return path
    segments = [one.partition(b";")[0] for one in unquote_to_bytes(path).split(b"/")]
    last = segments.pop()
    return b"/" + b"/".join([*[one for one in segments if one], last])
