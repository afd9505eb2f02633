"""Sends a file: finds it, reads it piece by piece, and writes as fast as the client reads.

Knows the request's interface and when to wait. Bytes in the kernel's cache are read at once. Others
are read from the disk in a thread, so that a slow disk does not block other requests. No more than
one piece is in memory, and the part of the last one that the client has yet to read.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ipyproxy.encoding.body import EncodedBody, KeptBody
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.files.answers import Answer, Content, answer
from ipyproxy.files.conditions import read_fields
from ipyproxy.files.disk import Disk
from ipyproxy.files.finding import validators_of
from ipyproxy.files.opening import MOST_READ, ChangedError, OpenFile, WouldWaitError
from ipyproxy.files.ranges import Span
from ipyproxy.http1.head import READING
from ipyproxy.http1.lines import block_of
from ipyproxy.server.request import Request

T = TypeVar("T")

LEAST_READ = 64 * 1024
"""Bytes of the first read; then twice as many each time, while the client reads everything at
once."""

_log = Logger(namespace="ipyproxy.files")

# Errors for: an invalid name, a link that leads out, not a plain file, no such file.
_MISSING = frozenset(
    (
        errno.EACCES, errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENODEV,
        errno.ENOENT, errno.ENOTDIR, errno.ENXIO, errno.EPERM, errno.EXDEV,
    )
)  # fmt: skip
_NO_MORE_FILES = (errno.EMFILE, errno.ENFILE)


class Prepared(NamedTuple):
    """An open file, and the answer to send it with.

    ``path`` is its key in the cache if it may be compressed for the client; otherwise it is empty.
    """

    file: OpenFile
    answer: Answer
    path: bytes = b""


class Compressing(Protocol):
    """Decides whether and how a file is compressed."""

    def begin(
        self, request: Request, found: Prepared, source: Sending
    ) -> tuple[Answer, EncodedBody | KeptBody | None]:
        """The answer, and the body that replaces the file; None: the file is sent unchanged."""


def asked_by(request: Request) -> dict[bytes, bytes]:
    """The fields of a request that an answer with a file depends on.

    Conditions apply to GET and HEAD, ranges to GET only (RFC 9110 sections 13.2.1 and 14.2).
    """
    if request.method not in READING:
        return {}
    asked = read_fields(request.head.fields)
    if request.method == b"HEAD":
        asked.pop(b"range", None)
    return asked


def prepared(file: OpenFile, asked: Mapping[bytes, bytes], media_type: bytes) -> Prepared:
    """The answer with ``file``.

    Closes the file and raises :class:`ProxyError` if it is not sent.
    """
    try:
        content = Content(file.size, validators_of(file), media_type)
        return Prepared(file, answer(asked, content, time.time()))
    except ProxyError:
        file.close()
        raise


class _GoneError(Exception):
    """The client is gone."""


@implementer(IPushProducer)
class Sending:
    """One answer with a file, from finding it to the last byte.

    :param disk: the disk that it is on.
    :param prepare: finds the file and the answer. It is first called with True, to do so without
        waiting; if that raises :class:`WouldWaitError`, with False in a thread.
    :param instead: answers if ``prepare`` finds a directory.
    :param compressing: decides about compression; None: the file is sent unchanged.
    """

    # More of the file can always be read; see :class:`EncodedBody`.
    has_input = True

    def __init__(
        self,
        request: Request,
        disk: Disk,
        prepare: Callable[[bool], Prepared | None],
        instead: Callable[[Request], object] | None = None,
        compressing: Compressing | None = None,
    ) -> None:
        self._request = request
        self._disk = disk
        self._prepare = prepare
        self._instead = instead
        self._compressing = compressing
        self._body: EncodedBody | None = None
        self._file: OpenFile | None = None
        self._pieces: list[bytes | Span] = []
        self._appetite = LEAST_READ
        self._is_over = False
        self._is_reading = False
        self._is_held_up = False

    def start(self) -> None:
        """Find the file and send it."""
        self._request.consumer = self
        self._do(lambda: self._prepare(True), lambda: self._prepare(False), self._prepared)

    def _prepared(self, found: Prepared | None) -> None:
        request = self._request
        if found is None:
            self._end()
            assert self._instead is not None
            self._instead(request)
            return
        self._file, made = found.file, found.answer
        body: EncodedBody | KeptBody | None = None
        if found.path and self._compressing is not None:
            made, body = self._compressing.begin(request, found, self)
        request.begin(made.status, made.reason, block_of(made.lines), made.length)
        if request.method == b"HEAD":
            self._finish()
            return
        if isinstance(body, KeptBody):
            self._end()
            body.ended()
            return
        self._body = body
        # The next piece is the last element.
        self._pieces = list(reversed(made.pieces))
        request.transport.registerProducer(body or self, True)
        if not self._is_held_up:
            self._go_on()

    def _go_on(self) -> None:
        """Send the next piece of the answer."""
        if self._is_over or self._is_held_up or self._is_reading:
            return
        if not self._pieces:
            self._finish()
            return
        piece = self._pieces[-1]
        if isinstance(piece, bytes):
            self._pieces.pop()
            self._request.write(piece)
            self._go_on()
            return
        file = self._file
        assert file is not None
        start, end = piece
        most = min(self._appetite, end - start)
        self._do(lambda: file.read_at_once(start, most), lambda: file.read(start, most), self._read)

    def _read(self, data: bytes) -> None:
        """Some of the file has been read."""
        piece = self._pieces[-1]
        assert isinstance(piece, Span)
        start = piece.start + len(data)
        if start < piece.end:
            self._pieces[-1] = Span(start, piece.end)
        else:
            self._pieces.pop()
        if self._body is None:
            self._request.write(data)
        else:
            self._body.received(data)
        if self._is_over:
            return
        if self._is_held_up:
            self._appetite = LEAST_READ
            return
        self._appetite = min(2 * self._appetite, MOST_READ)
        if self._pieces:
            # Other connections have their turn first.
            self._request.transport.call_soon(self._go_on)
        else:
            self._finish()

    # Work that may have to wait.

    def _do(
        self, now: Callable[[], T], later: Callable[[], T], then: Callable[[T], object]
    ) -> None:
        try:
            result = now()
        except WouldWaitError:
            self._do_later(later, then)
        except Exception:
            self._fail(Failure())
        else:
            then(result)

    def _do_later(self, work: Callable[[], T], then: Callable[[T], object]) -> None:
        def unless_over() -> T:
            if self._is_over:
                raise _GoneError
            return work()

        def done(outcome: Any) -> None:
            self._is_reading = False
            if self._is_over:
                _drop(outcome)
                self._close()
            elif isinstance(outcome, Failure):
                self._fail(outcome)
            else:
                then(outcome)

        self._is_reading = True
        try:
            waiting = self._disk.run(self._request.client, unless_over)
        except ProxyError:
            self._is_reading = False
            self._fail(Failure())
        else:
            waiting.addBoth(done).addErrback(self._fail)

    # Ends.

    def _finish(self) -> None:
        body, self._body = self._body, None
        self._end()
        if body is None:
            self._request.finish()
        else:
            # The file is read; the rest is sent without it.
            body.ended()

    def _fail(self, failure: Failure) -> None:
        self._end()
        self._request.refuse(_told(failure))

    def could_not_compress(self) -> None:
        """Encoding failed, so the answer cannot be completed."""
        if not self._is_over:
            self._end()
        self._request.refuse(ProxyError(Problem.INTERNAL, "the file could not be compressed"))

    def _end(self) -> None:
        request = self._request
        request.consumer = None
        request.transport.unregisterProducer()
        self._is_over = True
        body, self._body = self._body, None
        if body is not None:
            body.abandon()
        self._close()

    def _close(self) -> None:
        file = self._file
        if file is not None and not self._is_reading:
            self._file = None
            file.close()

    # Called by the server.

    def body_received(self, data: bytes) -> None:
        """See :class:`ipyproxy.server.request.BodyConsumer`; the request's body is ignored."""

    def body_ended(self) -> None:
        """See :class:`ipyproxy.server.request.BodyConsumer`."""

    def client_lost(self) -> None:
        """See :class:`ipyproxy.server.request.BodyConsumer`."""
        if not self._is_over:
            self._end()

    # Called by the transport.

    def pauseProducing(self) -> None:
        """Stop reading the file: the client has yet to read the last piece."""
        self._is_held_up = True

    def resumeProducing(self) -> None:
        """The client has read everything so far."""
        self._is_held_up = False
        self._go_on()

    def stopProducing(self) -> None:
        """The client is gone."""
        self.client_lost()


def _drop(outcome: object) -> None:
    """Drop a result that nobody waits for."""
    if isinstance(outcome, Prepared):
        outcome.file.close()


def _told(failure: Failure) -> ProxyError:
    """The error to answer with; logs the cause."""
    error = failure.value
    if isinstance(error, ProxyError):
        return error
    if isinstance(error, ChangedError):
        return ProxyError(Problem.INTERNAL, "the file has changed while it was sent")
    if isinstance(error, OSError):
        why = error.strerror or "an error without a name"
        if error.errno in _MISSING:
            return ProxyError(Problem.NOT_FOUND, why)
        if error.errno in _NO_MORE_FILES:
            return ProxyError(Problem.OVERLOADED, why)
        return ProxyError(Problem.INTERNAL, f"the file could not be read: {why}")
    _log.failure("a file failed inside the proxy; please report this", failure)
    return ProxyError(Problem.INTERNAL)
