"""Checks whether a stream keeps a minimum speed. Knows numbers only; time is handed in."""

from __future__ import annotations

from typing import Final

_GLANCE: Final = 2.0
"""Seconds after which it is known whether a stream is slow at present."""


class Pace:
    """A minimum speed of a stream, like Apache's ``MinRate``.

    It is checked for each span of ``grace`` seconds separately; otherwise a first burst into
    buffers would excuse a trickle for hours.

    :param grace: seconds that are allowed without a byte; also the length of a span.
    :param rate: least bytes per second in every span.
    """

    __slots__ = (
        "_base",
        "_glance",
        "_glance_base",
        "_grace",
        "_moved",
        "_rate",
        "_since",
        "_total",
        "is_slow",
    )

    def __init__(self, grace: float, rate: int, now: float) -> None:
        self._grace = grace
        self._rate = rate
        self._restart(now, 0)

    def _restart(self, now: float, total: int) -> None:
        self._since = self._moved = self._glance = now
        self._base = self._total = self._glance_base = total
        self.is_slow = False
        """Whether it was below the rate in the last seconds, which is allowed for a while."""

    def is_late(self, now: float, total: int, wanted: bool) -> bool:
        """Check the stream; to be called about once a second.

        :param total: bytes that have moved since it began.
        :param wanted: whether the other side is expected to send or read at present.
        """
        if not wanted or total < self._total:
            self._restart(now, total)
            return False
        if total > self._total:
            self._moved, self._total = now, total
        self._take_a_glance(now, total)
        if now - self._moved > self._grace:
            return True
        elapsed = now - self._since
        if elapsed <= self._grace:
            return False
        if total - self._base < self._rate * elapsed:
            return True
        self._since, self._base = now, total
        return False

    def _take_a_glance(self, now: float, total: int) -> None:
        elapsed = now - self._glance
        if elapsed >= _GLANCE:
            self.is_slow = total - self._glance_base <= self._rate * elapsed
            self._glance, self._glance_base = now, total
