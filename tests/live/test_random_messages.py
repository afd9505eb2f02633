"""Messages of any size and kind, cut anyhow, compressed or not: they all come back as they went."""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.integration.jupyter import notebook_port
from tests.integration.processes import Child, of_these_tests
from tests.integration.proxy import Proxy

from .echo import fragments

pytestmark = pytest.mark.integration

KIB, MIB = 2**10, 2**20
EDGES = [0, 1, 124, 125, 126, 127, 65535, 65536, 65537]
"""Sizes at which a header changes its form."""
CONNECTIONS = 4
AHEAD = 4
"""Messages that are on their way at once on each connection, and so memory to hold them."""


@pytest.fixture(scope="module")
def echo_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = notebook_port()
    command = [sys.executable, "-m", "tests.live.echo", str(port)]
    child = Child("echo", command, of_these_tests(), tmp_path_factory.mktemp("echo"))

    def listens() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
        return False

    child.wait_until(listens, seconds=30)
    yield port
    child.stop()


def payload(choice: random.Random, largest: int) -> tuple[bytes, bool]:
    """Bytes, and whether they are text; as many are below the square root of *largest* as above."""
    size = int(2 ** (choice.random() * math.log2(largest + 1))) - 1
    if choice.random() < 0.1:
        size = choice.choice(EDGES)
    match choice.randrange(3):
        case 0:
            return choice.randbytes(size), False
        case 1:
            return (choice.randbytes(100) * (size // 100 + 1))[:size], False
        case _:
            text = "größer 漢字 😀 " * (size // 20 + 1)
            return text.encode()[:size].decode(errors="ignore").encode(), True


class Talk:
    """One connection on which messages go and come back."""

    def __init__(self, seed: int, count: int, largest: int) -> None:
        self.sent: list[bytes] = []
        self.received: list[bytes] = []
        self.bytes = 0
        self._choice = random.Random(seed)
        self._count = count
        self._largest = largest
        self._room = asyncio.Semaphore(AHEAD)

    async def hold(self, connection: ClientConnection) -> None:
        """Send and receive, both at once."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._send(connection))
            both.create_task(self._receive(connection))

    async def _send(self, connection: ClientConnection) -> None:
        for _ in range(self._count):
            data, is_text = payload(self._choice, self._largest)
            await self._room.acquire()
            self.sent.append(summary(data, is_text))
            self.bytes += len(data)
            await connection.send(fragments(self._choice, data), text=is_text)

    async def _receive(self, connection: ClientConnection) -> None:
        for _ in range(self._count):
            message = await connection.recv()
            is_text = isinstance(message, str)
            data = message.encode() if isinstance(message, str) else message
            self.received.append(summary(data, is_text))
            self._room.release()


def summary(data: bytes, is_text: bool) -> bytes:
    return hashlib.sha256(data).digest() + bytes([is_text])


async def talk(url: str, tls: ssl.SSLContext, talks: list[Talk], *, deflate: bool) -> None:
    async def hold(one: Talk) -> None:
        async with connect(
            url,
            ssl=tls,
            compression="deflate" if deflate else None,
            max_size=None,
            ping_interval=None,
            proxy=None,
        ) as connection:
            assert bool(connection.protocol.extensions) is deflate
            await one.hold(connection)

    async with asyncio.TaskGroup() as all_of_them:
        for one in talks:
            all_of_them.create_task(hold(one))


@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
@pytest.mark.parametrize(
    ("count", "largest"),
    [
        pytest.param(200, 256 * KIB, id="400 messages"),
        pytest.param(5000, 16 * MIB, id="10000 messages", marks=pytest.mark.soak),
    ],
)
def test_they_come_back_as_they_went(
    front: Proxy, tls: ssl.SSLContext, echo_port: int, count: int, largest: int, deflate: bool
) -> None:
    url = f"wss://localhost:{front.port}/ipython/{echo_port}/"
    talks = [Talk(seed, count // CONNECTIONS, largest) for seed in range(CONNECTIONS)]
    asyncio.run(talk(url, tls, talks, deflate=deflate))
    for one in talks:
        assert len(one.sent) == count // CONNECTIONS
        assert one.received == one.sent
    print(f"{count} messages, {sum(one.bytes for one in talks) / MIB:.0f} MiB each way")
