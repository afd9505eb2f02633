"""A TLS connection that one thread may read while another writes.

Python's own (3.11) is none: what is written just as the session's tickets are read may be lost, or
fail with an "internal error". The client of ``websockets`` that is not asynchronous does that with
every connection; about one in three thousand then waits for an answer in vain, whoever serves it.
"""

from __future__ import annotations

import select
import socket
import ssl
from threading import Lock
from typing import Any


class TLSSocket:
    """One connection; of the methods of sockets, those that websockets calls."""

    def __init__(
        self, address: tuple[str, int], context: ssl.SSLContext, timeout: float, name: str = ""
    ) -> None:
        plain = socket.create_connection(address, timeout)
        self._socket = context.wrap_socket(plain, server_hostname=name or address[0])
        self._socket.setblocking(False)
        self._timeout: float | None = None
        self._lock = Lock()

    def recv(self, size: int) -> bytes:
        """Whatever has come, at most ``size`` bytes; waits for some."""
        while True:
            try:
                with self._lock:
                    return self._socket.recv(size)
            except ssl.SSLWantReadError:
                self._wait(reading=True)

    def sendall(self, data: bytes) -> None:
        """Send all of ``data``."""
        left = memoryview(data)
        while left:
            try:
                with self._lock:
                    left = left[self._socket.send(left) :]
            except ssl.SSLWantWriteError:
                self._wait(reading=False)

    def _wait(self, *, reading: bool) -> None:
        if self._socket.fileno() < 0:
            raise OSError("closed")
        sockets = [self._socket]
        ready = select.select(sockets * reading, sockets * (not reading), [], self._timeout)
        if not any(ready):
            raise TimeoutError

    def settimeout(self, seconds: float | None) -> None:
        """How long each of the above may wait from now on."""
        self._timeout = seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)
