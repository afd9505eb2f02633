"""Other readings of a path than byte for byte, as an application may read it.

Routes and rules compare bytes. Applications decode paths: WSGI decodes the whole path, and some
servers drop parameters (``;v=1``) and empty segments. So a path is refused if its other reading
would have another route or another rule; see ``web/site.py``.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

_PERCENT_SIGN, _SEMICOLON = b"%;"


def decoded(path: bytes) -> bytes:
    """``path`` with every percent-encoding decoded."""
    return unquote_to_bytes(path) if _PERCENT_SIGN in path else path


def other_reading(path: bytes) -> bytes:
    """``path`` decoded, without parameters and empty segments; ``path`` itself if nothing changes.

    Dot segments, in any spelling, have been refused before.
    """
    if _PERCENT_SIGN not in path and _SEMICOLON not in path and path.find(b"//") < 0:
        return path
    segments = [one.partition(b";")[0] for one in unquote_to_bytes(path).split(b"/")]
    last = segments.pop()
    return b"/" + b"/".join([*[one for one in segments if one], last])
