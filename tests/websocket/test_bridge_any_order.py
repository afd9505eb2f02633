"""Whatever the ends of a bridge do, in any order: it ends, and nothing is left."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ipyproxy.net.tcp import HIGH_WATER
from ipyproxy.websocket.bridge import ANSWER_WITHIN, CLOSE_TIMEOUT, PING_AFTER
from tests.websocket.ends import HALF, HALF_MASKED, HELLO, HELLO_MASKED, KEY, REST, World
from tests.wsframes import BINARY, CONTINUATION, PONG, TEXT, Frame, close, judge

KERNEL_GIVES_UP = 60.0

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
