"""Notebook servers that cost little: a small page, uploads and WebSockets that are swallowed.

``python -m tests.attacks.notebook PORTS [CERTIFICATE KEY]`` listens on each of the ports (joined by
commas), with TLS if there is a certificate, says ``ready`` and serves until it is ended.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
import sys
from typing import cast

PAGE = bytes(1024)
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (
    len(PAGE),
    PAGE,
)
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_PATIENCE = 1024
"""Connections that the kernel holds until they are accepted."""


class Notebook(asyncio.Protocol):
    """One connection of a proxy."""

    def __init__(self) -> None:
        self._heard = b""
        self._swallows = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._swallows:
            return
        self._heard += data
        heads = self._heard.split(b"\r\n\r\n")
        self._heard = heads.pop()
        for head in heads:
            self._take(head)

    def _take(self, head: bytes) -> None:
        fields = {
            name.lower(): value
            for name, _, value in (line.partition(b": ") for line in head.split(b"\r\n")[1:])
        }
        if b"sec-websocket-key" in fields:
            key = hashlib.sha1(fields[b"sec-websocket-key"] + _GUID).digest()
            self._transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n" % base64.b64encode(key)
            )
            self._swallows = True
        elif head.startswith(b"POST "):
            self._swallows = True
        else:
            self._transport.write(_ANSWER)


async def serve(ports: list[int], tls: ssl.SSLContext | None) -> None:
    """See the module."""
    loop = asyncio.get_running_loop()
    for port in ports:
        await loop.create_server(Notebook, "127.0.0.1", port, ssl=tls, backlog=_PATIENCE)
    print("ready", flush=True)
    await asyncio.Event().wait()


def main(ports: str, *files: str) -> None:
    """See the module."""
    tls = None
    if files:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*files)
    asyncio.run(serve([int(port) for port in ports.split(",")], tls))


if __name__ == "__main__":
    main(*sys.argv[1:])
