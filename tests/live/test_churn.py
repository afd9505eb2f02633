"""A day of coming and going: nothing is left of it, and nobody waits for one thing long."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest

from tests.integration.jupyter import notebook_port
from tests.wsframes import TEXT, Frame, close

from .bridges import ANSWER, HANDSHAKE, NO_MASK, accept_for
from .test_many_bridges import ONCE, REMEMBERED, Counted

pytestmark = pytest.mark.integration

AT_ONCE = 8
PIPELINED = 16
WORST_STALL = 0.020
"""Seconds of the processor that the event loop may be kept by one thing."""
EACH_UPSTREAM = 4096
"""Bytes that the figures of an upstream may take, which are kept."""
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REQUEST = b"GET /ipython/%d/api?at=%d HTTP/1.1\r\nHost: localhost:%d\r\nCookie: a=%d\r\n\r\n"
FORMS = [
    # 160 bridges, 1,280 requests.
    pytest.param(20, 4, 2, 1, id="short"),
    # 50,000 bridges, 1,024,000 requests.
    pytest.param(200, 10, 25, 32, id="a day", marks=pytest.mark.soak),
]
"""Upstreams, how often each comes, and the bridges and rounds of requests that it has each time."""
UNDER_WAY = 3
"""Objects of a kind that may be there by chance: some question is always under way."""

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[Counted]:
    running = Counted(tmp_path)
    yield running
    running.child.stop()
    assert "Traceback" not in running.child.log()


class Load:
    """Browsers and notebooks, so many of each; a notebook comes, is asked its share, and goes."""

    def __init__(self, front: Counted, ports: list[int]) -> None:
        self._front = front
        self._tls = front.client_tls()
        self._ports = ports

    async def run(self, times: int, bridges: int, rounds: int) -> None:
        """Let each notebook come so many times; some of them at once."""
        waiting = islice(cycle(self._ports), times * len(self._ports))

        async def work() -> None:
            for port in waiting:
                await self._stay(port, bridges, rounds)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))

    async def _stay(self, port: int, bridges: int, rounds: int) -> None:
        upstream = await asyncio.start_server(serve, "127.0.0.1", port)
        reader, writer = await self._connect()
        for number in range(rounds):
            at = range(number * PIPELINED, (number + 1) * PIPELINED)
            writer.write(b"".join(REQUEST % (port, n, self._front.port, n) for n in at))
            for _ in at:
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 "), head
                await reader.readexactly(2)
        writer.close()
        for number in range(bridges):
            await self._bridge(port, number)
        upstream.close()

    async def _bridge(self, port: int, number: int) -> None:
        reader, writer = await self._connect()
        writer.write(HANDSHAKE % (b"/ipython/%d/ws" % port, self._front.port))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        writer.write(Frame(TEXT, b"hello", key=NO_MASK).wire)
        await reader.readexactly(len(Frame(TEXT, b"hello", key=NO_MASK).wire) - len(NO_MASK))
        if number % 3 == 0:
            writer.write(close(1000, key=NO_MASK).wire)
        if number % 3 == 1:
            writer.transport.abort()
        writer.close()

    async def _connect(self) -> tuple[Reader, Writer]:
        where = "127.0.0.1", self._front.port
        return await asyncio.open_connection(*where, ssl=self._tls, server_hostname="localhost")


async def serve(reader: Reader, writer: Writer) -> None:
    """A notebook: a page for each request, and what comes on a WebSocket goes back unmasked."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"Upgrade" in head:
                break
            writer.write(PAGE)
        writer.write(ANSWER % accept_for(head))
        await reader.readexactly(len(Frame(TEXT, b"hello", key=NO_MASK).wire))
        writer.write(Frame(TEXT, b"hello").wire)
        await reader.read()
    except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
        pass
    finally:
        writer.close()


@pytest.mark.parametrize(("upstreams", "times", "bridges", "rounds"), FORMS)
def test_coming_and_going(
    counted: Counted, upstreams: int, times: int, bridges: int, rounds: int
) -> None:
    load = Load(counted, [notebook_port() for _ in range(upstreams)])
    at_first = counted.holdings()["descriptors"]
    # What is kept on purpose, of upstreams and heads, is there after the first time.
    asyncio.run(load.run(1, 1, 1))
    before = counted.holdings_at_rest(at_first)
    asyncio.run(load.run(times, bridges, rounds))
    asked: dict[str, Any] = counted.holdings()
    after = counted.holdings_at_rest(at_first)
    growth = after["resident"] - before["resident"]
    stall = asked["stall"]
    print(
        f"{growth / 1024:+.0f} KiB, {after['descriptors']} descriptors; "
        f"worst stall {stall['seconds'] * 1000:.1f} ms: {stall['where'] or 'nobody was seen'}"
    )
    assert after["descriptors"] == before["descriptors"] == at_first
    assert after["timers"] == before["timers"]
    left = Counter(after["objects"]) - Counter(before["objects"])
    assert not {name for name, more in left.items() if more > UNDER_WAY} - REMEMBERED
    assert growth < ONCE + upstreams * EACH_UPSTREAM
    assert stall["seconds"] < WORST_STALL, stall["where"]
