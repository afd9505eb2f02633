"""A WebSocket server that sends every message back, cut into fragments of its own choosing.

python -m tests.live.echo PORT
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Iterator

from websockets.asyncio.server import ServerConnection, serve


def fragments(choice: random.Random, payload: bytes) -> Iterator[bytes]:
    """*payload* in one to twenty pieces, cut anywhere: empty ones too, and within characters."""
    cuts = sorted(choice.randint(0, len(payload)) for _ in range(choice.randint(0, 19)))
    for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True):
        yield payload[start:end]


async def echo(connection: ServerConnection) -> None:
    """Serve one connection."""
    choice = random.Random(0)
    async for message in connection:
        is_text = isinstance(message, str)
        payload = message.encode() if isinstance(message, str) else message
        await connection.send(fragments(choice, payload), text=is_text)


async def main(port: int) -> None:
    """Serve until killed."""
    async with serve(echo, "127.0.0.1", port, max_size=None, ping_interval=None):
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
