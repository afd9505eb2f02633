"""A session with a server of PostgreSQL's, by psycopg 3: made, listening, and made again once lost.

Knows one connection. Waits for the server in each call, so it is for a thread; what another thread
may call says so. psycopg is no dependency of the package's (``pip install ipyproxy[postgresql]``),
and loaded when a connection is first made.
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
"""Seconds for which a notification is waited for."""
CONNECT_TIMEOUT = 5
"""Seconds that a connection may take to be made."""
LOST_AFTER = 10_000
"""Milliseconds after which a server that acknowledges nothing counts as lost (tcp(7))."""
_MOST_READS = 100


class Session:
    """One connection, made when it is first asked for and again after it was lost.

    :param conninfo: a connection URI of libpq's.
    :param channel: what is listened to.
    :param begin: is handed each new connection before anybody else, and limits its statements.
    :param hear: is told the payload of each notification.
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
        """The connection. Whatever goes wrong with it within the block closes it.

        :param waits: whether to wait, on a connection that was there already, until there is a
            notification or a ring, for :data:`POLL` at most.
        :raises AwayError: in the place of every error of psycopg's, also from within the block.
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
        # Each statement takes what has come; if nobody heard of them they would all be kept.
        connection.add_notify_handler(self._heard)
        try:
            self._begin(connection)
            connection.execute(f"LISTEN {self._channel}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _given(self, psycopg: Any) -> Any:
        """What the URI says. What libpq complains of in it may be a part of the password."""
        try:
            return psycopg.conninfo.conninfo_to_dict(self._conninfo)
        except psycopg.Error:
            why = "libpq does not understand its URL; is there anything to be percent-encoded?"
            raise AwayError(why) from None

    def _wait(self) -> None:
        pgconn = self._connection.pgconn
        # With TLS a notification may be in libpq's own buffer, unseen by poll(2): then it is the
        # time that counts.
        if not self._has_news:
            _is_ready(POLL, pgconn.socket, self._bell)
        with suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        # However many there are, one look is enough. One that comes with the answer to it may be
        # of something that it did not see yet.
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
        """Another thread's: end the wait, or the next one, at once."""
        os.eventfd_write(self._bell, 1)

    def interrupt(self) -> None:
        """Another thread's: make whoever waits for the server's answer fail soon.

        Making a connection has its own time-out.
        """
        self._line.cut()

    def close(self) -> None:
        """Let go of the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class _Line:
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


def _is_ready(seconds: float, *descriptors: int) -> bool:
    """Whether one of them can be read, or is at its end, within this time."""
    waiting = select.poll()
    for descriptor in descriptors:
        waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))


def _usual(given: Any) -> dict[str, Any]:
    """What is asked of a connection unless the URI says otherwise."""
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
    """What libpq says, on one line. It says names of hosts and users, never a password."""
    lines = [line.strip() for line in str(error).splitlines()]
    return ("; ".join(line for line in lines if line) or type(error).__name__)[:500].rstrip(".")
