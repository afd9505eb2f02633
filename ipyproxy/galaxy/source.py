"""The interface of a source of the map."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from ipyproxy.galaxy.entries import Row

SELECT = "SELECT key, key_type, token, host, port, info FROM gxitproxy LIMIT 1000000"
"""Selects all rows, at most MOST_ENTRIES, in SQL that every database understands."""


@dataclass(frozen=True, slots=True)
class Part:
    """Rows for some keys only; all others are unchanged since the last look."""

    keys: Collection[str]
    rows: Sequence[Row]


class Source(Protocol):
    """Reads the map. One thread, not the reactor's, makes all calls except :meth:`interrupt`."""

    pause: float
    """Seconds between two looks."""

    def look(self) -> Sequence[Row] | Part | None:
        """Read all rows, or those of keys that have changed since the last look; None if none have.

        May take long.

        :raises AwayError: if the map cannot be read.
        """

    def interrupt(self) -> None:
        """Make a look that waits for a silent server fail soon, if that is possible.

        Called from another thread. Returns at once.
        """

    def close(self) -> None:
        """Close everything that is open."""
