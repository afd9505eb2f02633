"""Interactive tools that tests play, and visitors that ask for them by path and by host."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve

from tests.tlssocket import TLSSocket

HOST = "galaxy.example.org"
#: What of a request a tool repeats.
_REPEATED = (
    "host",
    "origin",
    "x-root-path",
    "x-own",
    "content-type",
    "range",
    "authorization",
    "cookie",
)
_HEADERS = {"Content-Type": "application/json", "X-Tool": "yes", "ETag": '"1"'}


class _Repeating(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        said = {name: self.headers.get_all(name) for name in _REPEATED}
        told = {"method": self.command, "target": self.path, "body": hashlib.md5(body).hexdigest()}
        answer = json.dumps({**told, **said}).encode()
        status = int(self.path.rpartition("status=")[2] or 200) if "status=" in self.path else 200
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = _answer

    def log_message(self, *_: Any) -> None:
        """Nobody reads that."""


class Repeating:
    """A tool that answers each request with what it got."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._server = ThreadingHTTPServer((host, 0), _Repeating)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Echoing:
    """A tool that sends every message of a WebSocket back."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        # Clients of tests may be silent for long, and then answer no ping either.
        self._server = serve(self._echo, host, 0, ping_interval=None)
        self.port = self._server.socket.getsockname()[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @staticmethod
    def _echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()


class Answer(NamedTuple):
    """What a visitor gets, as far as two proxies can be compared by it."""

    status: int
    headers: dict[str, str]
    body: Any


class Visitor:
    """Asks a proxy on a port of 127.0.0.1 for what is at a host."""

    def __init__(self, port: int, *, secure: bool = True) -> None:
        self.port = port
        self.tls = None
        if secure:
            # No certificate bears the names of tools in domain mode here.
            self.tls = ssl.create_default_context()
            self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE

    def ask(
        self,
        target: str,
        host: str = HOST,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request on a connection of its own."""
        connection = self._connect(host)
        try:
            sent = {"Host": host, **(headers or {})}
            connection.request(method, target, body=body, headers=sent)
            answer = connection.getresponse()
            content = answer.read()
            told = {name.lower(): value for name, value in answer.getheaders()}
            is_json = told.get("content-type") == "application/json" and content
            return Answer(answer.status, told, json.loads(content) if is_json else content)
        finally:
            connection.close()

    def _connect(self, host: str) -> HTTPConnection:
        if self.tls is None:
            return HTTPConnection("127.0.0.1", self.port, timeout=20)
        tls = self.tls
        connection = HTTPSConnection(host, timeout=20, context=tls)
        connection._create_connection = lambda *_: _dial(self.port)  # type: ignore[attr-defined]
        return connection

    def websocket(self, target: str, host: str = HOST, **more: Any) -> ClientConnection:
        """Open a WebSocket."""
        sock: Any = (
            _dial(self.port)
            if self.tls is None
            else TLSSocket(("127.0.0.1", self.port), self.tls, 20, host)
        )
        opened: ClientConnection = connect(f"ws://{host}{target}", sock=sock, **more)
        return opened


def _dial(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)
