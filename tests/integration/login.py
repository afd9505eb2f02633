"""A server that knows sessions, as oauth2-proxy is asked about them at /oauth2/auth."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from email.message import Message
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

COOKIE = "_oauth2_proxy"


class Session(NamedTuple):
    """One login: whose it is, below which path it counts, and whether it still does."""

    user: str
    below: str
    valid: bool = True


class _Server(ThreadingHTTPServer):
    request_queue_size = 256


class LoginServer:
    """Answers on a free port while it is entered.

    Whoever opens /oauth2/start in a browser is logged in as ``newcomer`` and led back to ``rd``; at
    /oauth2/sign_out every session ends.

    ``sessions`` are by the value of their cookie; ``asked`` holds the fields of each question, and
    ``connections`` counts what they came by. ``before_answer`` is called with the fields of each
    question, and may take its time.
    """

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.asked: list[Message] = []
        self.connections = 0
        self.newcomer = "alice"
        self.before_answer: Callable[[Message], object] = lambda fields: None
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # An answer comes in pieces.
            disable_nagle_algorithm = True

            def setup(self) -> None:
                server.connections += 1
                super().setup()

            def do_GET(self) -> None:
                server.asked.append(self.headers)
                server.before_answer(self.headers)
                status, fields = server.judge(self.path, self.headers)
                self.send_response(status)
                for name, value in fields.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_request(self, *arguments: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/oauth2/auth"

    def judge(self, path: str, fields: Message) -> tuple[int, dict[str, str]]:
        """The status and the fields of an answer."""
        address = urlsplit(path)
        if address.path == "/oauth2/start":
            value = secrets.token_hex(16)
            self.sessions[value] = Session(self.newcomer, "/")
            (back,) = parse_qs(address.query)["rd"]
            return 302, {"Location": back, "Set-Cookie": f"{COOKIE}={value}; Path=/; HttpOnly"}
        if path == "/oauth2/sign_out":
            self.sessions.clear()
            return 200, {}
        if path != "/oauth2/auth":
            return 404, {}
        shown = SimpleCookie(fields.get("Cookie", "")).get(COOKIE)
        session = self.sessions.get(shown.value) if shown else None
        if session is None or not session.valid:
            return 401, {"WWW-Authenticate": 'Bearer realm="login"'}
        if not fields["X-Forwarded-Uri"].startswith(session.below):
            return 403, {"Location": "https://login.example/"}
        return 202, {
            "X-Auth-Request-User": session.user,
            "X-Auth-Request-Email": f"{session.user}@example.org",
        }

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
