"""A bridge between two ends that behave in every way that ends do.

The ends are the network as the bridge's transports show it: they keep what was sent, take it or
leave it, fall silent, hang up. Time is a Clock.
"""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from ipyproxy.net.tcp import HIGH_WATER, MANY_PIECES
from ipyproxy.upstream.upstream import Traffic
from ipyproxy.websocket.bridge import (
    ANSWER_WITHIN,
    CLOSE_TIMEOUT,
    PING_AFTER,
    Bridge,
    Bridges,
    Side,
)
from ipyproxy.websocket.states import State
from tests.wsframes import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    close,
    judge,
    mask,
)

KEY = b"\x12\x34\x56\x78"
KERNEL_GIVES_UP = 60.0


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


def told(code: int) -> list[tuple[int, bytes]]:
    return [(CLOSE, code.to_bytes(2, "big"))]


HELLO = Frame(TEXT, b"hello").wire
HELLO_MASKED = Frame(TEXT, b"hello", key=KEY).wire
HALF = Frame(BINARY, bytes(100)).wire[:50]
REST = Frame(BINARY, bytes(100)).wire[50:]
HALF_MASKED = Frame(BINARY, bytes(100), key=KEY).wire[:50]


# Passing.


def test_frames_pass_both_ways_as_they_came() -> None:
    world = World()
    world.client.receive(HELLO_MASKED)
    world.upstream.receive(HELLO + HALF)
    world.upstream.receive(REST)
    assert world.upstream.sent == HELLO_MASKED
    assert world.client.sent == HELLO + HALF + REST
    assert world.state is State.OPEN


def test_whoever_does_not_take_makes_the_other_wait() -> None:
    world = World()
    flood = Frame(BINARY, bytes(HIGH_WATER)).wire
    world.client.takes = False
    world.upstream.receive(flood)
    assert not world.upstream.is_reading
    assert world.client.is_reading
    world.client.take()
    assert world.upstream.is_reading
    assert world.client.sent == flood

    world.upstream.takes = False
    flood = Frame(BINARY, bytes(HIGH_WATER), key=KEY).wire
    world.client.receive(flood)
    assert not world.client.is_reading
    world.upstream.take()
    assert world.client.is_reading
    assert world.upstream.sent == flood


def test_both_may_wait_for_each_other_and_go_on() -> None:
    world = World()
    world.client.takes = world.upstream.takes = False
    world.client.receive(Frame(BINARY, bytes(HIGH_WATER), key=KEY).wire)
    world.upstream.receive(Frame(BINARY, bytes(HIGH_WATER)).wire)
    assert not world.client.is_reading
    assert not world.upstream.is_reading
    world.wait(600)
    assert world.state is State.OPEN
    world.client.take()
    world.upstream.take()
    assert world.client.is_reading
    assert world.upstream.is_reading


# Closing.


def test_close_frames_pass_and_then_the_client_is_let_go_first() -> None:
    world = World()
    world.client.receive(close(1000, b"bye", KEY).wire)
    assert world.state is State.CLOSING
    assert world.upstream.sent == close(1000, b"bye", KEY).wire
    assert not world.client.half_closed
    world.upstream.receive(HELLO + close(1000).wire)
    assert world.client.sent == HELLO + close(1000).wire
    assert world.client.half_closed
    world.client.lose()
    assert world.upstream.half_closed
    world.upstream.lose()
    assert world.is_over()
    assert world.bridge.close_code == 1000


def test_upstream_may_close_first() -> None:
    world = World()
    world.upstream.receive(close(4001, b"culled").wire)
    world.client.receive(close(4001, key=KEY).wire)
    world.upstream.lose()
    assert world.client.sent == close(4001, b"culled").wire
    assert world.client.half_closed
    world.client.lose()
    assert world.is_over()
    assert world.bridge.close_code == 4001


def test_a_close_frame_without_a_code_is_1005() -> None:
    world = World()
    world.upstream.receive(Frame(CLOSE).wire)
    world.client.receive(Frame(CLOSE, key=KEY).wire)
    assert world.bridge.close_code == 1005


def test_what_comes_behind_a_close_frame_is_dropped() -> None:
    world = World()
    world.client.receive(close(1000, key=KEY).wire + HELLO_MASKED)
    world.client.receive(HELLO_MASKED)
    assert world.upstream.sent == close(1000, key=KEY).wire
    assert world.state is State.CLOSING


def test_a_close_frame_that_nobody_answers_is_not_waited_for() -> None:
    world = World()
    world.client.receive(close(1000, key=KEY).wire)
    world.wait(CLOSE_TIMEOUT - 1)
    assert world.state is State.CLOSING
    world.wait(2)
    assert world.client.half_closed
    assert world.upstream.half_closed
    world.wait(CLOSE_TIMEOUT)
    assert world.client.aborted
    assert world.upstream.aborted
    assert world.is_over()


def test_what_is_still_under_way_behind_a_close_frame_gets_its_time() -> None:
    world = World()
    world.client.receive(close(1000, key=KEY).wire)
    for _ in range(10):
        world.wait(CLOSE_TIMEOUT - 1)
        world.upstream.receive(HELLO)
    assert world.client.sent == HELLO * 10
    world.upstream.receive(close(1000).wire)
    world.client.lose()
    world.upstream.lose()
    assert world.is_over()
    assert world.bridge.close_code == 1000


def test_an_end_that_has_said_close_is_answered_by_its_peer_or_not_at_all() -> None:
    world = World()
    world.client.receive(close(4000, key=KEY).wire)
    world.upstream.lose()
    assert world.client.sent == b""
    assert world.client.half_closed
    world.client.lose()
    assert world.is_over()
    assert world.bridge.close_code == 4000


# Loss.


def test_a_browser_that_is_lost_is_lost_to_upstream_too() -> None:
    world = World()
    world.client.lose()
    assert world.upstream.sent == b""
    assert world.upstream.half_closed
    world.upstream.lose()
    assert world.is_over()
    assert world.bridge.close_code == 1006


def test_upstream_that_dies_ends_the_browser_s_connection_without_a_close_frame() -> None:
    world = World()
    world.upstream.receive(HELLO)
    world.upstream.lose()
    assert world.client.sent == HELLO
    assert world.client.half_closed
    world.client.lose()
    assert world.is_over()
    assert (world.bridge.close_code, world.bridge.end) == (1006, "notebook gone")


def test_upstream_that_dies_within_a_frame_leaves_nothing_to_say() -> None:
    world = World()
    world.upstream.receive(HALF)
    world.upstream.lose()
    assert world.client.sent == HALF
    assert world.client.half_closed
    world.client.lose()
    assert world.is_over()
    assert world.bridge.close_code == 1006


def test_upstream_that_dies_within_a_header_or_between_fragments_adds_nothing() -> None:
    fragment = Frame(TEXT, b"x", fin=False).wire
    for last, passed in (
        (b"\x82", b""),
        (fragment, fragment),
        (Frame(PING, b"held").wire[:-1], b""),
    ):
        world = World()
        world.upstream.receive(last)
        world.upstream.lose()
        assert world.client.sent == passed
        assert world.client.half_closed


def test_a_browser_that_is_slow_still_gets_what_upstream_said_last() -> None:
    world = World()
    world.client.takes = False
    last = Frame(BINARY, bytes(2 * HIGH_WATER)).wire
    world.upstream.receive(last)
    world.upstream.lose()
    world.wait(CLOSE_TIMEOUT - 1)
    world.client.take()
    world.wait(CLOSE_TIMEOUT - 1)
    assert world.client.sent == last
    assert not world.client.aborted
    world.wait(2)
    assert world.is_over()


def test_upstream_that_was_made_to_wait_is_read_again_when_the_browser_is_lost() -> None:
    world = World()
    world.client.takes = False
    world.upstream.receive(Frame(BINARY, bytes(2 * HIGH_WATER)).wire)
    assert not world.upstream.is_reading
    world.client.lose()
    assert world.upstream.is_reading
    world.upstream.receive(HELLO * 1000)
    world.upstream.lose()
    assert world.is_over()


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_whoever_does_not_let_go_is_cut_off(who: str) -> None:
    world = World()
    other = world.client if who == "client" else world.upstream
    (world.upstream if who == "client" else world.client).lose()
    world.wait(CLOSE_TIMEOUT + 1)
    assert other.aborted
    assert world.is_over()


# Violations.


def test_upstream_is_told_of_a_violation_and_has_its_say_before_the_client_is() -> None:
    world = World()
    world.client.receive(HELLO_MASKED + HELLO + HELLO_MASKED)
    assert unmasked(world.upstream.sent) == [(TEXT, b"hello"), *told(1002)]
    assert world.client.sent == b""
    world.upstream.receive(HELLO + close(1000).wire + HELLO)
    assert world.client.sent == HELLO + close(1002).wire
    assert world.client.half_closed
    world.client.receive(HELLO)
    world.client.lose()
    world.upstream.lose()
    assert world.is_over()
    assert world.bridge.close_code == 1002


def test_the_client_is_told_of_a_violation_and_has_its_say_before_upstream_is() -> None:
    world = World()
    world.upstream.receive(HELLO + HELLO_MASKED)
    assert world.client.sent == HELLO + close(1002).wire
    assert world.upstream.sent == b""
    world.client.receive(HELLO_MASKED + close(1002, key=KEY).wire)
    assert unmasked(world.upstream.sent) == [(TEXT, b"hello"), *told(1002)]
    assert world.client.half_closed


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_an_offender_does_not_wait_long_for_the_other(who: str) -> None:
    world = World()
    (world.client if who == "client" else world.upstream).receive(b"\xff" * 20)
    world.wait(2)
    assert world.client.sent == close(1002).wire
    assert unmasked(world.upstream.sent) == told(1002)
    assert world.client.half_closed
    assert world.upstream.half_closed


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_an_offender_whose_peer_is_lost_is_told_nevertheless(who: str) -> None:
    world = World()
    (world.client if who == "client" else world.upstream).receive(b"\xff" * 20)
    (world.upstream if who == "client" else world.client).lose()
    assert world.client.sent == close(1002).wire
    assert unmasked(world.upstream.sent) == told(1002)


def test_a_message_over_the_limit_is_1009_on_both_sides() -> None:
    world = World(message_limit=100)
    world.client.receive(Frame(TEXT, bytes(60), fin=False, key=KEY).wire)
    world.client.receive(Frame(CONTINUATION, bytes(41), key=KEY).wire)
    assert unmasked(world.upstream.sent)[1:] == told(1009)
    world.upstream.receive(close(1009).wire)
    assert world.client.sent == close(1009).wire


def test_compressed_messages_need_compression() -> None:
    compressed = Frame(TEXT, b"x", rsv=4).wire
    world = World(deflate=True)
    world.upstream.receive(compressed)
    assert world.client.sent == compressed
    world = World()
    world.upstream.receive(compressed)
    assert world.client.sent == close(1002).wire


def test_an_offender_within_a_frame_is_told_at_its_end() -> None:
    world = World()
    world.upstream.receive(HALF)
    world.client.receive(HELLO)  # not masked
    world.wait(2)
    assert world.client.sent == HALF
    assert not world.client.half_closed
    world.upstream.receive(REST + HELLO)
    assert world.client.sent == HALF + REST + close(1002).wire
    assert world.client.half_closed


def test_an_offender_within_a_frame_that_never_ends_is_cut_off() -> None:
    world = World()
    world.upstream.receive(HALF)
    world.client.receive(HELLO)  # not masked
    world.wait(CLOSE_TIMEOUT + 3)
    assert world.client.sent == HALF
    assert world.is_over()


def test_a_violation_instead_of_the_answer_to_a_close_frame_is_none() -> None:
    world = World()
    world.client.receive(close(1000, key=KEY).wire)
    world.upstream.receive(HELLO_MASKED)
    assert world.upstream.sent == close(1000, key=KEY).wire
    assert world.client.sent == b""
    assert world.client.half_closed


# Drain.


def test_a_drained_bridge_ends_without_a_close_frame_on_either_side() -> None:
    """JupyterLab from 4.6 does not connect again after 1000 and 1001, but after 1006 it does."""
    world = World()
    world.upstream.receive(HELLO)
    world.bridges.drain()
    assert world.client.sent == HELLO
    assert world.upstream.sent == b""
    assert world.client.half_closed
    assert world.upstream.half_closed
    world.client.lose()
    world.upstream.lose()
    assert world.is_over()
    assert (world.bridge.close_code, world.bridge.end) == (1006, "proxy stopped")
    assert world.bridges.ended["proxy stopped"] == 1


def test_a_drained_bridge_whose_browser_does_not_let_go_is_cut_off() -> None:
    world = World()
    world.bridges.drain()
    world.client.receive(HELLO_MASKED)
    assert world.upstream.sent == b"", "what comes after the end is dropped"
    world.wait(CLOSE_TIMEOUT + 1)
    assert world.client.aborted
    assert world.is_over()


def test_drained_bridges_do_not_wait_for_each_other() -> None:
    world = World()
    world.open()
    world.bridges.drain()
    world.wait(2 * CLOSE_TIMEOUT + 2)
    assert not world.bridges.open
    assert len(world.ended) == 2


def test_a_drain_may_be_spread_over_time() -> None:
    world = World()
    ends = [world.client, *[world.open()[0] for _ in range(9)]]
    world.bridges.drain(within=10)
    ended_after = []
    for _ in range(10):
        ended_after.append(sum(end.half_closed for end in ends))
        world.wait(1)
    assert ended_after == list(range(10))
    world.wait(1)
    assert all(end.half_closed for end in ends)


def test_a_bridge_that_opens_during_a_drain_is_drained() -> None:
    world = World()
    world.bridges.drain()
    client, _, _ = world.open()
    world.wait(1)
    assert client.half_closed


# Silence.


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


def test_an_idle_bridge_is_kept_alive_by_pings_that_the_other_side_never_sees() -> None:
    world = World()
    for _ in range(600):
        world.wait(1)
        answer_pings(world, world.client, world.upstream)
    assert world.state is State.OPEN
    assert world.bridge.client.bytes_received > 10 * len(Frame(PONG, bytes(8), key=KEY).wire)
    assert world.client.sent == world.upstream.sent == b""


def test_pings_go_to_those_who_are_silent() -> None:
    world = World()
    for _ in range(int(PING_AFTER) + 3):
        world.wait(1)
        world.upstream.receive(HELLO)
    assert [opcode for opcode, _ in plain(world.client.sent.replace(HELLO, b""))] == [PING]
    assert world.upstream.sent == b""


def test_a_client_that_is_dead_is_lost_within_150_seconds() -> None:
    world = World()
    for _ in range(150):
        world.wait(1)
        answer_pings(world, world.upstream)
    assert world.client.aborted
    assert world.upstream.half_closed
    world.upstream.lose()
    assert world.is_over()


def test_upstream_that_is_silent_is_busy_and_is_neither_pinged_nor_cut_off() -> None:
    """Jupyter's only thread may be blocked for minutes; one that vanished is TCP's to notice."""
    world = World()
    for _ in range(1000):
        world.wait(1)
        answer_pings(world, world.client)
    assert world.state is State.OPEN
    assert world.upstream.sent == b""
    world.upstream.receive(HELLO)
    assert world.client.sent == HELLO


def test_a_ping_waits_for_the_end_of_a_frame() -> None:
    world = World()
    slow = Frame(BINARY, bytes(200)).wire
    for at in range(len(slow) - 1):
        world.upstream.receive(slow[at : at + 1])
        world.wait(1)
    assert world.client.sent == slow[:-1]
    assert world.state is State.OPEN, "the client could not be asked, so it is not to blame"
    world.upstream.receive(slow[-1:])
    world.wait(1)
    assert plain(world.client.sent.removeprefix(slow))[0][0] == PING


def test_a_client_that_leaves_off_within_a_frame_is_given_up() -> None:
    world = World()
    world.upstream.receive(HALF)
    world.client.receive(HALF_MASKED)
    world.wait(PING_AFTER + ANSWER_WITHIN + CLOSE_TIMEOUT + 5)
    assert world.client.aborted
    assert world.is_over()
    assert world.bridge.end == "client silent"


def test_a_side_that_is_held_or_that_does_not_take_is_not_silent() -> None:
    world = World()
    world.client.takes = False
    world.upstream.receive(Frame(BINARY, bytes(2 * HIGH_WATER)).wire)
    world.wait(1000)
    assert world.state is State.OPEN
    world.client.take()
    world.wait(PING_AFTER - 2)
    assert plain(world.client.sent[-10:])[0][0] != PING
    assert world.state is State.OPEN


def test_a_late_pong_passes_for_it_harms_nobody() -> None:
    world = World()
    world.wait(PING_AFTER + 2)
    _, first = plain(world.client.sent)[0]
    world.client.receive(HELLO_MASKED)
    world.wait(PING_AFTER + 2)
    world.client.receive(Frame(PONG, first, key=KEY).wire)
    assert world.state is State.OPEN


def test_a_read_that_held_very_many_frames_is_followed_by_smaller_ones() -> None:
    world = World()
    world.client.receive(Frame(PING, b"", key=KEY).wire * MANY_PIECES)
    assert world.client.pieces == 0
    world.client.receive(Frame(PING, b"", key=KEY).wire * 3 * MANY_PIECES)
    assert world.client.pieces == 3 * MANY_PIECES
    world.upstream.receive(HELLO * 2 * MANY_PIECES)
    assert world.upstream.pieces == 2 * MANY_PIECES


# Accounts.


def test_bytes_and_messages_are_counted() -> None:
    world = World()
    world.client.receive(HELLO_MASKED + Frame(PING, b"x", key=KEY).wire)
    world.upstream.receive(HELLO * 3 + Frame(TEXT, b"part", fin=False).wire)
    world.upstream.receive(Frame(CONTINUATION, b"s").wire)
    up, down = len(HELLO_MASKED) + 7, 3 * len(HELLO) + 6 + 3
    assert world.bridge.traffic == Traffic(up, down, messages_up=1, messages_down=4)


def test_only_messages_are_a_sign_of_a_person() -> None:
    world = World()
    world.clock.advance(5)
    _, _, later = world.open()
    assert later.opened == later.last_activity == 5
    for _ in range(100):
        world.wait(1)
        answer_pings(world, world.client, world.upstream)
        world.client.receive(Frame(PONG, b"unasked", key=KEY).wire)
        world.upstream.receive(HELLO)
    assert world.bridge.last_activity == 0
    world.client.receive(HELLO_MASKED)
    world.wait(1)
    assert world.bridge.last_activity == 106
    world.client.receive(HALF_MASKED)
    world.wait(10)
    assert world.bridge.last_activity == 116, "a long upload goes on"


def test_a_message_right_before_the_end_is_a_sign_of_a_person_too() -> None:
    world = World()
    world.wait(7)
    world.client.receive(HELLO_MASKED + close(1000, key=KEY).wire)
    assert world.bridge.last_activity == 7


# Any order.

FROM_CLIENT = [
    HELLO_MASKED,
    HALF_MASKED,
    Frame(BINARY, bytes(100), key=KEY).wire[50:],
    Frame(TEXT, b"x", fin=False, key=KEY).wire,
    Frame(CONTINUATION, b"x", key=KEY).wire,
    Frame(PONG, b"x", key=KEY).wire,
    Frame(BINARY, bytes(2 * HIGH_WATER), key=KEY).wire,
    close(1000, key=KEY).wire,
    close(1000, key=KEY).wire[:3],
    HELLO,
]
FROM_UPSTREAM = [
    HELLO,
    HALF,
    REST,
    Frame(TEXT, b"x", fin=False).wire,
    Frame(CONTINUATION, b"x").wire,
    Frame(PONG, b"x").wire,
    Frame(BINARY, bytes(2 * HIGH_WATER)).wire,
    close(1000).wire,
    close(1000).wire[:1],
    HELLO_MASKED,
]

happenings = st.one_of(
    st.tuples(st.just("from client"), st.sampled_from(FROM_CLIENT)),
    st.tuples(st.just("from upstream"), st.sampled_from(FROM_UPSTREAM)),
    st.tuples(st.sampled_from(["client", "upstream"]), st.sampled_from(["stuck", "take", "lose"])),
    st.tuples(st.just("wait"), st.sampled_from([1, 9, 50, 80])),
    st.tuples(st.just("drain"), st.sampled_from([0.0, 30.0])),
    st.tuples(st.just("pongs"), st.none()),
)


def happen(world: World, what: str, how: Any) -> None:
    end = {"client": world.client, "upstream": world.upstream}.get(what.removeprefix("from "))
    if what == "wait":
        world.wait(how)
    elif what == "drain":
        world.bridges.drain(how)
    elif what == "pongs":
        for one in (world.client, world.upstream):
            payload = one.side.scanner.awaited_pong
            if payload:
                key = KEY if one is world.client else None
                one.receive(Frame(PONG, payload, key=key).wire)
    elif end is not None and isinstance(how, bytes):
        end.receive(how)
    elif end is not None and how == "stuck":
        end.takes = False
    elif end is not None:
        getattr(end, how)()


@settings(max_examples=300)
@given(st.lists(happenings, max_size=25))
def test_whatever_happens_it_ends_and_nothing_is_left(events: list[tuple[str, Any]]) -> None:
    """And each side gets whole frames, at most one close frame, and nothing behind it."""
    world = World(message_limit=4 * HIGH_WATER)
    for what, how in events:
        happen(world, what, how)
    to_client, to_upstream = world.client.sent, world.upstream.sent

    # From here on both are dead to the world: the kernel gives up on what they do not take, and
    # by its keep-alive on upstream.
    world.wait(KERNEL_GIVES_UP)
    if world.client.bytes_waiting:
        world.client.lose()
    world.upstream.lose()
    world.wait(PING_AFTER + ANSWER_WITHIN + 3 * CLOSE_TIMEOUT + 5)
    assert world.is_over()

    for end, stream, masked in (
        (world.client, to_client, False),
        (world.upstream, to_upstream, True),
    ):
        verdict = judge(end.sent, masked=masked)
        assert not verdict.violation
        assert verdict.passed == len(end.sent), "an incomplete header, or more behind a close frame"
        assert end.sent.startswith(stream)
        assert end.producer is None
        assert not end.connected


@pytest.mark.plain
def test_a_bridge_that_is_over_is_forgotten() -> None:
    world = World()
    client, upstream, bridge = world.open()
    gone = weakref.ref(bridge.client)
    client.lose()
    upstream.lose()
    world.ended.clear()
    del client, upstream, bridge
    gc.collect()
    assert gone() is None
