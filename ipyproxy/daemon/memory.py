"""Returns free memory to the system after many connections have ended.

Knows the C library's allocator, and the number of connections.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

MANY = 256
"""It is worth it if so many connections have ended: they took some 10 MiB."""
PAUSE = 60.0
"""Least seconds between two times. Each takes a few milliseconds, in which nothing else runs."""

_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def trim() -> None:
    """Return memory that the C library holds unused (``malloc_trim(3)``; only in glibc).

    By itself glibc returns only memory above the last used block.
    """
    if _malloc_trim is not None:
        _malloc_trim(0)


class FreeMemory:
    """Notices when many connections have ended.

    :param give_back: returns the memory.
    """

    def __init__(self, give_back: Callable[[], None] = trim) -> None:
        self._give_back = give_back
        self._most = 0
        self._last = -PAUSE

    def note(self, now: float, connections: int) -> None:
        """Update the number of connections; to be called about once a second."""
        self._most = max(self._most, connections)
        if self._most - connections >= MANY and now - self._last >= PAUSE:
            self._most = connections
            self._last = now
            self._give_back()
