"""The REST API of a proxy, called as fast as it answers.

Knows its wire. Knows nothing of figures.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable

TOKEN = "benchmark"
_CONNECTIONS = 10  # JupyterHub's own limit

Call = tuple[str, str, str]


def adding(path: str, target: str) -> Call:
    """Give the call that adds a route."""
    return "POST", path, json.dumps({"target": target, "jupyterhub": True, "user": path})


def removing(path: str) -> Call:
    """Give the call that removes one."""
    return "DELETE", path, ""


def call(port: int, calls: Iterable[Call]) -> None:
    """Make the calls over ten connections; raises RuntimeError for an answer that is no success."""
    asyncio.run(_all(port, iter(calls)))


async def _all(port: int, calls: Iterable[Call]) -> None:
    await asyncio.gather(*(_some(port, calls) for _ in range(_CONNECTIONS)))


async def _some(port: int, calls: Iterable[Call]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for method, path, body in calls:
        writer.write(
            f"{method} /api/routes{path} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: token {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        if head[9:10] != b"2":
            raise RuntimeError(f"{method} {path}: {head.decode()}")
        await _skip_body(reader, head.lower())
    writer.close()
    await writer.wait_closed()


async def _skip_body(reader: asyncio.StreamReader, head: bytes) -> None:
    if b"chunked" in head:
        while size := int(await reader.readline(), 16):
            await reader.readexactly(size + 2)
        await reader.readline()
    elif b"content-length:" in head:
        length = head.partition(b"content-length:")[2].partition(b"\r")[0]
        await reader.readexactly(int(length))
