"""Reads a file in a thread, so that a slow disk delays only requests that need the file.

Knows time, threads and waiting requests. Knows nothing of files or their content.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipyproxy.auth.watchedfile import UnusableFileError
from ipyproxy.clock import Clock, twisted_clock
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.threads import Run

T = TypeVar("T")

FRESH_FOR = 1.0
"""Seconds for which the result of a look is valid."""
PATIENCE = 5.0
"""Longest wait of a request for a look, in seconds."""


class Lookout(Generic[T]):
    """Caches the result of ``look`` for :data:`FRESH_FOR` seconds.

    Only one look runs at a time; requests that come meanwhile wait for it. A failure is cached like
    a success.

    :param reactor: for its time.
    :param look: returns the present content, and may take long; raises :class:`UnusableFileError`.
    """

    log = Logger(namespace="ipyproxy.auth.lookout")

    def __init__(self, reactor: Clock, run: Run, look: Callable[[], T]) -> None:
        self._reactor = reactor
        self._run = run
        self._look = look
        self._seen: Callable[[], Deferred[T]] = lambda: fail(_unavailable("not looked at"))
        self._last: T | None = None
        self._stale_at = float("-inf")
        self._waiting: list[Deferred[T]] | None = None

    def content(self) -> Deferred[T]:
        """The content, at most :data:`FRESH_FOR` seconds old.

        Fails with :class:`ProxyError` (``AUTH_UNAVAILABLE``) if it cannot be used, or if the look
        takes too long. Cancelling gives up waiting.
        """
        self._look_again()
        waiting = self._waiting
        if waiting is None:
            return self._seen()
        result: Deferred[T] = Deferred(waiting.remove)
        waiting.append(result)
        return result.addTimeout(PATIENCE, twisted_clock(self._reactor), _too_late)

    def latest(self) -> T | None:
        """The last content, for callers that ask again and again; None if it can't be used."""
        self._look_again()
        return self._last

    def _look_again(self) -> None:
        """Look, unless the last look is recent or still running."""
        if self._waiting is None and self._reactor.seconds() >= self._stale_at:
            self._waiting = []
            self._run(self._look).addCallbacks(self._usable, self._unusable).addBoth(self._tell)

    def _usable(self, content: T) -> None:
        self._last = content
        self._seen = lambda: succeed(content)

    def _unusable(self, failure: Failure) -> None:
        if not failure.check(UnusableFileError):
            self.log.failure("a file could not be looked at; please report this", failure)
        self._last = None
        said = str(failure.value)
        self._seen = lambda: fail(_unavailable(said))

    def _tell(self, _: None) -> None:
        self._stale_at = self._reactor.seconds() + FRESH_FOR
        waiting, self._waiting = self._waiting or [], None
        # A callback may make another request give up.
        while waiting:
            self._seen().chainDeferred(waiting.pop(0))


def _unavailable(detail: str) -> Failure:
    return Failure(ProxyError(Problem.AUTH_UNAVAILABLE, detail))


def _too_late(_: object, seconds: float) -> Failure:
    return _unavailable(f"the disk has not answered for {seconds:g} s")
