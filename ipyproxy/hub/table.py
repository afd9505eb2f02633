"""The routes of a hub in a PostgreSQL table, which all nodes of a fleet read and write.

Knows the tables, and the statements on them. Each call waits for the server, so it belongs in a
thread; methods that another thread may call say so. Knows nothing of how a route is served.

Each change has a number, the revision. The statement that makes a change also increments the
counter in the only row of ``ipyproxy_hub``, which locks that row until the commit. So changes
become visible in the order of their numbers, and a node that has seen one has seen all before it. A
removed route stays as a row without a target until :data:`KEPT` more changes have been made; a node
that is further behind reads everything. Dates are the server's: nodes write and read how long ago
something was, so their clocks may differ.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from ipyproxy.database.postgresql import Session
from ipyproxy.database.watch import AwayError
from ipyproxy.hub.store import Use

VERSION = 1
"""The version of the tables, also in the statements below; tables of another version are not
used."""
KEPT = 10_000
"""So many changes later, the row of a removed route is deleted."""
AT_ONCE = 200
"""Routes that are read at once: applying them takes some milliseconds in the reactor."""
STATEMENT_TIMEOUT = 5000
"""Milliseconds after which the server cancels a statement: a hub waits for ten seconds."""

MAKE = """
CREATE TABLE IF NOT EXISTS ipyproxy_hub (version integer NOT NULL, revision bigint NOT NULL);
INSERT INTO ipyproxy_hub SELECT 1, 0 WHERE NOT EXISTS (SELECT FROM ipyproxy_hub);
CREATE TABLE IF NOT EXISTS ipyproxy_hub_routes (
    path text PRIMARY KEY,
    target text,
    data text NOT NULL,
    revision bigint NOT NULL UNIQUE,
    changed timestamptz NOT NULL,
    last_activity timestamptz NOT NULL,
    last_activity_person timestamptz
) WITH (fillfactor = 80);
CREATE INDEX IF NOT EXISTS ipyproxy_hub_removed
    ON ipyproxy_hub_routes (revision) WHERE target IS NULL;
"""
"""Creates missing tables, which only the user that runs it may use."""
_IS_THERE = "SELECT to_regclass('ipyproxy_hub') IS NOT NULL"
# If two sessions created a table at once, both would fail.
_ALONE = "SELECT pg_advisory_xact_lock(hashtext('ipyproxy_hub'))"

# Each statement locks the one row of ipyproxy_hub first, and only until its own end. So a killed
# node leaves no lock, no partial change, and no change without its notification.
_ADD = """
WITH turn AS (
    UPDATE ipyproxy_hub SET revision = revision + 1 WHERE version = 1 RETURNING revision
), added AS (
    INSERT INTO ipyproxy_hub_routes AS r (path, target, data, revision, changed, last_activity)
    SELECT %(path)s, %(target)s, %(data)s, revision, clock_timestamp(), clock_timestamp() FROM turn
    ON CONFLICT (path) DO UPDATE SET target = excluded.target, data = excluded.data,
        revision = excluded.revision, changed = excluded.changed,
        last_activity = excluded.last_activity,
        last_activity_person = CASE WHEN r.target = excluded.target THEN r.last_activity_person END
    RETURNING path
) SELECT pg_notify('ipyproxy_hub', '') FROM added"""
_REMOVE = """
WITH turn AS (
    UPDATE ipyproxy_hub SET revision = revision + 1 WHERE version = 1 RETURNING revision
), removed AS (
    UPDATE ipyproxy_hub_routes r SET target = NULL, data = '', revision = turn.revision,
        changed = clock_timestamp()
    FROM turn WHERE r.path = %(path)s AND r.target IS NOT NULL RETURNING r.path
), forgotten AS (
    DELETE FROM ipyproxy_hub_routes r USING turn
    WHERE r.target IS NULL AND r.revision <= turn.revision - %(kept)s
) SELECT pg_notify('ipyproxy_hub', '') FROM removed"""

_LOOK = """
SELECT h.version, h.revision, r.path, r.target, r.data, r.revision, r.changed,
    extract(epoch FROM clock_timestamp() - r.last_activity)::float8,
    coalesce(extract(epoch FROM clock_timestamp() - r.last_activity_person), 'Infinity')::float8
FROM ipyproxy_hub h LEFT JOIN LATERAL (
    SELECT * FROM ipyproxy_hub_routes WHERE revision > %s ORDER BY revision LIMIT %s
) r ON true ORDER BY r.revision"""
_STILL = "SELECT FROM ipyproxy_hub_routes WHERE path = %s AND revision = %s AND changed = %s"

_USES = """
SELECT path, extract(epoch FROM clock_timestamp() - last_activity)::float8,
    coalesce(extract(epoch FROM clock_timestamp() - last_activity_person), 'Infinity')::float8
FROM ipyproxy_hub_routes WHERE target IS NOT NULL"""
# In a fixed order, so that no two nodes wait for each other.
_TELL = """
WITH told AS (
    SELECT r.path, clock_timestamp() - make_interval(secs => t.active) AS active,
        clock_timestamp() - make_interval(secs => t.person) AS person
    FROM ipyproxy_hub_routes r
    JOIN json_to_recordset(%s::json) AS t(path text, active float8, person float8) USING (path)
    WHERE r.target IS NOT NULL ORDER BY r.path FOR NO KEY UPDATE OF r
) UPDATE ipyproxy_hub_routes r SET last_activity = greatest(r.last_activity, told.active),
    last_activity_person = greatest(r.last_activity_person, told.person)
FROM told WHERE r.path = told.path"""


class Change(NamedTuple):
    """The present row of a path.

    :ivar data: the route's data from the hub; None: the route was removed.
    """

    use: Use
    data: dict[str, Any] | None


class Page(NamedTuple):
    """Some changes, in order.

    :ivar begins: whether this page and the following ones contain all routes, so that other known
        ones are gone.
    :ivar is_last: whether there are no further changes at present.
    """

    changes: list[Change]
    begins: bool
    is_last: bool


class _Seen(NamedTuple):
    """The last change that this node has seen."""

    path: str
    revision: int
    changed: Any


class RoutesTable:
    """The tables in the database that a libpq URI names; missing ones are created."""

    def __init__(self, conninfo: str) -> None:
        self._session = Session(conninfo, "ipyproxy_hub", self._begin)
        self._is_behind = True
        """Whether everything has to be read anew."""
        self._revision = self._floor = 0
        self._seen: _Seen | None = None

    def _begin(self, connection: Any) -> None:
        connection.execute(f"SET statement_timeout = {STATEMENT_TIMEOUT}")
        if not connection.execute(_IS_THERE).fetchone()[0]:
            with connection.transaction():
                connection.execute(_ALONE)
                connection.execute(MAKE)
        # A lost server may have been replaced by another one that lacks its last changes. If that
        # one has the last change that was seen, all before are the same. Later numbers, of
        # statements that changed nothing, may now belong to other changes.
        seen = self._seen
        if seen is None or connection.execute(_STILL, seen).fetchone() is None:
            self._is_behind = True
        else:
            self._revision = seen.revision

    def look(self, *, waits: bool = False) -> Page:
        """The changes since the last look.

        :param waits: whether to wait a while for a change; see
            :class:`ipyproxy.database.postgresql`.
        :raises AwayError: if the tables cannot be read.
        """
        with self._session.open(waits=waits) as connection:
            newest, rows = self._changes(connection)
            # Rows of routes that were removed until then are deleted.
            forgotten = newest - KEPT
            if newest < self._revision or forgotten > max(self._revision, self._floor):
                self._is_behind = True
            if begins := self._is_behind:
                self._revision, self._floor, self._seen = 0, newest, None
                newest, rows = self._changes(connection)
                self._is_behind = False
        is_last = len(rows) < AT_ONCE
        if rows:
            path, _, _, revision, changed = rows[-1][:5]
            self._seen = _Seen(path, revision, changed)
            self._revision = revision
        if is_last:
            self._revision = newest
        return Page([_change(*row) for row in rows], begins, is_last)

    def _changes(self, connection: Any) -> tuple[int, list[Any]]:
        """The number of the newest change, and the next ones."""
        rows = connection.execute(_LOOK, [self._revision, AT_ONCE]).fetchall()
        if not rows:
            raise AwayError("the table ipyproxy_hub has lost its row")
        version, newest = rows[0][:2]
        if version != VERSION:
            raise AwayError(
                f"the tables ipyproxy_hub are of version {version}, and this ipyproxy knows "
                f"version {VERSION}; run the same version everywhere"
            )
        return newest, [row[2:] for row in rows if row[2] is not None]

    def add(self, path: str, target: str, data: str) -> None:
        """Set a route; it replaces the former one.

        :param data: the rest of the route's data, as JSON.
        :raises AwayError: if it cannot be written, or if it is unknown whether it was.
        """
        self._write(_ADD, {"path": path, "target": target, "data": data})

    def remove(self, path: str) -> bool:
        """Remove a route. Returns whether there was one. Raises what :meth:`add` does."""
        return self._write(_REMOVE, {"path": path, "kept": KEPT})

    def _write(self, statement: str, values: dict[str, Any]) -> bool:
        """Execute ``statement``. Returns whether it changed something."""
        with self._session.open() as connection:
            if connection.execute(statement, values).fetchone() is not None:
                return True
            self._changes(connection)  # of another version?
            return False

    def tell(self, uses: Iterable[Use]) -> None:
        """Record when routes were last used at this node; a later known use stays.

        :raises AwayError: if that cannot be written.
        """
        told = [
            # JSON knows no infinity.
            {"path": path, "active": active, "person": person if person < math.inf else None}
            for path, active, person in uses
        ]
        with self._session.open() as connection:
            connection.execute(_TELL, [json.dumps(told)])

    def uses(self) -> list[Use]:
        """When each route was last used, as nodes have recorded.

        :raises AwayError: if that cannot be read.
        """
        with self._session.open() as connection:
            return [Use(*row) for row in connection.execute(_USES)]

    def ring(self) -> None:
        """From another thread: make a look that waits for a change return at once."""
        self._session.ring()

    def interrupt(self) -> None:
        """From another thread: make a call that waits for a silent server fail soon."""
        self._session.interrupt()

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


def _change(
    path: str,
    target: str | None,
    data: str,
    revision: int,
    changed: object,
    active_ago: float,
    person_ago: float,
) -> Change:
    use = Use(path, active_ago, person_ago)
    if target is None:
        return Change(use, None)
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        told = None
    return Change(use, {**(told if isinstance(told, dict) else {}), "target": target})
