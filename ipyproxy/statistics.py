"""What became of requests, in figures: how many, how they ended, how long they took.

Knows ports, statuses and durations. Knows nothing of requests, and is told when a minute begins:
one is added for every request that the proxy answers, so adding is a few additions and no more.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence

MINUTES = 60
"""Minutes that are remembered one by one."""

BOUNDS = tuple(
    round(step * 10.0**power, 9) for power in range(-4, 3) for step in (1, 1.5, 2, 3, 4, 5, 7)
)
"""Upper bounds in seconds of the buckets that durations are counted in; one more takes the rest.

No step is larger than a half, so neither is the error of what is read from the counts, from 0.1 ms
up to more than ten minutes.
"""

_BUCKETS = len(BOUNDS) + 1
# Statuses are of three digits, and what an upstream made up is passed on.
_CLASSES = 10
_SWITCHED = 101
_FAILED = 500


class Minute:
    """One minute in which there were requests.

    ``buckets`` counts them by duration, ``errors`` those that were answered with 500 or above.
    """

    __slots__ = ("buckets", "errors", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.errors = 0
        self.buckets = [0] * _BUCKETS

    @property
    def requests(self) -> int:
        """How many there were."""
        return sum(self.buckets)


class Tally:
    """What became of the requests to one upstream, or of those to none.

    ``classes`` counts them by the first digit of their status, ``buckets`` by duration, and
    ``seconds`` adds durations up. Bridges have no duration here: they last as long as somebody
    stays. ``received`` and ``sent`` are bytes of bodies (and of bridges), as seen from the client.
    """

    __slots__ = ("buckets", "classes", "minutes", "received", "seconds", "sent")

    def __init__(self, minute: int) -> None:
        self.classes = [0] * _CLASSES
        self.buckets = [0] * _BUCKETS
        self.seconds = 0.0
        self.received = 0
        self.sent = 0
        # Only minutes with requests are kept, so an idle upstream costs next to nothing.
        self.minutes = deque((Minute(minute),), MINUTES)

    @property
    def requests(self) -> int:
        """Requests that have ended, bridges among them."""
        return sum(self.classes)

    @property
    def errors(self) -> int:
        """Those that were answered with 500 or above, by the notebook or in its place."""
        return sum(self.classes[_FAILED // 100 :])

    def since(self, first: int) -> list[Minute]:
        """The minutes from number ``first`` on in which there were requests."""
        return [minute for minute in self.minutes if minute.number >= first]


class Statistics:
    """The tallies of all upstreams, and of the requests that were for none (port None).

    Bounded by the number of ports that may be reached. ``minute`` is the number of the present one.
    """

    def __init__(self, now: float) -> None:
        self.tallies: dict[int | None, Tally] = {}
        self.tick(now)

    def tick(self, now: float) -> None:
        """It is ``now``, in seconds; to be called about once a second."""
        self.minute = int(now // 60)

    def add(self, port: int | None, status: int, duration: float, received: int, sent: int) -> None:
        """Count a request that has ended: its answer is sent, or never will be."""
        tally = self.tallies.get(port)
        if tally is None:
            tally = self.tallies[port] = Tally(self.minute)
        tally.classes[status // 100] += 1
        tally.received += received
        tally.sent += sent
        if status == _SWITCHED:
            return
        bucket = bisect_left(BOUNDS, duration)
        tally.buckets[bucket] += 1
        tally.seconds += duration
        minute = tally.minutes[-1]
        if minute.number != self.minute:
            minute = Minute(self.minute)
            tally.minutes.append(minute)
        minute.buckets[bucket] += 1
        if status >= _FAILED:
            minute.errors += 1


def added(rows: Iterable[Sequence[int]]) -> list[int]:
    """Buckets of several tallies or minutes as one; of none, they are empty."""
    return [sum(column) for column in zip([0] * _BUCKETS, *rows, strict=True)]


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
