"""A listener that counts who connects, and answers like the smallest of notebooks."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import socket
import threading
from types import TracebackType
from typing import Self

from .jupyter import notebook_port

_KEY = re.compile(rb"\r\nSec-WebSocket-Key: ([^\r]+)", re.IGNORECASE)
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Sentinel:
    """Listens on *port* of 127.0.0.1 while it is entered.

    ``accepts`` is how many connections have come, ``heads`` what was asked on them; a connection
    on which nothing is asked (a probe) has no head. Its answers bear *lines*.
    """

    def __init__(self, port: int | None = None, *lines: bytes) -> None:
        self.port = notebook_port() if port is None else port
        self.accepts = 0
        self.heads: list[bytes] = []
        self._lines = lines

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # close() alone would not wake the thread up.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepts += 1
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            if not (more := connection.recv(65536)):
                return
            data += more
        head = data.partition(b"\r\n\r\n")[0]
        self.heads.append(head)
        if found := _KEY.search(head):
            accept = base64.b64encode(hashlib.sha1(found[1] + _MAGIC).digest())
            connection.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n\x88\x02\x03\xe8"
            )
            connection.recv(65536)
        else:
            answer = [b"HTTP/1.1 200 OK", b"Connection: close", *self._lines, b"", b"sentinel"]
            connection.sendall(b"\r\n".join(answer))
            # A body that is still on its way would have the kernel reset the connection, and the
            # answer with it.
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(0.5)
            while connection.recv(65536):
                pass
