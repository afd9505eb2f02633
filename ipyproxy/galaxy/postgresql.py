"""The map in a PostgreSQL database.

Knows the table, LISTEN and SELECT. Each call waits for the server, so it belongs in a thread.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

from ipyproxy.database.postgresql import Session
from ipyproxy.galaxy.entries import Row
from ipyproxy.galaxy.source import SELECT, Part

PAUSE = 0.5
"""Least seconds between two looks, however many notifications come."""
STATEMENT_TIMEOUT = 15_000
"""Milliseconds after which the server cancels a statement: enough for a million rows."""
CHECK = 1800.0
"""Seconds (plus or minus a half) after which the table is read without a notification."""
MOST_TOLD = 1000
"""Most keys that are read one by one; with more changes at once, all rows are read."""
_LONGEST_KEY = 64

# A snapshot lists the open transactions and the next transaction id. While it stays the same, no
# transaction has written and ended, in this table or any other.
_STATE = """
SELECT txid_current_snapshot()::text, EXISTS (
    SELECT FROM pg_trigger WHERE tgrelid = 'gxitproxy'::regclass AND tgname = 'ipyproxy_tell_row'
    AND tgenabled <> 'D'
)
"""
# This single row changes with every change, so most looks read only that.
_FINGERPRINT = "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM gxitproxy t"
_PART = "SELECT key, key_type, token, host, port, info FROM gxitproxy WHERE key = ANY(%s)"


class PostgreSQLSource:
    """The table ``gxitproxy`` in the database that a libpq URI names.

    Each look waits for ``NOTIFY gxitproxy``, but not for long. If the trigger ``ipyproxy_tell_row``
    is installed, a notification names the key that has changed, and only its row is read. The
    session is read-only.
    """

    pause = PAUSE

    def __init__(self, conninfo: str) -> None:
        self._session = Session(conninfo, "gxitproxy", self._begin, self._hear)
        self._seen: object = None
        self._snapshot = ""
        self._told: set[str] = set()
        self._check_at = 0.0

    def look(self) -> Sequence[Row] | Part | None:
        """See :class:`~ipyproxy.galaxy.source.Source`."""
        with self._session.open(waits=True) as connection:
            return self._changed(connection)

    def _begin(self, connection: Any) -> None:
        connection.execute(f"SET statement_timeout = {STATEMENT_TIMEOUT}")
        connection.execute("SET default_transaction_read_only = on")
        # Notifications were lost while there was no connection.
        self._told.clear()
        self._check_at = 0.0

    def _hear(self, key: str) -> None:
        """Remember which key has changed, or that it is unknown."""
        if len(self._told) <= MOST_TOLD:
            self._told.add(key if len(key) <= _LONGEST_KEY else "")

    def _changed(self, connection: Any) -> Sequence[Row] | Part | None:
        snapshot, tells_keys = connection.execute(_STATE).fetchone()
        told, self._told = self._told, set()
        before, self._snapshot = self._snapshot, snapshot
        if time.monotonic() < self._check_at:
            if not told and (tells_keys or snapshot == before):
                return None
            if tells_keys and "" not in told and len(told) <= MOST_TOLD:
                rows = connection.execute(_PART, [list(told)])
                self._seen = None
                return Part(told, [Row(*row) for row in rows])
        found = self._all(connection)
        # So that not all nodes read at once.
        self._check_at = time.monotonic() + CHECK * random.uniform(0.5, 1.5)  # noqa: S311
        return found

    def _all(self, connection: Any) -> Sequence[Row] | None:
        seen = connection.execute(_FINGERPRINT).fetchone()
        if seen == self._seen:
            return None
        rows = [Row(*row) for row in connection.execute(SELECT)]
        # The snapshot before the rows: the next look finds all later changes.
        self._seen = seen
        return rows

    def interrupt(self) -> None:
        """See :class:`~ipyproxy.galaxy.source.Source`. Connecting has its own time-out."""
        self._session.interrupt()

    def close(self) -> None:
        """See :class:`~ipyproxy.galaxy.source.Source`."""
        self._session.close()
