"""Looks regularly at something outside of this process that may be away.

Knows when to look: after a pause, or less and less often while there is no answer. Knows nothing of
the thing it looks at.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipyproxy.clock import Call, Clock

FIRST_BACKOFF = 1.0
LONGEST_BACKOFF = 30.0
"""Longest wait in seconds between two looks while it is away; each wait is up to twice the last."""
PATIENCE = 30.0
"""Longest duration of a look in seconds. A server or disk that is silent for longer counts as
away."""


class AwayError(Exception):
    """It cannot be read or written now; the message says why, without a full stop."""


class Watched(Protocol):
    """The thing to look at. All methods are called in the reactor's thread, and none may block."""

    pause: float
    """Seconds between two looks."""

    def look(self) -> Deferred[Any]:
        """Look once. Fails with :class:`AwayError` while it is away."""

    def interrupt(self) -> None:
        """Make a look that waits for a silent server fail soon, if that is possible."""

    def went_away(self, why: str) -> None:
        """Log that it is away; called once until it is back."""

    def came_back(self) -> None:
        """Log that it is back."""


class Watch:
    """Looks at ``watched`` until it is stopped. Only one look runs at a time.

    If ``watched`` is away or does not answer, that is logged once, and looks become less and less
    frequent.

    :param draw: returns random numbers from 0 up to 1, so that many hosts don't come back at once.
    :param longest: longest wait between two looks, in seconds.
    :param patience: seconds that a look may take, from its start or its last answer.
    :ivar is_stopped: whether it was stopped; a look may still be running.
    """

    log = Logger(namespace="ipyproxy.database")

    def __init__(
        self,
        reactor: Clock,
        watched: Watched,
        draw: Callable[[], float] = random.random,
        longest: float = LONGEST_BACKOFF,
        patience: float = PATIENCE,
    ) -> None:
        self._reactor = reactor
        self._watched = watched
        self._draw = draw
        self._longest = longest
        self._patience = patience
        self._is_away = False
        self._failures = 0
        self._timer: Call | None = None
        self._deadline: Call | None = None
        self.is_stopped = False

    def start(self) -> None:
        """Start to look."""
        self._look()

    def stop(self) -> None:
        """Stop looking."""
        self.is_stopped = True
        for timer in self._timer, self._deadline:
            if timer is not None and timer.active():
                timer.cancel()

    def goes_on(self) -> None:
        """The running look has got an answer and goes on: restart its time-out."""
        if self._deadline is not None and self._deadline.active():
            self._deadline.reset(self._patience)

    def _look(self) -> None:
        self._be_patient()
        self._watched.look().addBoth(self._ended).addErrback(self._broken)

    def _be_patient(self) -> None:
        self._deadline = self._reactor.callLater(self._patience, self._wait_no_longer)

    def _wait_no_longer(self) -> None:
        """Log that a look does not end, and try to interrupt it."""
        self._tell_away(f"no answer within {self._patience:g} seconds")
        self._watched.interrupt()
        self._be_patient()

    def _ended(self, result: object) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        if self.is_stopped:
            return
        if isinstance(result, Failure):
            self._missed(result)
            return
        if self._is_away:
            self._is_away = False
            self._watched.came_back()
        self._failures = 0
        self._timer = self._reactor.callLater(self._watched.pause, self._look)

    def _missed(self, failure: Failure) -> None:
        if not failure.check(AwayError):
            self.log.failure("a look at what is kept elsewhere failed; please report this", failure)
        self._tell_away(failure.getErrorMessage())
        self._failures += 1
        longest = min(self._longest, FIRST_BACKOFF * 2 ** min(self._failures - 1, 10))
        wait = longest * (0.5 + self._draw() / 2)
        self._timer = self._reactor.callLater(wait, self._look)

    def _tell_away(self, why: str) -> None:
        if not self._is_away:
            self._is_away = True
            self._watched.went_away(why)

    def _broken(self, failure: Failure) -> None:
        """Go on after a bug in a look."""
        self.log.failure("what was told of it failed; please report this", failure)
        self._timer = self._reactor.callLater(self._longest, self._look)
