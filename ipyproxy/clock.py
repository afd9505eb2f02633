"""The two clocks, and which one to use for what.

The rule, for all of the package:

* A **duration** (a deadline, a time-out, a rate, how long something has lasted, for how long an
  answer is remembered) is measured by the reactor: ``reactor.seconds()`` and
  ``reactor.callLater()``. :func:`measure_durations` makes that a clock that nobody sets. Its zero
  is the start of the machine, so no time is "long ago" because it is 0.
* A **date** (what is shown or logged, and what is compared with a date that somebody else wrote:
  a certificate's end, a link's, a revocation) is :func:`time.time`, handed in as ``wall_clock``.
  It may be set back or ahead at any moment, so nothing ever waits for it.

:class:`Calendar` turns a time of the reactor's clock into a date to show. Knows nothing of what
waits, or of what is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime


class Due(Protocol):
    """Something that is to be called."""

    def active(self) -> bool:
        """Whether the call is still scheduled."""

    def cancel(self) -> None:
        """Cancel the call."""


class Call(Due, Protocol):
    """A scheduled call."""

    def getTime(self) -> float:
        """The time of the call."""

    def reset(self, delay: float, /) -> None:
        """Reschedule the call to ``delay`` seconds from now."""


class Clock(Protocol):
    """Time, as the reactor gives it; in tests, Twisted's ``Clock``."""

    def seconds(self) -> float:
        """The present time in seconds; its zero has no meaning."""

    def callLater(self, delay: float, call: Callable[..., object], /, *args: Any) -> Call:
        """Call ``call`` in ``delay`` seconds."""


def twisted_clock(clock: Clock) -> IReactorTime:
    """``clock`` with Twisted's interface, for Twisted's own functions."""
    return cast("IReactorTime", clock)


SETTLED = 0.5
"""Seconds by which the two clocks may differ before the dates change."""


def measure_durations(reactor: Clock) -> None:
    """Make ``reactor`` use a clock that is never set, unlike Twisted's default.

    Twisted 26.10 uses ``time.time``: if that is set back by an hour, no timer runs for an hour. All
    of Twisted calls the reactor's attribute ``seconds``, so replacing that is enough. Call this
    before any timer is set.
    """
    reactor.seconds = time.monotonic  # type: ignore[method-assign]


class Calendar:
    """Turns times of the reactor's clock into dates.

    The date of a time stays the same while the wall clock differs by less than half a second,
    although NTP speeds it up and slows it down all the time. If the clock is set, past dates move
    with it: the clock was wrong, but not the time since then.

    :ivar seconds: the reactor's clock.
    :param wall_clock: seconds since the epoch, as by :func:`time.time`.
    """

    def __init__(self, seconds: Callable[[], float], wall_clock: Callable[[], float]) -> None:
        self.seconds = seconds
        self._wall_clock = wall_clock
        self._apart = wall_clock() - seconds()

    def now(self) -> float:
        """Seconds since the epoch; differs from the wall clock by at most :data:`SETTLED`."""
        return self.date(self.seconds())

    def date(self, at: float) -> float:
        """The date of ``at``, a time of the reactor's clock, in seconds since the epoch."""
        apart = self._wall_clock() - self.seconds()
        if abs(apart - self._apart) > SETTLED:
            self._apart = apart
        return at + self._apart
