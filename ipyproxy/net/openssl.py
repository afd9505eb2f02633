"""What is asked of OpenSSL past pyOpenSSL's public methods.

Knows the names of pyOpenSSL that are not public, so that no other module of ``net/`` does: the
session of a connection, and its memory. Knows what pyOpenSSL's errors say. Knows nothing of sockets
that are watched, nor of what is said. ``lib`` and ``ffi`` are cryptography's documented bindings.

``Connection.recv`` and ``send`` take about 11,000 instructions each beside OpenSSL's own: a new
buffer for each read, a context manager for each write, and a look for errors where there is none.
Here a read goes into one buffer that all connections share, and errors are looked for where
OpenSSL says that there is one.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, Final

from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL

RECORD: Final = 16384
"""Bytes that one record holds at most (RFC 8446 section 5.1)."""
SPACE: Final = 65536 + RECORD
"""Bytes that fit into the buffer that all sessions read into."""

_lib: Final[Any] = Binding().lib
_ffi: Final[Any] = Binding.ffi
_read: Final[Any] = _lib.SSL_read
_write: Final[Any] = _lib.SSL_write
_unpack: Final[Any] = _ffi.unpack
_bytes_at: Final[Any] = _ffi.from_buffer
_space: Final[Any] = _ffi.new("char[]", SPACE)
_nowhere: Final[Any] = _ffi.new("char **")


class Session:
    """Reads and writes what is encrypted on one connection, once its handshake is done."""

    __slots__ = ("_connection", "_ssl")

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection
        self._ssl: Any = _session_of(connection)

    def fill(self, at: int, most: int) -> int:
        """Read what one record holds into the shared buffer, from its byte ``at`` on; how much.

        Raises as ``Connection.recv`` does. What is there has to be taken by :func:`filled` before
        another connection reads.
        """
        count: int = _read(self._ssl, _space + at if at else _space, most)
        if count <= 0:
            self._raise(count)
        return count

    def write(self, data: bytes | bytearray) -> int:
        """Send of ``data`` what the kernel takes at once; gives how much that is.

        Raises OSError as ``socket.send`` does if it takes nothing. What has ended a session after
        some bytes is met again by the next call.
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
        """OpenSSL makes one record of a call, since pyOpenSSL lets it send a part."""
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
        # Errors stand in a queue of the thread's: what is left in it would be the next one's.
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
    """What a plain socket would have raised."""
    if isinstance(caught, (SSL.WantReadError, SSL.WantWriteError)):
        return BlockingIOError()
    if isinstance(caught, SSL.SysCallError) and caught.args[0] > 0:
        return OSError(caught.args[0], os.strerror(caught.args[0]))
    return OSError(errno.EPROTO, f"TLS: {reason_of(caught)}")


def return_after_each_record(connection: SSL.Connection) -> None:
    """Let a read of ``connection`` return after each record, even one without data.

    pyOpenSSL sets ``SSL_MODE_AUTO_RETRY`` on every connection and has no public way to clear it.
    With the mode, a peer that streams records without data (TLS 1.3 key updates, or renegotiations
    that are refused) keeps one single read busy for as long as it likes; nobody else is served.
    """
    _lib.SSL_clear_mode(_session_of(connection), _lib.SSL_MODE_AUTO_RETRY)


def give_memory(connection: SSL.Connection) -> None:
    """Let ``connection`` read and write memory, as one that was made without a socket."""
    memory: Any = connection
    memory._into_ssl = _lib.BIO_new(_lib.BIO_s_mem())
    memory._from_ssl = _lib.BIO_new(_lib.BIO_s_mem())
    _lib.SSL_set_bio(memory._ssl, memory._into_ssl, memory._from_ssl)


def give_socket(connection: SSL.Connection, sock: socket.socket) -> None:
    """Let it read and write ``sock``. Nothing may be left in memory, which is freed."""
    memory: Any = connection
    _lib.SSL_set_fd(memory._ssl, sock.fileno())
    memory._into_ssl = memory._from_ssl = None


def bytes_left(connection: SSL.Connection) -> int:
    """How many bytes it was given in memory and has not read yet."""
    memory: Any = connection
    return int(_lib.BIO_get_mem_data(memory._into_ssl, _nowhere))


def _session_of(connection: SSL.Connection) -> Any:
    return connection._ssl
