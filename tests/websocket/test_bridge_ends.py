"""How a bridge ends: with a close frame, or by the loss of one end."""

from __future__ import annotations

import pytest

from ipyproxy.net.tcp import HIGH_WATER
from ipyproxy.websocket.bridge import CLOSE_TIMEOUT
from ipyproxy.websocket.states import State
from tests.websocket.ends import HALF, HELLO, HELLO_MASKED, KEY, World
from tests.wsframes import BINARY, CLOSE, PING, TEXT, Frame, close

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
