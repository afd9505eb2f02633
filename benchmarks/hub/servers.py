"""A user's server of the benchmark, and pages that are open: ``python -m benchmarks.hub.servers``.

Answers HTTP with two bytes, and echoes what comes over WebSockets.
"""

from __future__ import annotations

import asyncio
import sys
import time

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve


async def _echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def _serve(port: int) -> None:
    async with serve(_echo, "127.0.0.1", port, compression=None) as server:
        await server.serve_forever()


async def pages(urls: list[str], rounds: int) -> float:
    """Open a WebSocket to each, and send messages round; the seconds that one round takes."""
    sockets = []
    for begin in range(0, len(urls), 20):
        some = urls[begin : begin + 20]
        sockets += await asyncio.gather(*(connect(url, compression=None) for url in some))
    began = time.monotonic()
    for _ in range(rounds):
        await asyncio.gather(*(socket.send("x" * 200) for socket in sockets))
        await asyncio.gather(*(socket.recv() for socket in sockets))
    seconds = (time.monotonic() - began) / rounds
    for begin in range(0, len(sockets), 50):
        await asyncio.gather(*(socket.close() for socket in sockets[begin : begin + 50]))
    return seconds


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
