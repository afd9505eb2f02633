"""A directory, or a single file, as a Resource that sends the files below it.

Knows the route's settings: where the directory is, and how long browsers may cache its files.
Access has been decided before. Directories are not listed, and nothing can be changed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate
from pathlib import Path

from twisted.web.resource import Resource

from ipyproxy.encoding.accepted import accepted
from ipyproxy.encoding.compression import Compression
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.files.compressing import FileCompression, may_compress, unmarked_conditions
from ipyproxy.files.disk import Disks
from ipyproxy.files.finding import COPIES, find
from ipyproxy.files.names import below
from ipyproxy.files.sending import Prepared, Sending, asked_by, prepared
from ipyproxy.files.types import content_type
from ipyproxy.http1.head import READING
from ipyproxy.server.request import Request
from ipyproxy.web.resources import NOT_DONE_YET, date

YEAR = 31536000


class Files(Resource):
    """The files of one directory, or one file.

    :param directory: its path.
    :param prefix: the path of the route, without slash at its end; "" for the root.
    :param max_age: seconds for which browsers may use a file without asking again; None: they
        choose.
    :param immutable: patterns of paths below the directory, such as ``assets/*.js``, for files that
        never change under their name: browsers may cache these for a year.
    :param compression: compresses files that have no compressed copy; None: they are not
        compressed.
    """

    isLeaf = True

    def __init__(
        self,
        directory: Path,
        disks: Disks,
        *,
        prefix: str = "",
        max_age: int | None = None,
        immutable: Sequence[str] = (),
        compression: Compression | None = None,
    ) -> None:
        super().__init__()
        self._directory = bytes(directory)
        self._disk = disks.of(str(directory))
        self._prefix = prefix.rstrip("/").encode("ascii")
        self._max_age = max_age
        self._compression = compression
        patterns = "|".join(translate(pattern) for pattern in immutable)
        self._immutable = re.compile(patterns.encode()) if patterns else None

    def getChild(self, path: bytes, request: object) -> Resource:
        """Stay here: this resource serves everything below it."""
        return self

    def render(self, request: Request) -> int:
        """Send the file that the request names.

        Raises :class:`ProxyError`: ``METHOD_NOT_ALLOWED``, ``NOT_FOUND``.
        """
        self._send(request)
        return NOT_DONE_YET

    def _send(self, request: Request) -> None:
        if request.method not in READING:
            raise ProxyError(Problem.METHOD_NOT_ALLOWED, lines=(b"Allow: GET, HEAD",))
        name = below(self._prefix, request.target.partition(b"?")[0])
        fields = asked_by(request)
        codings = accepted([fields.get(b"accept-encoding", b"")], tuple(COPIES))
        asked, marks = unmarked_conditions(fields, codings)
        lines = [*self._caching(b"/".join(name.segments)), b"X-Content-Type-Options: nosniff"]

        def prepare(at_once: bool) -> Prepared | None:
            found = find(self._directory, name, codings, at_once=at_once)
            if found is None:
                return None
            file, made, _ = prepared(found.file, asked, content_type(found.name))
            more = [date(), *made.lines, *lines]
            if found.coding:
                more.append(b"Content-Encoding: " + found.coding)
            compressible = self._compression is not None and may_compress(found)
            if found.varies or compressible:
                more.append(b"Vary: Accept-Encoding")
            path = b"/".join(name.segments) or found.name
            return Prepared(file, made._replace(lines=more), path if compressible else b"")

        compressing = None
        if self._compression is not None:
            compressing = FileCompression(self._compression, self._directory, marks)
        Sending(request, self._disk, prepare, _add_slash, compressing).start()

    def _caching(self, path: bytes) -> list[bytes]:
        if self._immutable is not None and self._immutable.match(path):
            return [b"Cache-Control: max-age=%d, immutable" % YEAR]
        return [] if self._max_age is None else [b"Cache-Control: max-age=%d" % self._max_age]


def _add_slash(request: Request) -> None:
    """Redirect to the same address with a slash, so that relative links work."""
    path, question, query = request.target.partition(b"?")
    # Browsers take two slashes, or a slash and a backslash, as the beginning of another host's URL.
    if path[:1] != b"/" or path[1:2] in (b"/", b"\\"):
        raise ProxyError(Problem.NOT_FOUND, "two slashes, behind which a host could be read")
    lines = [b"Location: %b/%b%b" % (path, question, query)]
    lines.append(date())
    request.respond(308, b"Permanent Redirect", lines, b"")
