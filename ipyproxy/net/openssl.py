"""Calls of OpenSSL that bypass pyOpenSSL's public methods.

This is the only module of ``net/`` that uses pyOpenSSL's private names: a connection's session, and
its memory BIOs. It also knows pyOpenSSL's errors. Knows nothing of the event loop, or of the data.
``lib`` and ``ffi`` are cryptography's documented bindings.

``Connection.recv`` and ``send`` take about 11,000 instructions each in addition to OpenSSL's own: a
new buffer for each read, a context manager for each write, and a check for errors even if there is
none. Here, reads go into one buffer that all connections share, and errors are checked only if
OpenSSL reports one.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, Final

from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL

RECORD: Final = 16384
"""Most bytes of data in one record (RFC 8446 section 5.1)."""
SPACE: Final = 65536 + RECORD
"""Size of the buffer that all sessions read into, in bytes."""

_lib: Final[Any] = Binding().lib
_ffi: Final[Any] = Binding.ffi
_read: Final[Any] = _lib.SSL_read
_write: Final[Any] = _lib.SSL_write
_unpack: Final[Any] = _ffi.unpack
_bytes_at: Final[Any] = _ffi.from_buffer
_space: Final[Any] = _ffi.new("char[]", SPACE)
_nowhere: Final[Any] = _ffi.new("char **")


class Session:
    """Reads and writes the data of one connection, once its handshake is done."""

    __slots__ = ("_connection", "_ssl")

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection
        self._ssl: Any = _session_of(connection)

    def fill(self, at: int, most: int) -> int:
        """Read the data of one record into the shared buffer, at offset ``at``. Returns its length.

        Raises what ``Connection.recv`` does. Call :func:`filled` to take the data before another
        connection reads.
        """
        count: int = _read(self._ssl, _space + at if at else _space, most)
        if count <= 0:
            self._raise(count)
        return count

    def write(self, data: bytes | bytearray) -> int:
        """Send as much of ``data`` as the kernel takes at once. Returns how much that is.

        Raises OSError as ``socket.send`` does if it takes nothing. If an error ends the session
        after some bytes were sent, the next call raises it.
        """
        size = len(data)
        if size <= RECORD and isinstance(data, bytes):
            sent: int = _write(self._ssl, data, size)
            if sent <= 0:
                self._raise_os_error(sent)
            return sent
        with _bytes_at(data) as start:
            return self._write_records(start, size)

    def _write_records(self, start: Any, size: int) -> int:
        """Each call of OpenSSL makes one record, since pyOpenSSL enables partial writes."""
        done = 0
        while done < size:
            sent: int = _write(self._ssl, start + done, size - done)
            if sent <= 0:
                try:
                    self._raise_os_error(sent)
                except OSError:
                    if not done:
                        raise
                    break
            done += sent
        return done

    def _raise_os_error(self, result: int) -> None:
        try:
            self._raise(result)
        except SSL.Error as caught:
            raise os_error(caught) from None

    def _raise(self, result: int) -> None:
        # Errors are in a queue of the thread: one left there would be reported to the next caller.
        self._connection._raise_ssl_error(self._ssl, result)
        raise SSL.Error([("", "", "no error")])


def filled(count: int) -> bytes:
    """The first ``count`` bytes of the shared buffer."""
    data: bytes = _unpack(_space, count)
    return data


def reason_of(caught: SSL.Error) -> str:
    """The last of OpenSSL's error texts, such as ``no shared cipher``."""
    try:
        return str(caught.args[0][-1][-1])
    except (IndexError, TypeError):
        return "connection ended" if isinstance(caught, SSL.SysCallError) else "protocol error"


def os_error(caught: SSL.Error) -> OSError:
    """The error that a plain socket would have raised."""
    if isinstance(caught, (SSL.WantReadError, SSL.WantWriteError)):
        return BlockingIOError()
    if isinstance(caught, SSL.SysCallError) and caught.args[0] > 0:
        return OSError(caught.args[0], os.strerror(caught.args[0]))
    return OSError(errno.EPROTO, f"TLS: {reason_of(caught)}")


def return_after_each_record(connection: SSL.Connection) -> None:
    """Let a read of ``connection`` return after each record, even one without data.

    pyOpenSSL sets ``SSL_MODE_AUTO_RETRY`` on every connection and has no public way to clear it.
    With that mode, a peer that streams records without data (TLS 1.3 key updates, or refused
    renegotiations) keeps a single read busy for as long as it likes, and nobody else is served.
    """
    _lib.SSL_clear_mode(_session_of(connection), _lib.SSL_MODE_AUTO_RETRY)


def give_memory(connection: SSL.Connection) -> None:
    """Let ``connection`` read and write memory, as if it were made without a socket."""
    memory: Any = connection
    memory._into_ssl = _lib.BIO_new(_lib.BIO_s_mem())
    memory._from_ssl = _lib.BIO_new(_lib.BIO_s_mem())
    _lib.SSL_set_bio(memory._ssl, memory._into_ssl, memory._from_ssl)


def give_socket(connection: SSL.Connection, sock: socket.socket) -> None:
    """Let it read and write ``sock``. The memory must be empty; it is freed."""
    memory: Any = connection
    _lib.SSL_set_fd(memory._ssl, sock.fileno())
    memory._into_ssl = memory._from_ssl = None


def bytes_left(connection: SSL.Connection) -> int:
    """How many bytes in memory it has not read yet."""
    memory: Any = connection
    return int(_lib.BIO_get_mem_data(memory._into_ssl, _nowhere))


def _session_of(connection: SSL.Connection) -> Any:
    return connection._ssl
