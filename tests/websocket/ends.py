"""A bridge between two ends that behave in every way that ends do.

The ends are the network as the bridge's transports show it: they keep what was sent, take it or
leave it, fall silent, hang up. Time is a Clock.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from ipyproxy.net.tcp import HIGH_WATER
from ipyproxy.websocket.bridge import Bridge, Bridges, Side
from ipyproxy.websocket.states import State
from tests.wsframes import BINARY, PING, PONG, TEXT, Frame, mask

KEY = b"\x12\x34\x56\x78"


class End:
    """One end as its transport shows it to the bridge."""

    def __init__(self, clock: Clock) -> None:
        self.sent = b""
        """What has reached the other end of the wire."""
        self.side: Side
        self.connected = True
        self.is_reading = True
        self.takes = True
        """Whether the other end of the wire takes bytes."""
        self.half_closed = False
        self.aborted = False
        self.bytes_sent = 0
        self.pieces = 0
        """How many frames the bridge says that a read held, if these were very many."""
        self.producer: Any = None
        self._clock = clock
        self._waiting = b""
        self._paused = False

    # What the bridge calls.

    @property
    def bytes_waiting(self) -> int:
        return len(self._waiting)

    def write(self, data: bytes) -> None:
        if self.connected and not self.half_closed and not self.aborted:
            self._waiting += data
            if self.takes:
                self._flush()
            if len(self._waiting) > HIGH_WATER and self.producer and not self._paused:
                self._paused = True
                self.producer.pauseProducing()

    def read_less(self, pieces: int) -> None:
        self.pieces = pieces

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        assert self.producer is None
        self.producer = producer

    def _unregister_producer(self) -> None:
        self.producer, self._paused = None, False

    def pauseProducing(self) -> None:
        self.is_reading = False

    def resumeProducing(self) -> None:
        if self.connected and not self.aborted:
            self.is_reading = True

    def loseWriteConnection(self) -> None:
        self.half_closed = True
        self._unregister_producer()

    def abortConnection(self) -> None:
        if self.connected:
            self.aborted = True
            self.is_reading = False
            self._unregister_producer()
            self._clock.callLater(0, self.lose)

    # What happens on the wire.

    def _flush(self) -> None:
        self.sent += self._waiting
        self.bytes_sent += len(self._waiting)
        self._waiting = b""

    def take(self) -> None:
        """Take everything, and go on taking."""
        self.takes = True
        if not self.aborted:
            self._flush()
            if self._paused:
                self._paused = False
                self.producer.resumeProducing()

    def receive(self, data: bytes) -> None:
        """Bytes come in, unless they have to wait outside."""
        if self.connected and self.is_reading and not self.aborted:
            self.side.dataReceived(data)

    def lose(self) -> None:
        if self.connected:
            self.connected = self.is_reading = False
            self._waiting = b""
            self._unregister_producer()
            self.side.connectionLost()


class World:
    """One bridge, its two ends, and the sweep that goes round every second."""

    def __init__(self, *, deflate: bool = False, message_limit: int = 0) -> None:
        self.clock = Clock()
        self.bridges = Bridges(self.clock, message_limit)
        self.ended: list[Bridge] = []
        self.client, self.upstream, self.bridge = self.open(deflate=deflate)

    def open(self, *, deflate: bool = False) -> tuple[End, End, Bridge]:
        client, upstream = End(self.clock), End(self.clock)
        bridge = Bridge(self.bridges, client, upstream, deflate=deflate, ended=self.ended.append)
        client.side, upstream.side = bridge.client, bridge.upstream
        return client, upstream, bridge

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.clock.advance(1)
            self.bridges.sweep()
            self.clock.advance(0)

    @property
    def state(self) -> State:
        return self.bridge.state

    def is_over(self) -> bool:
        return (
            self.state is State.CLOSED
            and self.ended == [self.bridge]
            and not self.bridges.open
            and not self.clock.getDelayedCalls()
        )


def unmasked(stream: bytes) -> list[tuple[int, bytes]]:
    """Opcode and payload of each (short) frame that upstream got."""
    seen = []
    while stream:
        size = stream[1] & 0x7F
        seen.append((stream[0] & 0x0F, mask(stream[6 : 6 + size], stream[2:6])))
        stream = stream[6 + size :]
    return seen


HELLO = Frame(TEXT, b"hello").wire
HELLO_MASKED = Frame(TEXT, b"hello", key=KEY).wire
HALF = Frame(BINARY, bytes(100)).wire[:50]
REST = Frame(BINARY, bytes(100)).wire[50:]
HALF_MASKED = Frame(BINARY, bytes(100), key=KEY).wire[:50]


def answer_pings(world: World, *ends: End) -> None:
    """What a healthy program does at the end of the wire."""
    for end in ends:
        masked = end is world.upstream
        stream, end.sent = end.sent, b""
        for opcode, payload in unmasked(stream) if masked else plain(stream):
            if opcode == PING:
                end.receive(Frame(PONG, payload, key=None if masked else KEY).wire)


def plain(stream: bytes) -> list[tuple[int, bytes]]:
    return [(stream[0] & 0x0F, stream[2:])] if stream else []
