"""Ends that say nothing: who is pinged, and who is given up."""

from __future__ import annotations

from ipyproxy.net.tcp import HIGH_WATER
from ipyproxy.websocket.bridge import ANSWER_WITHIN, CLOSE_TIMEOUT, PING_AFTER
from ipyproxy.websocket.states import State
from tests.websocket.ends import (
    HALF,
    HALF_MASKED,
    HELLO,
    HELLO_MASKED,
    KEY,
    World,
    answer_pings,
    plain,
)
from tests.wsframes import BINARY, PING, PONG, Frame


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
