"""What a source of the map is. Knows no kind of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from ipyproxy.galaxy.entries import Row

SELECT = "SELECT key, key_type, token, host, port, info FROM gxitproxy LIMIT 1000000"
"""All rows, or MOST_ENTRIES of them, in the words of every database."""


@dataclass(frozen=True, slots=True)
class Part:
    """What was found of some keys only; all others are as they were at the last look."""

    keys: Collection[str]
    rows: Sequence[Row]


class Source(Protocol):
    """Where the map is. One thread, which is not the reactor's, makes all calls but one."""

    pause: float
    """Seconds to wait from one look to the next."""

    def look(self) -> Sequence[Row] | Part | None:
        """All rows, or those of keys that have changed since the last look; None if none have.

        Takes as long as it likes.

        :raises AwayError: if the map cannot be read.
        """

    def interrupt(self) -> None:
        """Make a look that waits for a silent server fail soon, if it can be done.

        Called from another thread than the one that looks. Returns at once.
        """

    def close(self) -> None:
        """Let go of whatever is open."""
