"""Many people open JupyterLab at once, each another notebook: what that costs in memory."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.encoding.bodies import script
from tests.integration.jupyter import notebook_port
from tests.integration.proxy import Proxy

from .conftest import UNWATCHED
from .resources import Memory

pytestmark = pytest.mark.integration

MIB = 2**20
#: Bytes of JupyterLab's scripts, nearly: one is half of it all, and most are small.
FILES = [2_500_000, *([150_000] * 9), *([30_000] * 35), *([1000] * 10)]
#: Connections of one browser.
CONNECTIONS = 6
BODY = script(max(FILES))
"""What all of them begin with."""


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A notebook that has a script of each size."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.split(b" ")[1].rpartition(b"/")[2].removesuffix(b".js"))
            fields = (
                b"HTTP/1.1 200 OK",
                b"Content-Type: text/javascript",
                b'ETag: "%d"' % size,
                b"Content-Length: %d" % size,
                b"\r\n",
            )
            writer.write(b"\r\n".join(fields))
            writer.write(memoryview(BODY)[:size])
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        writer.close()


async def read(reader: asyncio.StreamReader) -> None:
    """Take one answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    assert head.startswith(b"http/1.1 200 "), head
    if b"\r\ntransfer-encoding: chunked\r\n" in head:
        while size := int(await reader.readline(), 16):
            await reader.readexactly(size + 2)
        await reader.readexactly(2)
    else:
        length = head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))


async def fetch(
    proxy: Proxy, tls: ssl.SSLContext, client: str, port: int, files: list[int]
) -> None:
    """Ask for ``files`` on one connection, one after the other, until none is left."""
    reader, writer = await asyncio.open_connection(
        "localhost", proxy.port, ssl=tls, local_addr=(client, 0), family=2
    )
    while files:
        lines = (
            b"GET /ipython/%d/static/%d.js HTTP/1.1" % (port, files.pop(0)),
            b"Host: localhost:%d" % proxy.port,
            b"Accept-Encoding: gzip, deflate, br, zstd",
            b"\r\n",
        )
        writer.write(b"\r\n".join(lines))
        await read(reader)
    writer.close()


async def all_open(proxy: Proxy, tls: ssl.SSLContext, ports: list[int]) -> None:
    """Each port is a notebook, which a person of another address opens."""
    servers = [await asyncio.start_server(serve, "127.0.0.1", port) for port in ports]
    openings = []
    for number, port in enumerate(ports):
        files = list(FILES)
        client = f"127.0.1.{number + 1}"
        openings += [fetch(proxy, tls, client, port, files) for _ in range(CONNECTIONS)]
    await asyncio.gather(*openings)
    for server in servers:
        server.close()


@pytest.fixture
def front(tmp_path: Path, kept: int) -> Iterator[Proxy]:
    """A new proxy: one that has grown before would not show it."""
    running = Proxy(tmp_path, f"{UNWATCHED}compression.cache_bytes = {kept}\n")
    yield running
    running.child.stop()


@pytest.fixture
def tls(front: Proxy) -> ssl.SSLContext:
    """What browsers need to trust it."""
    return front.client_tls()


@pytest.mark.parametrize(
    ("people", "kept"), [(24, 0), pytest.param(64, 64 * MIB, marks=pytest.mark.soak)]
)
def test_many_first_openings_at_once_take_little_beside_what_is_kept(
    front: Proxy, tls: ssl.SSLContext, people: int, kept: int
) -> None:
    memory = Memory(front.child.pid)
    asyncio.run(all_open(front, tls, [notebook_port() for _ in range(people)]))
    growth = memory.growth()
    print(f"grew by {growth / MIB:.1f} MiB")
    assert growth <= kept + 64 * MIB
