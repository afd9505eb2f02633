"""A session with a PostgreSQL server by psycopg 3: connects, listens, and reconnects.

Knows one connection. Each call waits for the server, so it belongs in a thread; methods that
another thread may call say so. psycopg is an optional dependency (``pip install
ipyproxy[postgresql]``), loaded with the first connection.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any

from ipyproxy.database.watch import AwayError

POLL = 2.0
"""Seconds to wait for a notification."""
CONNECT_TIMEOUT = 5
"""Seconds to wait for a connection."""
LOST_AFTER = 10_000
"""Milliseconds after which a server that acknowledges nothing counts as lost (tcp(7))."""
_MOST_READS = 100


class Session:
    """One connection, made at its first use and again after it was lost.

    :param conninfo: a libpq connection URI.
    :param channel: the channel to LISTEN to.
    :param begin: called first with each new connection, to limit its statements.
    :param hear: called with the payload of each notification.
    """

    def __init__(
        self,
        conninfo: str,
        channel: str,
        begin: Callable[[Any], None],
        hear: Callable[[str], None] = lambda payload: None,
    ) -> None:
        self._conninfo = conninfo
        self._channel = channel
        self._begin = begin
        self._hear = hear
        self._connection: Any = None
        self._line = _Line()
        self._has_news = False
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __del__(self) -> None:
        os.close(self._bell)

    @contextmanager
    def open(self, *, waits: bool = False) -> Iterator[Any]:
        """The connection. An error within the block closes it.

        :param waits: whether to wait, on an existing connection, until there is a notification or a
            ring, for at most :data:`POLL` seconds.
        :raises AwayError: instead of every error of psycopg, also of those within the block.
        """
        try:
            import psycopg
        except ImportError:
            raise AwayError(
                "psycopg is not installed; pip install 'ipyproxy[postgresql]', or Debian's "
                "python3-psycopg"
            ) from None
        try:
            if self._connection is None:
                self._connection = self._connect(psycopg)
            else:
                self._line.hold(self._connection.fileno())
                if waits:
                    self._wait()
            yield self._connection
        except psycopg.Error as error:
            self.close()
            raise AwayError(_told(error)) from None
        finally:
            self._line.drop()

    def _connect(self, psycopg: Any) -> Any:
        connection = psycopg.connect(
            self._conninfo,
            autocommit=True,
            application_name="ipyproxy",
            **_usual(self._given(psycopg)),
        )
        self._line.hold(connection.fileno())
        # Each statement reads notifications; without a handler psycopg would store all of them.
        connection.add_notify_handler(self._heard)
        try:
            self._begin(connection)
            connection.execute(f"LISTEN {self._channel}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _given(self, psycopg: Any) -> Any:
        """Parse the URI.

        An error message of libpq may contain a part of the password, so it is dropped.
        """
        try:
            return psycopg.conninfo.conninfo_to_dict(self._conninfo)
        except psycopg.Error:
            why = "libpq does not understand its URL; is there anything to be percent-encoded?"
            raise AwayError(why) from None

    def _wait(self) -> None:
        pgconn = self._connection.pgconn
        # With TLS a notification may be in libpq's own buffer, where poll(2) does not see it; then
        # the wait ends by time.
        if not self._has_news:
            _is_ready(POLL, pgconn.socket, self._bell)
        with suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        # One look is enough for any number of notifications. One that comes with the look's own
        # answer may be about a change that the look has not seen.
        for _ in range(_MOST_READS):
            pgconn.consume_input()
            while notification := pgconn.notifies():
                self._hear(notification.extra.decode("utf-8", "replace"))
            if not _is_ready(0.0, pgconn.socket):
                break
        self._has_news = False

    def _heard(self, notification: Any) -> None:
        self._has_news = True
        self._hear(notification.payload)

    def ring(self) -> None:
        """From another thread: end the wait, or the next one, at once."""
        os.eventfd_write(self._bell, 1)

    def interrupt(self) -> None:
        """From another thread: make a call that waits for the server's answer fail soon.

        Connecting has its own time-out.
        """
        self._line.cut()

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class _Line:
    """The socket on which one thread waits, so that another thread can shut it down.

    No setting of libpq ends the wait for a stopped server process: its kernel still acknowledges
    data, so TCP sees no error. Shutting the socket down ends the wait.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._socket: socket.socket | None = None

    def hold(self, descriptor: int) -> None:
        """A thread now waits on this socket. It is duplicated, so ``descriptor`` may be closed."""
        with self._lock:
            self._socket = socket.socket(fileno=os.dup(descriptor))

    def cut(self) -> None:
        """Shut the socket down, if a thread waits on one."""
        with self._lock:
            if self._socket is not None:
                with suppress(OSError):  # the server has closed it already
                    self._socket.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """No thread waits on the socket any more."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None


def _is_ready(seconds: float, *descriptors: int) -> bool:
    """Wait until one of the descriptors is readable or at its end.

    Returns whether one is, in time.
    """
    waiting = select.poll()
    for descriptor in descriptors:
        waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))


def _usual(given: Any) -> dict[str, Any]:
    """The default options of a connection; the URI may override them."""
    usual = {
        "client_encoding": "UTF8",
        "connect_timeout": CONNECT_TIMEOUT,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": LOST_AFTER,
    }
    return {name: value for name, value in usual.items() if name not in given}


def _told(error: Exception) -> str:
    """The message of libpq on one line. It contains names of hosts and users, never a password."""
    lines = [line.strip() for line in str(error).splitlines()]
    return ("; ".join(line for line in lines if line) or type(error).__name__)[:500].rstrip(".")
