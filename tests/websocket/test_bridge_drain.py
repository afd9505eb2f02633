"""Bridges are ended by the proxy, at once or spread over time."""

from __future__ import annotations

from ipyproxy.websocket.bridge import CLOSE_TIMEOUT
from tests.websocket.ends import HELLO, HELLO_MASKED, World


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
