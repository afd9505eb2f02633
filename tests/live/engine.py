"""A container engine that is made up: what Docker's and Podman's answer, over a UNIX socket.

Only reading is let through, and only by a version of the API that it has, as from a filtering proxy
before a current engine. Knows nothing of what is tested with it.
"""

from __future__ import annotations

import json
import queue
import re
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

_PATH = re.compile(r"/v(\d+)\.(\d+)(/containers/json|/events)")


class MadeUpEngine:
    """See the module.

    :ivar containers: what it lists, as it lists it.
    :ivar asked: the paths that it was asked for.
    """

    def __init__(self, socket: Path, newest: str, oldest: str) -> None:
        self.path = socket
        self.newest, self.oldest = newest, oldest
        self.containers: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self._listeners: list[queue.Queue[bytes | None]] = []
        self.start()

    def start(self) -> None:
        """Listen, again."""
        self.path.unlink(missing_ok=True)
        engine = self

        class Handler(_Handler):
            def setup(self) -> None:
                super().setup()
                self.engine = engine

        self._server = socketserver.ThreadingUnixStreamServer(str(self.path), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def happen(self, action: str = "start") -> None:
        """Tell whoever listens that something has happened."""
        event = json.dumps({"Type": "container", "Action": action}).encode() + b"\n"
        for listener in list(self._listeners):
            listener.put(event)

    def listen(self) -> queue.Queue[bytes | None]:
        """What happens from now on; None at the end."""
        listener: queue.Queue[bytes | None] = queue.Queue()
        self._listeners.append(listener)
        return listener

    def stop(self) -> None:
        """End, in the middle of whatever it says."""
        self._server.shutdown()
        self._server.server_close()
        for listener in self._listeners:
            listener.put(None)
        self._listeners = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine: MadeUpEngine

    def do_GET(self) -> None:
        split = urlsplit(self.path)
        self.engine.asked.append(split.path)
        if split.path == "/version":
            told = {"ApiVersion": self.engine.newest, "MinAPIVersion": self.engine.oldest}
            self._answer(200, told)
            return
        match = _PATH.fullmatch(split.path)
        if match is None:
            self._answer(403, {"message": "forbidden by the filter"})
        elif (
            not _numbers(self.engine.oldest)
            <= (int(match[1]), int(match[2]))
            <= _numbers(self.engine.newest)
        ):
            self._answer(400, {"message": "client version is too old, or too new"})
        elif match[3] == "/events":
            self._tell_events()
        else:
            filters = json.loads(parse_qs(split.query)["filters"][0])
            assert filters == {"label": ["ipyproxy.enable=true"], "status": ["running"]}
            self._answer(200, self.engine.containers)

    def _tell_events(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        listener = self.engine.listen()
        while (event := listener.get()) is not None:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
        self.close_connection = True

    def _answer(self, status: int, told: object) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "-"

    def log_message(self, *_: object) -> None:
        pass


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
