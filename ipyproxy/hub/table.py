"""The routes of a hub in a table of PostgreSQL's, which all nodes of a fleet read and write.

Knows the tables, and the statements on them. Waits for the server in each call, so it is for a
thread; what another thread may call says so. Knows nothing of how a route is served.

Each change has a number, the revision. Whoever makes one counts the only row of ``ipyproxy_hub`` up
in the same statement, and so has the number for itself until it is committed: changes are seen in
the order of their numbers, and a node that has seen one has seen all before it. A route that was
removed stays as a row without a target, until :data:`KEPT` more changes were made; a node that is
further behind reads everything. Dates are the server's: nodes say and are told how long ago
something was, so that their clocks may differ.
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
"""Of the tables, in the statements below as well; another one's are left alone."""
KEPT = 10_000
"""Changes for which it is remembered that a route was removed."""
AT_ONCE = 200
"""Routes that are read at once: what is made of them takes the reactor some milliseconds."""
STATEMENT_TIMEOUT = 5000
"""Milliseconds after which the server gives up a statement: a hub waits for ten seconds."""

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
"""Makes the tables, where they are missing; for whoever runs it, alone."""
_IS_THERE = "SELECT to_regclass('ipyproxy_hub') IS NOT NULL"
# Two that made a table at once would both fail.
_ALONE = "SELECT pg_advisory_xact_lock(hashtext('ipyproxy_hub'))"

# Everybody takes the one row of ipyproxy_hub first, and keeps it for a single statement: a node
# that is killed leaves nothing locked, half done, or done and not told.
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
# In one order, so that no two nodes wait for each other.
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
    """What the table has of a path now.

    :ivar data: what the hub said of the route; None: there is none any more.
    """

    use: Use
    data: dict[str, Any] | None


class Page(NamedTuple):
    """Some changes, in their order.

    :ivar begins: whether these and all up to the last page are everything that there is, so that
        whatever else is known is gone.
    :ivar is_last: whether there are no more for now.
    """

    changes: list[Change]
    begins: bool
    is_last: bool


class _Seen(NamedTuple):
    """The last change that was seen."""

    path: str
    revision: int
    changed: Any


class RoutesTable:
    """The tables in the database that a libpq URI names; they are made if they are missing."""

    def __init__(self, conninfo: str) -> None:
        self._session = Session(conninfo, "ipyproxy_hub", self._begin)
        self._is_behind = True
        """Whether everything has to be read."""
        self._revision = self._floor = 0
        self._seen: _Seen | None = None

    def _begin(self, connection: Any) -> None:
        connection.execute(f"SET statement_timeout = {STATEMENT_TIMEOUT}")
        if not connection.execute(_IS_THERE).fetchone()[0]:
            with connection.transaction():
                connection.execute(_ALONE)
                connection.execute(MAKE)
        # Another server may have taken the place of one that was lost, without its last changes.
        # If it has the last one that was seen, all before that are the same; later numbers, which
        # changed nothing, may stand for something else by now.
        seen = self._seen
        if seen is None or connection.execute(_STILL, seen).fetchone() is None:
            self._is_behind = True
        else:
            self._revision = seen.revision

    def look(self, *, waits: bool = False) -> Page:
        """The changes since the last look.

        :param waits: whether to wait a while for one; see :class:`ipyproxy.database.postgresql`.
        :raises AwayError: if the tables cannot be read.
        """
        with self._session.open(waits=waits) as connection:
            newest, rows = self._changes(connection)
            # What was removed until then is forgotten.
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
        """Let there be a route, in the place of what is there.

        :param data: what else the hub said of it, as JSON.
        :raises AwayError: if that cannot be written, or nobody knows whether it was.
        """
        self._write(_ADD, {"path": path, "target": target, "data": data})

    def remove(self, path: str) -> bool:
        """Let there be no route; whether there was one. Raises as :meth:`add` does."""
        return self._write(_REMOVE, {"path": path, "kept": KEPT})

    def _write(self, statement: str, values: dict[str, Any]) -> bool:
        """Whether that changed something."""
        with self._session.open() as connection:
            if connection.execute(statement, values).fetchone() is not None:
                return True
            self._changes(connection)  # of another version?
            return False

    def tell(self, uses: Iterable[Use]) -> None:
        """Note when routes were last used here; what is known of later use stays.

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
        """When each route was last used, as far as nodes have told.

        :raises AwayError: if that cannot be read.
        """
        with self._session.open() as connection:
            return [Use(*row) for row in connection.execute(_USES)]

    def ring(self) -> None:
        """Another thread's: have a look that waits for a change return at once."""
        self._session.ring()

    def interrupt(self) -> None:
        """Another thread's: have a call that waits for a silent server fail soon."""
        self._session.interrupt()

    def close(self) -> None:
        """Let go of the connection."""
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
