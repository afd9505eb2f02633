"""What became of requests, in figures: how many, how they ended, how long they took.

Knows upstreams, statuses and durations. Knows nothing of requests, and is told when a minute
begins: one is added for every request that the proxy answers, so adding is a few additions and no
more.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple, Self

from ipyproxy.upstream.upstream import Upstream

MINUTES: Final = 60
"""Minutes that are remembered one by one."""

BOUNDS: Final = tuple(
    round(step * 10.0**power, 9) for power in range(-4, 3) for step in (1, 1.5, 2, 3, 4, 5, 7)
)
"""Upper bounds in seconds of the buckets that durations are counted in; one more takes the rest.

No step is larger than a half, so neither is the error of what is read from the counts, from 0.1 ms
up to more than ten minutes.
"""

_BUCKETS: Final = len(BOUNDS) + 1
# Statuses are of three digits, and what an upstream made up is passed on.
_CLASSES: Final = 10
_SWITCHED: Final = 101


class Histogram:
    """Durations, counted: ``buckets`` how many there were of which size, ``seconds`` their sum."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * _BUCKETS
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.buckets)


class Mark(NamedTuple):
    """What had been counted when a minute began; only minutes with requests have one."""

    minute: int
    requests: int
    errors: int
    buckets: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class Hour:
    """The last hour of a tally: the oldest of its :data:`MINUTES` first, the present one last.

    ``median`` and ``slow`` are the seconds that half, and 99 of 100 requests stayed below; None if
    there was none.
    """

    requests: list[int]
    errors: list[int]
    buckets: list[int]
    median: float | None
    slow: float | None

    @classmethod
    def of(cls, requests: list[int], errors: list[int], buckets: list[int]) -> Self:
        """The hour with these counts."""
        return cls(requests, errors, buckets, quantile(buckets, 0.5), quantile(buckets, 0.99))

    @classmethod
    def together(cls, hours: Iterable[Self]) -> Self:
        """The hour of several; there is at least one."""
        rows = list(hours)
        return cls.of(
            added(hour.requests for hour in rows),
            added(hour.errors for hour in rows),
            added(hour.buckets for hour in rows),
        )


class Tally:
    """What became of the requests to one upstream, or of those to none.

    ``classes`` counts them by the first digit of their status. Bridges have no duration here: they
    last as long as somebody stays. ``received`` and ``sent`` are bytes of bodies (and of bridges)
    from clients and to them. All of these only grow.
    """

    __slots__ = ("_hour", "_marks", "classes", "durations", "minute", "received", "sent")

    def __init__(self) -> None:
        self.classes = [0] * _CLASSES
        self.durations = Histogram()
        self.received = 0
        self.sent = 0
        self.minute = -1
        self._marks: deque[Mark] = deque(maxlen=MINUTES)
        self._hour: tuple[int, int, Hour] | None = None

    @property
    def requests(self) -> int:
        """Requests that have ended, bridges among them."""
        return sum(self.classes)

    @property
    def errors(self) -> int:
        """Those that were answered with 500 or above, by the notebook or in its place."""
        return sum(self.classes[5:])

    def mark(self, minute: int) -> None:
        """``minute`` has begun, and there is a request to count in it."""
        self.minute = minute
        self._marks.append(Mark(minute, self.requests, self.errors, self.durations.buckets.copy()))

    def absorb(self, other: Tally) -> None:
        """Count from now on what ``other`` has counted, in no minute of the last hour."""
        requests, errors, buckets = other.requests, other.errors, other.durations.buckets
        for at, mark in enumerate(self._marks):
            self._marks[at] = Mark(
                mark.minute,
                mark.requests + requests,
                mark.errors + errors,
                added((mark.buckets, buckets)),
            )
        self.classes = added((self.classes, other.classes))
        self.durations.buckets = added((self.durations.buckets, buckets))
        self.durations.seconds += other.durations.seconds
        self.received += other.received
        self.sent += other.sent

    def hour(self, minute: int) -> Hour:
        """The hour whose last minute is ``minute``, the present one.

        It is the same object for as long as it is the same hour.
        """
        if self._hour is not None and self._hour[:2] == (minute, self.requests):
            return self._hour[2]
        first = minute - MINUTES + 1
        marks = [mark for mark in self._marks if mark.minute >= first]
        requests, errors = [0] * MINUTES, [0] * MINUTES
        after = Mark(minute + 1, self.requests, self.errors, self.durations.buckets)
        for mark, following in pairwise((*marks, after)):
            requests[mark.minute - first] = following.requests - mark.requests
            errors[mark.minute - first] = following.errors - mark.errors
        before = (*marks, after)[0]
        buckets = [now - then for now, then in zip(after.buckets, before.buckets, strict=True)]
        hour = Hour.of(requests, errors, buckets)
        self._hour = minute, after.requests, hour
        return hour


class Statistics:
    """The tallies of all upstreams, and of the requests that were for none (None).

    A tally takes some kilobytes, so an upstream has one only from when it is known on: requests
    that nobody ever answered count as being for none. ``minute`` is the number of the present one.
    """

    def __init__(self, now: float) -> None:
        self.tallies: dict[Upstream | None, Tally] = {}
        self.tick(now)

    def tick(self, now: float) -> None:
        """It is ``now``, by a clock that never goes back; to be called about once a second."""
        self.minute = int(now // 60)

    def add(
        self, upstream: Upstream | None, status: int, duration: float, received: int, sent: int
    ) -> None:
        """Count a request that has ended: its answer is sent, or never will be."""
        tally = self.tallies.get(upstream) or self._tally(upstream)
        if tally.minute != self.minute:
            tally.mark(self.minute)
        tally.classes[status // 100] += 1
        tally.received += received
        tally.sent += sent
        if status != _SWITCHED:
            tally.durations.add(duration)

    def drop(self, upstream: Upstream) -> None:
        """Keep no tally of an upstream; its requests count among those for none from now on.

        Else the sums over all tallies would fall, and they are counters.
        """
        tally = self.tallies.pop(upstream, None)
        if tally is not None:
            self._tally(None).absorb(tally)

    def _tally(self, upstream: Upstream | None) -> Tally:
        """The tally of an upstream that has none of its own so far."""
        if upstream is not None and (not upstream.is_known or upstream.is_retired):
            upstream = None
        tally = self.tallies.get(upstream)
        if tally is None:
            tally = self.tallies[upstream] = Tally()
        return tally


def added(rows: Iterable[Sequence[int]]) -> list[int]:
    """Counts of several as one, column by column; of none, there are no columns."""
    return [sum(column) for column in zip(*rows, strict=True)]


def quantile(buckets: Sequence[int], part: float) -> float | None:
    """The duration in seconds that ``part`` of all stay below; None if there was nothing.

    Within a bucket durations count as evenly spread. What lasted longer than the last bound counts
    as that long.
    """
    wanted = part * sum(buckets)
    if not wanted:
        return None
    below = 0
    for at, count in enumerate(buckets[:-1]):
        if count and below + count >= wanted:
            low = BOUNDS[at - 1] if at else 0.0
            return low + (BOUNDS[at] - low) * (wanted - below) / count
        below += count
    return BOUNDS[-1]
