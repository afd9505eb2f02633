"""Splits the path of a request into the names to open below a directory.

Knows paths as bytes. A name is decoded once. If it could lead out of the directory after that, it
is refused, not repaired. So no spelling of a path leads out.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from ipyproxy.errors import Problem, ProxyError

_LONGEST = 255
"""Longest file name on Linux, in bytes."""
# RFC 8615: the only name with a leading dot that is public.
_SHOWN = b".well-known"


class Name(NamedTuple):
    """The names that lead to a file below a directory; ``segments`` is empty for the directory."""

    segments: tuple[bytes, ...]
    ends_in_slash: bool


def below(prefix: bytes, path: bytes) -> Name:
    """Split ``path`` below ``prefix``, the path of the route.

    :param prefix: a path without slash at its end; empty for the root.
    :param path: the path of a target, with its percent-encodings and without query.
    :raises ProxyError: ``NOT_FOUND`` if no file with this name may be sent.
    """
    rest = path[len(prefix) :]
    if not path.startswith(prefix) or (rest and rest[:1] != b"/"):
        raise ProxyError(Problem.NOT_FOUND, "outside the directory's own path")
    *segments, last = rest[1:].split(b"/")
    names = tuple(_decoded(segment) for segment in segments)
    if last:
        names += (_decoded(last),)
    for at, name in enumerate(names):
        if name.startswith(b".") and (at or name != _SHOWN):
            raise ProxyError(Problem.NOT_FOUND, "a hidden file")
    return Name(names, bool(rest) and not last)


def _decoded(segment: bytes) -> bytes:
    name = unquote_to_bytes(segment)
    if not name or len(name) > _LONGEST or name in (b".", b"..") or b"/" in name or b"\0" in name:
        raise ProxyError(Problem.NOT_FOUND, "no name of a file")
    return name
