"""Finds the file for a path: the file itself, a directory's index, or a compressed copy.

Knows names and directories. Knows nothing of requests. May wait for a disk, unless ``at_once`` is
set.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import NamedTuple

from ipyproxy.files.conditions import Validators
from ipyproxy.files.names import Name
from ipyproxy.files.opening import Directory, OpenFile, open_alone
from ipyproxy.files.types import is_compressible

INDEX = b"index.html"
COPIES: Mapping[bytes, bytes] = {b"br": b".br", b"zstd": b".zst", b"gzip": b".gz"}
"""Content codings, the best first, each with the suffix of a compressed copy's name."""


class Found(NamedTuple):
    """A file to send.

    ``name`` determines its type. ``coding`` is its content coding (empty: none). ``varies`` says
    that there are compressed copies, so that other clients may get a different one.
    """

    file: OpenFile
    name: bytes
    coding: bytes = b""
    varies: bool = False


def find(
    directory: bytes, name: Name, codings: tuple[bytes, ...], *, at_once: bool = False
) -> Found | None:
    """Find the file; None for a directory whose path lacks the slash at its end.

    :param directory: the directory; or a single file, and then the name must be empty.
    :param codings: the codings that the client accepts, the best first.
    :raises WouldWaitError: with ``at_once``, if it would have to wait for a disk or a server.
    :raises OSError: if there is no such file, or if it may not be sent.
    """
    segments = name.segments
    if name.ends_in_slash:
        segments += (INDEX,)
    elif not segments:
        file = open_alone(directory, at_once=at_once)
        return None if file is None else Found(file, file.name)
    with Directory(directory, at_once=at_once) as opened:
        file = opened.open(segments)
        if file is None:
            if name.ends_in_slash:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            return None
        found = Found(file, file.name)
        if not is_compressible(file.name):
            return found
        try:
            return _best_copy(opened, segments, found, codings)
        except BaseException:
            file.close()
            raise


def _best_copy(
    directory: Directory, segments: tuple[bytes, ...], found: Found, codings: tuple[bytes, ...]
) -> Found:
    *above, name = segments
    copies: dict[bytes, OpenFile] = {}
    try:
        for coding, ending in COPIES.items():
            if copy := directory.open_if_there((*above, name + ending)):
                copies[coding] = copy
        for coding in codings:
            if coding in copies:
                found.file.close()
                return Found(copies.pop(coding), name, coding, varies=True)
        return found._replace(varies=bool(copies))
    finally:
        for copy in copies.values():
            copy.close()


def validators_of(file: OpenFile) -> Validators:
    """The validators of this state of the file, unique on this host."""
    etag = b'"%x-%x-%x"' % (file.inode, file.modified_ns, file.size)
    return Validators(etag, file.modified_ns // 1_000_000_000)
