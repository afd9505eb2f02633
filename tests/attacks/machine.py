"""What the machine itself takes from a window of time, by what Linux tells in /proc.

A wait is the daemon's doing only as far as the daemon, the good user and his notebook had a
processor when they wanted one.
"""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import NamedTuple

_EACH = 0.01


class Sample(NamedTuple):
    """A look at one moment; ``waited`` and ``late`` are sums since the beginning, in seconds."""

    at: float
    waited: float
    late: float


class Machine:
    """Watches from now on, until it is stopped, how long some processes waited for a processor."""

    def __init__(self, pids: list[int]) -> None:
        self._files = [Path(f"/proc/{pid}/schedstat") for pid in pids]
        self._samples = [Sample(time.monotonic(), self._waited(), 0.0)]
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._keep_looking, daemon=True)
        self._watch.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self._watch.join()

    def stolen(self, begin: float, end: float) -> float:
        """Seconds between two times that were nobody's of those who are watched.

        Either they were ready to run and others ran (they may wait at the same time, so this is a
        little much), or the whole machine stood still, and then this watch woke up late.
        """
        first = max((one for one in self._samples if one.at <= begin), default=self._samples[0])
        last = min((one for one in self._samples if one.at >= end), default=self._samples[-1])
        return min(end - begin, max(last.waited - first.waited, last.late - first.late))

    def _keep_looking(self) -> None:
        late = 0.0
        before = time.monotonic()
        while not self._over.wait(_EACH):
            now = time.monotonic()
            late += max(0.0, now - before - 2 * _EACH)
            before = now
            self._samples.append(Sample(now, self._waited(), late))

    def _waited(self) -> float:
        waited = 0
        for file in self._files:
            with contextlib.suppress(OSError):
                waited += int(file.read_text().split()[1])
        return waited / 1e9
