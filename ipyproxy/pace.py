"""Whether a stream that should move does move. Knows numbers only; time is handed in."""

from __future__ import annotations


class Pace:
    """A floor under the speed of a stream, in the manner of Apache's ``MinRate``.

    :param grace: seconds without a single byte that are allowed, and the time before the rate
        counts.
    :param rate: bytes per second that must be kept from then on.
    """

    __slots__ = ("_base", "_grace", "_moved", "_rate", "_since", "_total")

    def __init__(self, grace: float, rate: int, now: float) -> None:
        self._grace = grace
        self._rate = rate
        self._restart(now, 0)

    def _restart(self, now: float, total: int) -> None:
        self._since = self._moved = now
        self._base = self._total = total

    def is_late(self, now: float, total: int, wanted: bool) -> bool:
        """Look at the stream; to be called about once a second.

        :param total: bytes that have moved since it began.
        :param wanted: whether the other side is expected to move at all just now.
        """
        if not wanted or total < self._total:
            self._restart(now, total)
            return False
        if total > self._total:
            self._moved, self._total = now, total
        elapsed = now - self._since
        if now - self._moved > self._grace:
            return True
        return elapsed > self._grace and total - self._base < self._rate * elapsed

    def is_below(self, now: float, grace: float) -> bool:
        """Whether it has moved below the rate for over ``grace`` seconds, as of the last look."""
        elapsed = now - self._since
        return elapsed > grace and self._total - self._base <= self._rate * elapsed
