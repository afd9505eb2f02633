"""What passes over a bridge: frames as they came, at the pace of whoever takes them, counted."""

from __future__ import annotations

import gc
import weakref

import pytest

from ipyproxy.net.tcp import HIGH_WATER, MANY_PIECES
from ipyproxy.upstream.upstream import Traffic
from ipyproxy.websocket.states import State
from tests.websocket.ends import (
    HALF,
    HALF_MASKED,
    HELLO,
    HELLO_MASKED,
    KEY,
    REST,
    World,
    answer_pings,
)
from tests.wsframes import BINARY, CONTINUATION, PING, PONG, TEXT, Frame, close

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
