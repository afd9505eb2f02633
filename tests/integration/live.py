"""One raw request to a live proxy, over HTTP or as a WebSocket's handshake."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from .proxy import Proxy

_HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def exchange(
    proxy: Proxy,
    target: str,
    lines: Sequence[str] | None = None,
    *,
    method: str = "GET",
    websocket: bool = False,
    body: bytes = b"",
) -> bytes:
    """The whole answer to a request with the field *lines* (by default: the right Host).

    A 101 counts as answered with its head.
    """
    lines = [f"Host: localhost:{proxy.port}"] if lines is None else list(lines)
    lines += _HANDSHAKE if websocket else ["Connection: close"]
    lines += [f"Content-Length: {len(body)}"] if body else []
    head = "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""])
    with (
        socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as tcp,
        proxy.client_tls().wrap_socket(tcp, server_hostname="localhost") as tls,
    ):
        tls.sendall(head.encode("utf-8") + body)
        answer = b""
        while not answer.startswith(b"HTTP/1.1 101") and (data := tls.recv(65536)):
            answer += data
        return answer


def ask(
    proxy: Proxy,
    target: str,
    lines: Sequence[str] | None = None,
    *,
    method: str = "GET",
    websocket: bool = False,
) -> int:
    """The status of :func:`exchange`."""
    answer = exchange(proxy, target, lines, method=method, websocket=websocket)
    return int(answer.split(b" ", 2)[1])
