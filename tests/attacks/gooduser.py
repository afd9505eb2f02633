"""A good user: asks for one small page every 0.1 s, and notes how long each answer takes.

``python -m tests.attacks.gooduser PORT PATH CERTIFICATE SOURCE FORM`` says ``ready`` after its
first answers, goes on until a line comes on standard input, and then prints its visits as JSON.
FORM is ``kept`` (one connection for all requests) or ``new`` (one for each). Knows HTTP as far as
``Content-Length``; knows nothing of attacks.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
import sys
import time
from typing import NamedTuple

PAUSE = 0.1
PATIENCE = 60.0
"""Seconds that one answer may take until the good user gives up."""

_FIRST = 3
FAILED = 0
"""The status of a visit that brought no answer at all."""


class Visit(NamedTuple):
    """One request: when it began (``time.monotonic``), how long it took, what came of it."""

    began: float
    wait: float
    status: int


class GoodUser:
    """See the module."""

    def __init__(self, port: int, path: str, certificate: str, source: str, form: str) -> None:
        self._address = ("127.0.0.1", port)
        self._request = f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode()
        self._tls = ssl.create_default_context(cafile=certificate)
        self._source = (source, 0)
        self._keeps = form == "kept"
        self._connection: ssl.SSLSocket | None = None

    def visit(self) -> Visit:
        """Ask once, and wait for the answer."""
        began = time.monotonic()
        try:
            status = self._ask()
        except (OSError, EOFError):
            self._close()
            status = FAILED
        return Visit(began, time.monotonic() - began, status)

    def _ask(self) -> int:
        """The status; raises OSError or EOFError if there is none."""
        if self._connection is not None:
            # A server may close an idle connection just as it is used again, and then a browser
            # asks on a new one (RFC 9112 section 9.3.1).
            with contextlib.suppress(EOFError, ConnectionError):
                return self._ask_on(self._connection)
            self._close()
        self._connection = self._connect()
        return self._ask_on(self._connection)

    def _connect(self) -> ssl.SSLSocket:
        tcp = socket.create_connection(self._address, PATIENCE, self._source)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._tls.wrap_socket(tcp, server_hostname="localhost")

    def _ask_on(self, connection: ssl.SSLSocket) -> int:
        connection.sendall(self._request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += _some(connection)
        head, _, body = answer.lower().partition(b"\r\n\r\n")
        missing = int(head.partition(b"content-length: ")[2].partition(b"\r")[0]) - len(body)
        while missing > 0:
            missing -= len(_some(connection))
        if not self._keeps or b"connection: close" in head:
            self._close()
        return int(head.split()[1])

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _some(connection: ssl.SSLSocket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise EOFError("the answer was cut short")
    return data


def main(port: str, path: str, certificate: str, source: str, form: str) -> None:
    """See the module."""
    user = GoodUser(int(port), path, certificate, source, form)
    visits: list[Visit] = []
    while not select.select([sys.stdin], [], [], PAUSE)[0]:
        visits.append(user.visit())
        if len(visits) == _FIRST:
            print("ready", flush=True)
    print(json.dumps(visits), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
