"""Nodes of a fleet behind HAProxy.

Knows how they are started, killed and reached. Knows nothing of what is asked of them.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import ipyproxy
from tests.certificates import Authority
from tests.galaxy.writing import TABLE
from tests.integration.postgres import Database
from tests.integration.processes import Child, free_port, poll
from tests.integration.proxy import TWISTD
from tests.live.places import NODES, SUBNET, Places
from tests.live.tools import HOST
from tests.wsframes import PING, TEXT, Frame

_CONFIGURATION = """
[listen]
https = "tcp:{port}:interface={address}"
trusted_proxies = ["{front}"]
proxy_protocol = true
[site]
hosts = ["{host}"]
[tls]
certificate = "{certificate}"
key = "{key}"
[limits]
connection_rate = 0
request_rate = 0
[log]
access = ""
[jupyterhub]
api = "unix:{directory}/api"
routes = "{url}"
[galaxy]
map = "{url}"
networks = ["127.0.0.0/8", "198.18.0.0/24"]
"""

_PAGE = Path(__file__).parents[2] / "docs" / "fleet.md"


def _haproxy(directory: Path, port: int, nodes: Sequence[str]) -> str:
    """HAProxy's configuration, as the page shows it, for a port of this host and these nodes."""
    shown = re.search(r"```\n(defaults\n.*?)```", _PAGE.read_text(), re.DOTALL)
    assert shown is not None
    lines = []
    for line in shown[1].replace("hub.example.org", HOST).splitlines():
        if line.startswith("    bind "):
            lines.append(f"    bind 127.0.0.1:{port}")
        elif not line.startswith("    server "):
            lines.append(line)
    lines += [f"    server n{at} {address}" for at, address in enumerate(nodes)]
    return "\n".join([f"global\n    stats socket {directory}/stats level admin", *lines, ""])


class Node:
    """One ipyproxy."""

    def __init__(self, fleet: Fleet, number: int) -> None:
        self._fleet = fleet
        self._number = number
        self.directory = fleet.directory / f"n{number}"
        self.directory.mkdir()
        self.address = fleet.places.nodes[number]
        self.port = fleet.node_port
        (self.directory / "ipyproxy.toml").write_text(
            _CONFIGURATION.format(
                port=self.port,
                address=self.address,
                front=fleet.places.central,
                host=HOST,
                certificate=fleet.certificate,
                key=fleet.key,
                directory=self.directory,
                url=fleet.url,
            )
        )
        self.start()

    def start(self) -> None:
        """Start the process, and do not wait for it."""
        command = [
            *self._fleet.places.inside(self._number),
            *(*TWISTD, "-n", "--pidfile=", "ipyproxy"),
            *("--config", str(self.directory / "ipyproxy.toml")),
        ]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "STATE_DIRECTORY": str(self.directory),
            "PYTHONPATH": str(Path(ipyproxy.__file__).parent.parent),
        }
        self.child = Child(f"n{self._number}", command, environment, self.directory)

    def wait(self, told: str = "has 0 routes") -> None:
        """Wait until the process has told something."""
        self.child.wait_until(lambda: told in self.child.log(), seconds=60)
        self.child.wait_until((self.directory / "api").exists, seconds=60)

    def kill(self) -> None:
        """Pull the plug."""
        os.kill(self.child.pid, signal.SIGKILL)
        self.child.wait(20)

    def dial(self) -> socket.socket:
        """A connection as HAProxy would make it, for some client."""
        sock = socket.create_connection((self.address, self.port), 20)
        sock.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n")
        return sock

    def bridge(self, path: str) -> Bridge:
        """A WebSocket past HAProxy."""
        return Bridge(self.dial(), path)

    def status(self, path: str) -> int:
        """What is answered for a path, past HAProxy."""
        with self.dial() as tcp, trusting().wrap_socket(tcp, server_hostname=HOST) as sock:
            lines = f"GET {path} HTTP/1.1", f"Host: {HOST}", "Connection: close", "", ""
            sock.sendall("\r\n".join(lines).encode())
            heard = b""
            while data := sock.recv(65536):
                heard += data
            return int(heard.split()[1])

    def api(self, method: str, path: str = "", data: object = None) -> tuple[int, Any]:
        """Call the API: the status, and what JSON came with it."""
        body = b"" if data is None else json.dumps(data).encode()
        lines = f"{method} /api/routes{path} HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30)
            sock.connect(str(self.directory / "api"))
            sock.sendall(lines.encode() + body)
            heard = b""
            while data := sock.recv(65536):
                heard += data
        head, _, text = heard.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        return status, json.loads(text) if b"application/json" in head else text.decode()

    def add(self, path: str, port: int) -> int:
        """Say a route to this node, to a port of what is in the middle; the status."""
        target = f"http://{self._fleet.places.central}:{port}"
        return self.api("POST", path, {"target": target, "jupyterhub": True})[0]


class Fleet:
    """Nodes, the database that they share, and HAProxy before them."""

    def __init__(self, directory: Path, authority: Authority, where: Places) -> None:
        if (haproxy := shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")) is None:
            pytest.skip("haproxy is not installed")
        self.directory, self.places = directory, where
        self.certificate, self.key = authority.issue(HOST).write(directory)
        self.database = Database(hosts=[where.central], networks=[f"{SUBNET}.0/24"])
        self.database.sql(TABLE)
        self.url = self.database.url.replace("127.0.0.1", where.central)
        self.node_port, self.port = free_port(), free_port()
        self.nodes = [Node(self, number) for number in range(NODES)]
        self._stats = directory / "stats"
        addresses = [f"{node.address}:{node.port}" for node in self.nodes]
        (directory / "haproxy.cfg").write_text(_haproxy(directory, self.port, addresses))
        for node in self.nodes:
            node.wait()
        command = [haproxy, "-db", "-f", str(directory / "haproxy.cfg")]
        self.front = Child("haproxy", command, {"PATH": os.environ["PATH"]}, directory)
        self.front.wait_until(self._all_are_up, seconds=30)

    def _all_are_up(self) -> bool:
        if not self._stats.exists():
            return False
        lines = self.ask_haproxy("show stat").splitlines()
        return sum(",UP," in line for line in lines if line.startswith("nodes,n")) == NODES

    def wait_until_all_are_up(self) -> None:
        """Wait until HAProxy sends to every node."""
        self.front.wait_until(self._all_are_up, seconds=30)

    def ask_haproxy(self, command: str) -> str:
        """What HAProxy's own socket answers."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(str(self._stats))
            sock.sendall(command.encode() + b"\n")
            heard = b""
            while data := sock.recv(65536):
                heard += data
        return heard.decode()

    def bridge(self, path: str) -> Bridge:
        """A WebSocket by HAProxy."""
        return Bridge(socket.create_connection(("127.0.0.1", self.port), 20), path)

    def node_of(self, bridge: Bridge) -> int:
        """The node that carries a WebSocket by HAProxy."""
        source = f"src=127.0.0.1:{bridge.source[1]} "

        def look() -> int | None:
            for line in self.ask_haproxy("show sess").splitlines():
                if source in line and " srv=n" in line:
                    return int(line.partition(" srv=n")[2].split()[0])
            return None

        return poll(look, seconds=20, waiting_for=f"the session with {source}")

    def every(self, seconds: float, holds: Callable[[Node], bool]) -> float:
        """Wait until something holds for every node; how long that took."""
        began = time.monotonic()
        for node in self.nodes:
            left = max(0.0, began + seconds - time.monotonic())
            poll(partial(_held, holds, node), seconds=left, waiting_for=f"it at {node.address}")
        return time.monotonic() - began

    def close(self) -> None:
        """End it all."""
        for node in self.nodes:
            node.child.stop()
        if hasattr(self, "front"):
            self.front.stop()
        self.database.kill()


def _held(holds: Callable[[Node], bool], node: Node) -> bool | None:
    return holds(node) or None


def trusting() -> ssl.SSLContext:
    """Terms of TLS for whoever does not care who answers."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Bridge:
    """A WebSocket to something that sends back what it hears; nothing is done behind one's back.

    (The library that other tests use reads in one thread and writes in another, and before Python
    3.13 a TLS connection does not always survive that.)
    """

    def __init__(self, sock: socket.socket, path: str) -> None:
        """Open it on a connection; raises ConnectionError where another status than 101 comes."""
        self._sock = trusting().wrap_socket(sock, server_hostname=HOST)
        self._sock.settimeout(20)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            f"GET {path} HTTP/1.1", f"Host: {HOST}", "Upgrade: websocket", "Connection: Upgrade",
            "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", "", "",
        )  # fmt: skip
        self.source = self._sock.getsockname()
        self._sock.sendall("\r\n".join(lines).encode())
        heard = b""
        while b"\r\n\r\n" not in heard:
            heard += self._more()
        if not heard.startswith(b"HTTP/1.1 101 "):
            raise ConnectionError(heard.partition(b"\r\n")[0].decode())
        self._heard = heard.partition(b"\r\n\r\n")[2]

    def _more(self) -> bytes:
        data = self._sock.recv(4096)
        if not data:
            raise EOFError
        return data

    def _message(self) -> bytes:
        """The payload of the next frame that is no ping: of a text, as long as tests send."""
        while True:
            while len(self._heard) < 2 or len(self._heard) < 2 + self._heard[1]:
                self._heard += self._more()
            opcode, size = self._heard[0] & 15, self._heard[1]
            payload, self._heard = self._heard[2 : 2 + size], self._heard[2 + size :]
            if opcode != PING:
                assert opcode == TEXT, f"a frame {opcode} with {payload!r}"
                return payload

    def is_open(self) -> bool:
        """Whether a message comes back."""
        self._sock.sendall(Frame(TEXT, b"still there?", key=b"\1\2\3\4").wire)
        return self._message() == b"still there?"

    def ended(self, seconds: float) -> bool:
        """Whether it ends within this time, as what a page opens again: without a close frame."""
        self._sock.settimeout(seconds)
        try:
            self._message()
        except TimeoutError:
            return False
        except (OSError, EOFError):
            return True
        raise AssertionError("nobody has said anything")
