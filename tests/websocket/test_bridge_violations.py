"""An end that breaks RFC 6455: what both are told, and when they are let go."""

from __future__ import annotations

import pytest

from ipyproxy.websocket.bridge import CLOSE_TIMEOUT
from tests.websocket.ends import HALF, HELLO, HELLO_MASKED, KEY, REST, World, unmasked
from tests.wsframes import CLOSE, CONTINUATION, TEXT, Frame, close


def told(code: int) -> list[tuple[int, bytes]]:
    return [(CLOSE, code.to_bytes(2, "big"))]


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
