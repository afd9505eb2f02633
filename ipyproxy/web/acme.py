"""Answers ACME's http-01 challenges on plain HTTP (RFC 8555 section 8.3).

Knows the directories in which ACME clients put their answers: certbot's webroot, and our own. They
are read in a thread, since a disk may be slow. Knows nothing of certificates, or of the client.
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
# The answer is a token, a dot and a hash: 87 bytes with today's servers.
_MOST_BYTES = 4096
MOST_READS = 64
"""Most reads at a time; an ACME server sends a few requests, from several places."""
PATIENCE = 5.0
"""Longest wait for each read, in seconds."""


class Challenges:
    """The answers in ``directories``, each of which is a webroot: the files are in it by path.

    :param reactor: for its clock.
    """

    def __init__(self, directories: Iterable[Path], reactor: Clock, run: Run) -> None:
        path = PREFIX.decode("ascii").strip("/")
        self._directories = tuple(directory / path for directory in directories)
        self._reactor = reactor
        self._run = run
        self._reads = 0

    def answer(self, request: Request, token: bytes) -> None:
        """Answer with the content of the file named ``token``; 404 if there is no such plain file.

        :raises ProxyError: ``NOT_FOUND`` if the token is invalid; ``METHOD_NOT_ALLOWED``;
            ``OVERLOADED`` if too many reads wait for a slow disk.
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
        """The result of ``reading``, for a client that may leave; the read is never cancelled."""
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
    """The content of the first of ``paths`` that can be read."""
    *others, last = paths
    for path in others:
        with contextlib.suppress(OSError):
            return _read(path)
    return _read(last)


def _read(path: Path) -> bytes:
    """The beginning of a plain file: no link, and no pipe, which may block for ever."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError
        return os.read(handle, _MOST_BYTES)
    finally:
        os.close(handle)
