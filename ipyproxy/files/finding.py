"""Which file of a directory a request gets: itself, its index, or a compressed copy beside it.

Knows names and what lies where. Knows nothing of requests; may wait for a disk unless told not to.
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
"""Content codings, the best first, and how the name of a file's copy ends that has it."""


class Found(NamedTuple):
    """A file to send.

    ``name`` is what its type follows from, ``coding`` what it is compressed as (empty: it is not);
    ``varies`` says that there are compressed copies, so that another client may get another one.
    """

    file: OpenFile
    name: bytes
    coding: bytes = b""
    varies: bool = False


def find(
    directory: bytes, name: Name, codings: tuple[bytes, ...], *, at_once: bool = False
) -> Found | None:
    """The file of that name; None for a directory that was asked for without a slash at its end.

    :param directory: where it is; or a file, which then has no name below it.
    :param codings: those that the client takes, the best first.
    :raises WouldWaitError: with ``at_once``, if a disk or a server has to be asked.
    :raises OSError: if there is none, or if it may not be shown.
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
    """What tells this state of the file from all others of this host."""
    etag = b'"%x-%x-%x"' % (file.inode, file.modified_ns, file.size)
    return Validators(etag, file.modified_ns // 1_000_000_000)
