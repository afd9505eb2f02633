"""Memory that is free is given back to the system, once many who needed it have left.

Knows the C library's allocator, and how many connections there are. Knows nothing of these.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

MANY = 256
"""Connections by which there are to be fewer before it is worth it: some 10 MiB."""
PAUSE = 60.0
"""Seconds from one time to the next. It takes a few milliseconds, in which nobody is served."""

_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def trim() -> None:
    """Give back what the C library holds but nobody uses (``malloc_trim(3)``; glibc alone has it).

    By itself it gives back only what lies above everything that is in use.
    """
    if _malloc_trim is not None:
        _malloc_trim(0)


class FreeMemory:
    """Notices when many have left.

    :param give_back: called then.
    """

    def __init__(self, give_back: Callable[[], None] = trim) -> None:
        self._give_back = give_back
        self._most = 0
        self._last = -PAUSE

    def note(self, now: float, connections: int) -> None:
        """There are so many connections; to be called about once a second."""
        self._most = max(self._most, connections)
        if self._most - connections >= MANY and now - self._last >= PAUSE:
            self._most = connections
            self._last = now
            self._give_back()
