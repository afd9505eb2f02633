"""Measures how busy the reactor is: how late timers run, and how long the sweeps take.

Knows timers. If a timer runs late, all connections have waited for as long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ipyproxy.clock import Call, Clock
from ipyproxy.records.statistics import Histogram

EVERY = 0.25
"""Seconds between two measurements."""
_REMEMBERED = round(60 / EVERY)


class LoopLag:
    """Measures the lateness of timers: ``late`` since the start, ``recent`` of the last minute."""

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
        """The greatest lateness in the last minute, in seconds."""
        return max(self.recent, default=0.0)


def timed(
    call: Callable[[], None], taken: Histogram, now: Callable[[], float]
) -> Callable[[], None]:
    """``call``, timed: ``taken`` counts the durations, by the clock ``now``."""

    def timed_call() -> None:
        began = now()
        try:
            call()
        finally:
            taken.add(now() - began)

    return timed_call
