"""What an ACME server asks for to see whose host this is (RFC 8555 section 8.3).

Knows the directories in which ACME clients put their answers: certbot's webroot, and our own. They
are read in a thread, since a disk may take its time. Knows nothing of certificates, nor of who
asks.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ipyproxy.clock import Clock, twisted_clock
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.head import READING
from ipyproxy.server.request import Request
from ipyproxy.threads import Run
from ipyproxy.web.admission import Admission
from ipyproxy.web.pages import Page
from ipyproxy.web.resources import send_page

PREFIX = b"/.well-known/acme-challenge/"
_TOKEN = re.compile(rb"[A-Za-z0-9_-]{1,255}")
# A token, a dot and a hash: 87 bytes with today's servers.
_MOST_BYTES = 4096
MOST_READS = 64
"""Answers that are looked for at once; an ACME server asks for a few, from several places."""
PATIENCE = 5.0
"""Seconds that each may take."""


class Challenges:
    """The answers in ``directories``, each that of a whole site: they lie below it by path.

    :param reactor: for its time.
    """

    def __init__(self, directories: Iterable[Path], reactor: Clock, run: Run) -> None:
        path = PREFIX.decode("ascii").strip("/")
        self._directories = tuple(directory / path for directory in directories)
        self._reactor = reactor
        self._run = run
        self._reads = 0

    def answer(self, request: Request, token: bytes) -> None:
        """Answer with what stands in the file named ``token``; 404 if that is no plain file.

        :raises ProxyError: ``NOT_FOUND`` where there is no such token; ``METHOD_NOT_ALLOWED``;
            ``OVERLOADED`` where the disk is so slow that very many wait.
        """
        if request.method not in READING:
            raise ProxyError(Problem.METHOD_NOT_ALLOWED)
        if not _TOKEN.fullmatch(token):
            raise ProxyError(Problem.NOT_FOUND, "no ACME token")
        if self._reads >= MOST_READS:
            raise ProxyError(Problem.OVERLOADED, f"{self._reads} ACME challenges are looked for")
        self._reads += 1
        name = token.decode("ascii")
        reading = self._run(partial(_read_first, [one / name for one in self._directories]))
        Admission(request, partial(_send, request)).wait(self._outcome(reading))

    def _outcome(self, reading: Deferred[bytes]) -> Deferred[bytes]:
        """What ``reading`` comes to, for somebody who may leave: a read is never given up."""
        result: Deferred[bytes] = Deferred()
        result.addTimeout(PATIENCE, twisted_clock(self._reactor), _too_late)
        reading.addBoth(self._ended, result)
        return result.addErrback(_explain)

    def _ended(self, content: bytes | Failure, result: Deferred[bytes]) -> None:
        self._reads -= 1
        if not result.called:
            result.callback(content)


def _send(request: Request, content: bytes) -> None:
    send_page(request, Page(200, b"application/octet-stream", content, ()))


def _too_late(_: object, seconds: float) -> Failure:
    said = f"ACME challenge: the disk has not answered for {seconds:g} s"
    return Failure(ProxyError(Problem.OVERLOADED, said))


def _explain(failure: Failure) -> bytes:
    failure.trap(OSError)
    said = getattr(failure.value, "strerror", None) or "not a plain file"
    raise ProxyError(Problem.NOT_FOUND, f"ACME challenge: {said}")


def _read_first(paths: Sequence[Path]) -> bytes:
    """What stands in the first of ``paths`` that can be read."""
    *others, last = paths
    for path in others:
        with contextlib.suppress(OSError):
            return _read(path)
    return _read(last)


def _read(path: Path) -> bytes:
    """The beginning of a plain file; a link may lead anywhere, and a pipe may block for ever."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError
        return os.read(handle, _MOST_BYTES)
    finally:
        os.close(handle)
