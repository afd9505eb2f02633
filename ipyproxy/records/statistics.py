"""Statistics of requests: how many, with which status, how long they took.

Knows upstreams, statuses and durations. Knows nothing of requests, and is told the time. Every
request of the proxy is counted here, so counting takes only a few additions.
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
"""Number of past minutes with their own counts."""

BOUNDS: Final = tuple(
    round(step * 10.0**power, 9) for power in range(-4, 3) for step in (1, 1.5, 2, 3, 4, 5, 7)
)
"""Upper bounds of the buckets for durations, in seconds; one more bucket has the rest.

From 0.1 ms to more than ten minutes, each bound is at most 1.5 times the last, so the error of
quantiles is at most a half.
"""

_BUCKETS: Final = len(BOUNDS) + 1
# Statuses have three digits; unknown ones from an upstream are passed on.
_CLASSES: Final = 10
_SWITCHED: Final = 101


class Histogram:
    """A histogram of durations: ``buckets`` has the counts, ``seconds`` the sum."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * _BUCKETS
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return sum(self.buckets)


class Mark(NamedTuple):
    """The counts at the beginning of a minute; only minutes with requests have a mark."""

    minute: int
    requests: int
    errors: int
    buckets: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class Hour:
    """The last hour of a tally: the oldest of its :data:`MINUTES` first, the present one last.

    ``median`` and ``slow`` are the 50th and the 99th percentile of durations in seconds; None
    without requests.
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
        """The sum of several hours, at least one."""
        rows = list(hours)
        return cls.of(
            added(hour.requests for hour in rows),
            added(hour.errors for hour in rows),
            added(hour.buckets for hour in rows),
        )


class Tally:
    """The counts of requests to one upstream, or to none.

    ``classes`` counts them by the first digit of the status. Durations of bridges are not counted,
    because they depend on how long a person stays. ``received`` and ``sent`` are bytes of bodies
    (and of bridges) from and to clients. All of these only grow.
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
        """Requests answered with 500 or above, by the notebook or by the proxy in its place."""
        return sum(self.classes[5:])

    def mark(self, minute: int) -> None:
        """Begin ``minute``, since there is a request to count in it."""
        self.minute = minute
        self._marks.append(Mark(minute, self.requests, self.errors, self.durations.buckets.copy()))

    def absorb(self, other: Tally) -> None:
        """Add the counts of ``other``, but not to any minute of the last hour."""
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
        """The hour that ends with ``minute``, the present one.

        As long as the hour does not change, the same object is returned.
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
    """The tallies of all upstreams, and of requests to no upstream (None).

    A tally takes some kilobytes, so an upstream gets one only once it has answered: until then its
    requests count as to none. ``minute`` is the number of the present minute.
    """

    def __init__(self, now: float) -> None:
        self.tallies: dict[Upstream | None, Tally] = {}
        self.tick(now)

    def tick(self, now: float) -> None:
        """Set the time, of a clock that never goes back; to be called about once a second."""
        self.minute = int(now // 60)

    def add(
        self, upstream: Upstream | None, status: int, duration: float, received: int, sent: int
    ) -> None:
        """Count a request that has ended, with or without a complete answer."""
        tally = self.tallies.get(upstream) or self._tally(upstream)
        if tally.minute != self.minute:
            tally.mark(self.minute)
        tally.classes[status // 100] += 1
        tally.received += received
        tally.sent += sent
        if status != _SWITCHED:
            tally.durations.add(duration)

    def drop(self, upstream: Upstream) -> None:
        """Drop the tally of an upstream; add its counts to those of no upstream.

        Otherwise the sums over all tallies would decrease, but they are counters.
        """
        tally = self.tallies.pop(upstream, None)
        if tally is not None:
            self._tally(None).absorb(tally)

    def _tally(self, upstream: Upstream | None) -> Tally:
        """The tally to use for an upstream without one of its own."""
        if upstream is not None and (not upstream.is_known or upstream.is_retired):
            upstream = None
        tally = self.tallies.get(upstream)
        if tally is None:
            tally = self.tallies[upstream] = Tally()
        return tally


def added(rows: Iterable[Sequence[int]]) -> list[int]:
    """Sums of several rows, column by column; without rows there are no columns."""
    return [sum(column) for column in zip(*rows, strict=True)]


def quantile(buckets: Sequence[int], part: float) -> float | None:
    """The quantile ``part`` of durations in seconds; None without durations.

    Durations are taken as evenly spread within a bucket. Longer ones than the last bound count as
    that bound.
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
