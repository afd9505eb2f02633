"""A file that is looked at in a thread: a slow disk holds up only those who need what is in it.

Knows time, threads and who waits. Knows nothing of files, nor of what is in one.
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
"""Seconds after a look for which what was seen counts."""
PATIENCE = 5.0
"""Seconds that a request waits for a look at most."""


class Lookout(Generic[T]):
    """What ``look`` last saw, at most :data:`FRESH_FOR` seconds ago.

    One look is under way at once, and all who come meanwhile wait for it. A look that fails is
    remembered as one that succeeds.

    :param reactor: for its time.
    :param look: gives the content as of now, and may take as long as it likes; raises
        :class:`UnusableFileError`.
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
        """The content as of about now.

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
        """What was seen last, for callers that ask again and again; None if it can't be used."""
        self._look_again()
        return self._last

    def _look_again(self) -> None:
        """Look, unless that was done just now or is being done."""
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
        # Whoever is told may make another one give up.
        while waiting:
            self._seen().chainDeferred(waiting.pop(0))


def _unavailable(detail: str) -> Failure:
    return Failure(ProxyError(Problem.AUTH_UNAVAILABLE, detail))


def _too_late(_: object, seconds: float) -> Failure:
    return _unavailable(f"the disk has not answered for {seconds:g} s")
