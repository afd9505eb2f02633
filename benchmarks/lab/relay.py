"""A line with a round trip and a rate, in user space: ``python -m benchmarks.lab.relay``.

Knows bytes and time. It stands between browser and proxy on loopback. What is modelled: the round
trip that a TCP connection takes before its first byte, the way of every byte, one rate for each
direction that all connections share in turn, and the slow start of each connection (RFC 6928: ten
segments at first, doubled in each round trip). Not modelled: loss, and the round trip's variation.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from dataclasses import dataclass, field

SEGMENT = 1460
FIRST_WINDOW = 10 * SEGMENT
LARGEST_WINDOW = 4 * 1024 * 1024


@dataclass
class Line:
    """One direction: ``rate`` in bytes a second (0: any), ``delay`` in seconds one way."""

    rate: float
    delay: float
    free_at: float = 0.0
    carried: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def carry(self, size: int) -> float:
        """Wait until the line has taken so many bytes; give when they arrive."""
        loop = asyncio.get_running_loop()
        # Who waits for its turn stands in the line in the order in which it came.
        async with self.turn:
            self.carried += size
            if self.rate:
                wait = self.free_at - loop.time()
                if wait > 0.001:
                    await asyncio.sleep(wait)
                self.free_at = max(self.free_at, loop.time() - 0.002) + size / self.rate
        return loop.time() + self.delay


@dataclass
class Window:
    """What one connection may have under way in one direction."""

    size: int = FIRST_WINDOW
    under_way: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self) -> None:
        while self.under_way >= self.size:
            self.changed.clear()
            await self.changed.wait()
        self.changed.clear()

    def acknowledge(self, size: int) -> None:
        self.under_way -= size
        self.size = min(LARGEST_WINDOW, self.size + size)
        self.changed.set()


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Line, *, after: float = 0.0
) -> None:
    loop = asyncio.get_running_loop()
    window = Window()
    if after:
        await asyncio.sleep(after)
    arriving: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            at, data = await arriving.get()
            if (wait := at - loop.time()) > 0:
                await asyncio.sleep(wait)
            if not data:
                with contextlib.suppress(OSError, RuntimeError):
                    writer.write_eof()
                return
            writer.write(data)
            loop.call_later(line.delay, window.acknowledge, len(data))
            with contextlib.suppress(ConnectionError):
                await writer.drain()

    delivering = asyncio.ensure_future(deliver())
    try:
        while True:
            await window.take()
            data = await reader.read(min(4 * SEGMENT, window.size - window.under_way))
            if not data:
                break
            window.under_way += len(data)
            arriving.put_nowait((await line.carry(len(data)), data))
    except ConnectionError:
        pass
    arriving.put_nowait((loop.time() + line.delay, b""))
    await delivering


class Relay:
    """Listens on a port of loopback, and leads to another."""

    def __init__(self, to_port: int, round_trip: float, rate: float) -> None:
        self._to_port = to_port
        self._round_trip = round_trip
        self.up = Line(rate, round_trip / 2)
        self.down = Line(rate, round_trip / 2)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(
                "127.0.0.1", self._to_port, limit=16 * 1024
            )
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(
            _pass_on(reader, far_writer, self.up, after=self._round_trip),
            _pass_on(far_reader, writer, self.down),
            return_exceptions=True,
        )
        for each in (writer, far_writer):
            each.close()


async def _serve(options: argparse.Namespace) -> None:
    rate = options.megabits * 1e6 / 8
    relay = Relay(options.to, options.round_trip / 1000, rate)
    server = await asyncio.start_server(relay.connected, "127.0.0.1", options.port, limit=16 * 1024)
    async with server:
        # Its parent asks by a line, and learns how many bytes have gone down so far.
        loop = asyncio.get_running_loop()
        print("ready", flush=True)
        while await loop.run_in_executor(None, input_line):
            print(relay.down.carried, flush=True)


def input_line() -> bool:
    try:
        input()
    except EOFError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("to", type=int)
    parser.add_argument("round_trip", type=float, help="milliseconds")
    parser.add_argument("megabits", type=float, help="a second, in each direction; 0: any")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
