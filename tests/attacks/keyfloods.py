"""Floods of TLS records without data, from a client and from a notebook, in both TLS versions.

``python -m tests.attacks.keyfloods ARGUMENTS`` (see :class:`Arguments`) says ``ready`` when it is
about to flood, and, some seconds after a line came on standard input, its figures as JSON.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from OpenSSL import SSL

from tests.attacks import records

_PIECE = 262144
_AHEAD = 50_000
"""Records that are made before the attack begins."""
_AT_ONCE = 2_000
_PATIENCE = 5.0


@dataclass(frozen=True)
class Arguments:
    """What the process is told, as JSON.

    :param split: whether a notebook's session tickets are sent byte by byte.
    :param notebook: the port to be a hostile notebook at; 0: flood as a client.
    """

    port: int
    source: str
    path: str
    version: str
    seconds: float
    nice: int
    notebook: int
    split: bool
    certificate: str
    key: str


class Flood:
    """One after the other, as the other side ends them."""

    def __init__(self, arguments: Arguments) -> None:
        self._arguments = arguments
        self._is_12 = arguments.version == "1.2"
        self.figures = dict.fromkeys(("sent", "received", "opened", "closed"), 0)
        self._secrets: dict[str, bytes] = {}
        self._tls = self._context()
        self._go = threading.Event()
        self._deadline = float("inf")

    def _context(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_METHOD)
        version = SSL.TLS1_2_VERSION if self._is_12 else SSL.TLS1_3_VERSION
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        context.set_cipher_list(b"ECDHE-ECDSA-AES128-GCM-SHA256")
        context.set_keylog_callback(self._keep_secret)
        if self._arguments.notebook:
            context.use_certificate_chain_file(self._arguments.certificate)
            context.use_privatekey_file(self._arguments.key)
        return context

    def _keep_secret(self, connection: SSL.Connection, line: bytes) -> None:
        label, _, secret = line.decode().split()
        self._secrets[label] = bytes.fromhex(secret)

    def _records(self, connection: SSL.Connection) -> Iterator[bytes]:
        from_client = not self._arguments.notebook
        if self._is_12:
            session = records.Session12(
                connection.master_key() or b"",
                connection.client_random() or b"",
                connection.server_random() or b"",
            )
            message = records.CLIENT_HELLO if from_client else records.HELLO_REQUEST
            return session.records(message, from_client=from_client)
        side = "CLIENT" if from_client else "SERVER"
        # A server has sent two session tickets under its secret.
        if self._arguments.split:
            secret = self._secrets["SERVER_TRAFFIC_SECRET_0"]
            return records.split_tickets(secret, connection.get_cipher_name() or "", 2)
        return records.key_updates(
            self._secrets[f"{side}_TRAFFIC_SECRET_0"],
            connection.get_cipher_name() or "",
            0 if from_client else 2,
        )

    def flood(self, sock: socket.socket, connection: SSL.Connection) -> None:
        """Send records on a connection that has shaken hands, until somebody has enough."""
        made = self._records(connection)
        ready = b"" if self._go.is_set() else b"".join(itertools.islice(made, _AHEAD))
        self._ready()
        self._go.wait()
        reading = threading.Thread(target=self._drain, args=(sock,), daemon=True)
        reading.start()
        sock.settimeout(1.0)
        with contextlib.suppress(OSError):
            while time.monotonic() < self._deadline:
                ready = ready or b"".join(itertools.islice(made, _AT_ONCE))
                sent = sock.send(ready)
                self.figures["sent"] += sent
                ready = ready[sent:]
        self.figures["closed"] += time.monotonic() < self._deadline
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        reading.join(_PATIENCE)
        sock.close()

    def _ready(self) -> None:
        if not self._go.is_set():
            print("ready", flush=True)
            sys.stdin.readline()
            self._deadline = time.monotonic() + self._arguments.seconds
            self._go.set()

    def _drain(self, sock: socket.socket) -> None:
        """Take the answers off the wire, or they would hold the flood up."""
        with contextlib.suppress(OSError):
            while time.monotonic() < self._deadline:
                with contextlib.suppress(TimeoutError):
                    data = sock.recv(_PIECE)
                    if not data:
                        return
                    self.figures["received"] += len(data)

    # The two sides.

    def as_client(self) -> None:
        """Connect, shake hands, flood; and again."""
        while time.monotonic() < self._deadline:
            try:
                sock = socket.create_connection(
                    ("127.0.0.1", self._arguments.port), _PATIENCE, (self._arguments.source, 0)
                )
                sock.settimeout(None)
                connection = SSL.Connection(self._tls, sock)
                connection.set_tlsext_host_name(b"localhost")
                connection.set_connect_state()
                connection.do_handshake()
            except (OSError, SSL.Error):
                time.sleep(0.02)
                continue
            self.figures["opened"] += 1
            self.flood(sock, connection)
            time.sleep(0.02)

    def as_notebook(self) -> None:
        """Take a request that the proxy brings, and answer it with a flood; and again."""
        arguments = self._arguments
        listening = socket.create_server(("127.0.0.1", arguments.notebook), backlog=1024)
        threading.Thread(target=self._ask, daemon=True).start()
        while time.monotonic() < self._deadline:
            listening.settimeout(max(0.1, min(_PATIENCE, self._deadline - time.monotonic())))
            try:
                sock, _ = listening.accept()
                sock.settimeout(None)
                connection = SSL.Connection(self._tls, sock)
                connection.set_accept_state()
                connection.do_handshake()
                connection.recv(65536)
            except (OSError, SSL.Error):  # a probe, which only connects, is one of these
                continue
            self.figures["opened"] += 1
            self.flood(sock, connection)

    def _ask(self) -> None:
        """Keep one request to the hostile notebook open."""
        tls = ssl.create_default_context()
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
        address, source = ("127.0.0.1", self._arguments.port), (self._arguments.source, 0)
        request = f"GET {self._arguments.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        while time.monotonic() < self._deadline:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(address, 60, source) as tcp,
                tls.wrap_socket(tcp, server_hostname="localhost") as wrapped,
            ):
                wrapped.sendall(request)
                wrapped.recv(65536)
            time.sleep(0.05)


def main(arguments: str) -> None:
    """See the module."""
    told = Arguments(**json.loads(arguments))
    os.nice(told.nice)
    flood = Flood(told)
    if told.notebook:
        flood.as_notebook()
    else:
        flood.as_client()
    print(json.dumps({**flood.figures, "asked": 0, "statuses": {}}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
