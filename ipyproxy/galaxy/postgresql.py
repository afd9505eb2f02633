"""The map in a database of PostgreSQL's, by psycopg 3.

Knows one connection, LISTEN and SELECT. Waits for the server in each call, so it is for a thread.
psycopg is no dependency of the package's (``pip install ipyproxy[postgresql]``), and loaded with
the first look.
"""

from __future__ import annotations

import os
import random
import select
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock
from typing import Any

from ipyproxy.galaxy.entries import Row
from ipyproxy.galaxy.source import SELECT, MapAwayError, Part

PAUSE = 0.5
"""Seconds from one look to the next, however many notifications come."""
POLL = 2.0
"""Seconds for which a notification is waited for before the table is looked at anyhow."""
STATEMENT_TIMEOUT = 15_000
"""Milliseconds after which the server gives up a statement: enough for a million rows."""
CONNECT_TIMEOUT = 5
"""Seconds that a connection may take to be made."""
LOST_AFTER = 10_000
"""Milliseconds after which a server that acknowledges nothing counts as lost (tcp(7))."""

CHECK = 1800.0
"""Seconds after which, give or take a half, the table is looked at although nothing was told."""
MOST_TOLD = 1000
"""Keys that are read by themselves; of more changes at once all rows are read."""
_LONGEST_KEY = 64

# A snapshot names the transactions that have not ended, and the next one to come. As long as it is
# the same, no transaction has written and ended: not in this table, nor in any other.
_STATE = """
SELECT txid_current_snapshot()::text, EXISTS (
    SELECT FROM pg_trigger WHERE tgrelid = 'gxitproxy'::regclass AND tgname = 'ipyproxy_tell_row'
    AND tgenabled <> 'D'
)
"""
# Whatever changes, this does, and it is one row: most looks find nothing new.
_FINGERPRINT = "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM gxitproxy t"
_PART = "SELECT key, key_type, token, host, port, info FROM gxitproxy WHERE key = ANY(%s)"


class PostgreSQLSource:
    """The table ``gxitproxy`` in the database that a libpq URI names.

    Each look waits for ``NOTIFY gxitproxy``, but no longer than :data:`POLL`. Where the trigger
    ``ipyproxy_tell_row`` is there, a notification names the key that has changed, and only its row
    is read. The session is one for reading only.
    """

    pause = PAUSE

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._connection: Any = None
        self._line = Line()
        self._seen: object = None
        self._snapshot = ""
        self._told: set[str] = set()
        self._check_at = 0.0

    def look(self) -> Sequence[Row] | Part | None:
        """See :class:`~ipyproxy.galaxy.source.Source`."""
        try:
            import psycopg
        except ImportError:
            raise MapAwayError(
                "psycopg is not installed; pip install 'ipyproxy[postgresql]', or Debian's "
                "python3-psycopg"
            ) from None
        try:
            if self._connection is None:
                self._connection = self._connect(psycopg)
            else:
                self._line.hold(self._connection.fileno())
                if not self._told:  # else more has come with the answers to the last look
                    _wait_for_input(self._connection.fileno())
            return self._changed()
        except psycopg.Error as error:
            self.close()
            raise MapAwayError(_told(error)) from None
        finally:
            self._line.drop()

    def _connect(self, psycopg: Any) -> Any:
        connection = psycopg.connect(
            self._conninfo,
            autocommit=True,
            application_name="ipyproxy",
            **_usual(psycopg.conninfo.conninfo_to_dict(self._conninfo)),
        )
        self._line.hold(connection.fileno())
        # Each statement takes what has come; if nobody heard of them, they would all be kept.
        connection.add_notify_handler(self._hear)
        try:
            connection.execute(f"SET statement_timeout = {STATEMENT_TIMEOUT}")
            connection.execute("SET default_transaction_read_only = on")
            connection.execute("LISTEN gxitproxy")
        except psycopg.Error:
            connection.close()
            raise
        # Nothing was told while there was no connection.
        self._told.clear()
        self._check_at = 0.0
        return connection

    def _hear(self, notification: Any) -> None:
        """Remember which key has changed, or that nobody knows which."""
        if len(self._told) <= MOST_TOLD:
            key = notification.payload
            self._told.add(key if len(key) <= _LONGEST_KEY else "")

    def _changed(self) -> Sequence[Row] | Part | None:
        snapshot, tells_keys = self._connection.execute(_STATE).fetchone()
        told, self._told = self._told, set()
        before, self._snapshot = self._snapshot, snapshot
        if time.monotonic() < self._check_at:
            if not told and (tells_keys or snapshot == before):
                return None
            if tells_keys and "" not in told and len(told) <= MOST_TOLD:
                rows = self._connection.execute(_PART, [list(told)])
                self._seen = None
                return Part(told, [Row(*row) for row in rows])
        found = self._all()
        # Not all nodes at once.
        self._check_at = time.monotonic() + CHECK * random.uniform(0.5, 1.5)  # noqa: S311
        return found

    def _all(self) -> Sequence[Row] | None:
        seen = self._connection.execute(_FINGERPRINT).fetchone()
        if seen == self._seen:
            return None
        rows = [Row(*row) for row in self._connection.execute(SELECT)]
        # Of before the rows: whatever has changed since is found by the next look.
        self._seen = seen
        return rows

    def interrupt(self) -> None:
        """See :class:`~ipyproxy.galaxy.source.Source`. Making a connection has its own time-out."""
        self._line.cut()

    def close(self) -> None:
        """See :class:`~ipyproxy.galaxy.source.Source`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class Line:
    """The socket of a connection that one thread waits for, so that another can cut it.

    No setting of libpq's ends the wait for a server process that is stopped: its kernel still
    acknowledges what is sent, so TCP finds nothing wrong. Shutting the socket down ends the wait.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._socket: socket.socket | None = None

    def hold(self, descriptor: int) -> None:
        """From now on this socket is waited for. It is held, whoever closes ``descriptor``."""
        with self._lock:
            self._socket = socket.socket(fileno=os.dup(descriptor))

    def cut(self) -> None:
        """Shut down the socket that is waited for, if any."""
        with self._lock:
            if self._socket is not None:
                with suppress(OSError):  # the other side was faster
                    self._socket.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """The socket is waited for no longer."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None


def _wait_for_input(descriptor: int) -> None:
    """Wait for a notification, or the end of the connection, for :data:`POLL` at most.

    With TLS one may be in libpq's own buffer, unseen from here; then it is the time that counts.
    """
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    waiting.poll(POLL * 1000)


def _usual(given: Any) -> dict[str, Any]:
    """What is asked of a connection unless the URI says otherwise."""
    usual = {
        "connect_timeout": CONNECT_TIMEOUT,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": LOST_AFTER,
    }
    return {name: value for name, value in usual.items() if name not in given}


def _told(error: Exception) -> str:
    """What libpq says, on one line. It says names of hosts and users, never a password."""
    lines = [line.strip() for line in str(error).splitlines()]
    return ("; ".join(line for line in lines if line) or type(error).__name__)[:500].rstrip(".")
