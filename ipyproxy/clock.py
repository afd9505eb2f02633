"""Where time comes from: two clocks, and which of them is for what.

The rule, for all of the package:

* A **duration** (a deadline, a time-out, a rate, how long something has lasted, for how long an
  answer is remembered) is measured by the reactor: ``reactor.seconds()`` and
  ``reactor.callLater()``. :func:`measure_durations` makes that a clock that nobody sets. Its zero
  is the start of the machine, so no time is "long ago" because it is 0.
* A **date** (what is shown or logged, and what is compared with a date that somebody else wrote:
  a certificate's end, a link's, a revocation) is :func:`time.time`, handed in as ``wall_clock``.
  It may be set back or ahead at any moment, so nothing ever waits for it.

A time of the reactor's clock that is to be shown becomes a date by :class:`Calendar`. Knows no
more than that: neither what waits, nor what is shown.
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
        """Whether it is still to be called."""

    def cancel(self) -> None:
        """Do not call it."""


class Call(Due, Protocol):
    """Something that is to be called later."""

    def getTime(self) -> float:
        """When it is to be called."""

    def reset(self, delay: float, /) -> None:
        """Call it in ``delay`` seconds from now instead."""


class Clock(Protocol):
    """Time, as the reactor gives it; in tests, Twisted's ``Clock``."""

    def seconds(self) -> float:
        """The time now, in seconds; its zero means nothing."""

    def callLater(self, delay: float, call: Callable[..., object], /, *args: Any) -> Call:
        """Call in ``delay`` seconds."""


def twisted_clock(clock: Clock) -> IReactorTime:
    """``clock`` for calls of Twisted's own, which ask for its interface."""
    return cast("IReactorTime", clock)


SETTLED = 0.5
"""Seconds by which the two clocks may drift apart before dates that were given change."""


def measure_durations(reactor: Clock) -> None:
    """Let ``reactor`` measure time by a clock that is never set, as Twisted's own does not.

    Twisted 26.10 asks ``time.time``: when that is set back by an hour, nothing that was to be
    called is called for an hour. All of it asks the reactor's attribute ``seconds``, so this is
    the one place to put another clock. To be called before anything waits for the reactor.
    """
    reactor.seconds = time.monotonic  # type: ignore[method-assign]


class Calendar:
    """Gives the dates of times of the reactor's clock.

    A date that was given stays the same for as long as the wall clock is right to half a second,
    though NTP speeds it up and slows it down all the time. When it is set, past dates move with
    it: then it is the clock that was wrong, and not how long ago something was.

    :ivar seconds: the reactor's clock.
    :param wall_clock: seconds since the epoch, as by :func:`time.time`.
    """

    def __init__(self, seconds: Callable[[], float], wall_clock: Callable[[], float]) -> None:
        self.seconds = seconds
        self._wall_clock = wall_clock
        self._apart = wall_clock() - seconds()

    def now(self) -> float:
        """Seconds since the epoch; never more than :data:`SETTLED` beside the wall clock."""
        return self.date(self.seconds())

    def date(self, at: float) -> float:
        """When the time ``at`` of the reactor's clock was, in seconds since the epoch."""
        apart = self._wall_clock() - self.seconds()
        if abs(apart - self._apart) > SETTLED:
            self._apart = apart
        return at + self._apart
