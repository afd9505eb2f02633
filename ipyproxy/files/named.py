"""Files that an application names instead of sending them: X-Sendfile and X-Accel-Redirect.

Knows how to read such a name, and which directories are allowed. The other fields of the
application's answer stay, so it decides the file's type and its name for the browser.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.files.disk import Disks
from ipyproxy.files.opening import Directory, OpenFile
from ipyproxy.files.sending import Prepared, Sending, asked_by, prepared
from ipyproxy.files.types import content_type
from ipyproxy.http1.lines import SpecialFields, lines_of
from ipyproxy.server.request import Request

_TYPE = b"content-type"
_FIELDS = (b"x-accel-redirect", b"x-sendfile")
# Fields about the application's own, empty body, and fields that the proxy sets for the file.
_REPLACED = frozenset(
    (b"etag", b"last-modified", b"accept-ranges", b"content-range", b"content-type")
)
# The kernel's errors for a link that leads out, or (before Linux 5.6) for any link.
_LINKS = (errno.EXDEV, errno.ELOOP)
_RULE = "it names a file that it may not have sent"


class Located(NamedTuple):
    """A file below one of the allowed directories."""

    directory: bytes
    segments: tuple[bytes, ...]


class NamedFiles:
    """The directories from which an application may have files sent.

    :param directories: absolute paths; the target of a link has to be below one of them too.
    """

    def __init__(self, directories: Iterable[Path], disks: Disks) -> None:
        self._disks = {bytes(path): disks.of(str(path)) for path in directories}

    def sending(self, request: Request, special: SpecialFields, fields: bytes) -> Sending | None:
        """The sending of the file that an answer names; None if it names none.

        :param special: the special fields of that answer, among them the file's name.
        :param fields: its field lines that are passed on.
        """
        name = next((name for name in _FIELDS if name in special), None)
        if name is None:
            return None
        located = self._locate(name, special[name])
        asked = asked_by(request)
        lines = lines_of(fields)
        kept = [line for line in lines if _name_of(line) not in _REPLACED]
        kind = next((_value_of(line) for line in lines if _name_of(line) == _TYPE), None)

        def prepare(at_once: bool) -> Prepared:
            file = self._open(located, at_once=at_once)
            file, made, _ = prepared(file, asked, kind or content_type(file.name))
            return Prepared(file, made._replace(lines=[*made.lines, *kept]))

        return Sending(request, self._disks[located.directory], prepare)

    def _locate(self, name: bytes, values: list[bytes]) -> Located:
        path = values[0]
        if name == b"x-accel-redirect":
            path = path.partition(b"?")[0]
        path = unquote_to_bytes(path)
        located = _below(path, self._disks)
        if located is None and name == b"x-accel-redirect":
            # For nginx, the first segment is the name of a location: /_x_accel_redirect/srv/files/a
            located = _below(b"/" + path[1:].partition(b"/")[2], self._disks)
        if located is None or len(values) > 1:
            shown = path.decode("utf-8", "backslashreplace")
            raise _refused(f"{name.decode('ascii')} names {shown}: below none of sendfile")
        return located

    def _open(self, located: Located, *, at_once: bool) -> OpenFile:
        try:
            return _open(located, at_once=at_once)
        except OSError as error:
            if error.errno not in _LINKS:
                raise
            # Galaxy's data libraries consist of links to the data.
            path = b"/".join((located.directory, *located.segments))
            target = _below(os.path.realpath(path), map(os.path.realpath, self._disks))
            if target is None:
                raise _refused(f"{path!r} is a link that leads below none of sendfile") from None
            return _open(target, at_once=False)


def _below(path: bytes, directories: Iterable[bytes]) -> Located | None:
    for directory in directories:
        if path.startswith(directory + b"/"):
            # Programs may join paths with double slashes; nothing else may be spelled in two ways.
            segments = [each for each in path[len(directory) :].split(b"/") if each]
            if segments and not {b".", b".."} & {*segments} and b"\0" not in path:
                return Located(directory, tuple(segments))
    return None


def _open(located: Located, *, at_once: bool) -> OpenFile:
    with Directory(located.directory, at_once=at_once) as directory:
        file = directory.open(located.segments)
    if file is None:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return file


def _refused(detail: str) -> ProxyError:
    error = ProxyError(Problem.UPSTREAM_BROKEN, detail)
    error.rule = _RULE
    return error


def _name_of(line: bytes) -> bytes:
    return line.partition(b":")[0].lower()


def _value_of(line: bytes) -> bytes:
    return line.partition(b":")[2].strip(b" \t")
