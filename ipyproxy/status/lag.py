"""How busy the reactor is: how late it calls, and how long the periodic checks take.

Knows timers. One that comes late means that everybody waited for as long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ipyproxy.clock import Call, Clock
from ipyproxy.records.statistics import Histogram

EVERY = 0.25
"""Seconds between two looks."""
_REMEMBERED = round(60 / EVERY)


class LoopLag:
    """Measures how late timers are called: ``late`` all of them, ``recent`` those of a minute."""

    def __init__(self, reactor: Clock) -> None:
        self.late = Histogram()
        self.recent: deque[float] = deque(maxlen=_REMEMBERED)
        self._reactor = reactor
        self._timer: Call | None = None

    def start(self) -> None:
        """Begin to look."""
        due = self._reactor.seconds() + EVERY
        self._timer = self._reactor.callLater(EVERY, self._called, due)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _called(self, due: float) -> None:
        lag = self._reactor.seconds() - due
        self.late.add(lag)
        self.recent.append(lag)
        self.start()

    @property
    def worst(self) -> float:
        """The longest that anybody was seen to wait during the last minute, in seconds."""
        return max(self.recent, default=0.0)


def timed(
    call: Callable[[], None], taken: Histogram, now: Callable[[], float]
) -> Callable[[], None]:
    """``call``, but ``taken`` counts how long it takes by the clock ``now``."""

    def timed_call() -> None:
        began = now()
        try:
            call()
        finally:
            taken.add(now() - began)

    return timed_call
