"""Long texts, put together over several turns."""

from __future__ import annotations

from twisted.internet.task import Clock

from ipyproxy.hub.gathering import AT_ONCE, Gathering
from tests.hub.played import TARGET, PlayedHub
from tests.web.gate import message
from tests.wires import Loop


def test_others_get_a_turn_in_between() -> None:
    loop, texts = Loop(), list[bytes]()
    pieces = [b"%d," % number for number in range(2 * AT_ONCE + 1)]
    Gathering(loop, iter(pieces), texts.append)
    turns = 0
    while loop.calls:
        assert texts == []
        loop.turn()
        turns += 1
    assert (turns, texts) == (2, [b"".join(pieces)])


def test_one_that_nobody_waits_for_is_left() -> None:
    clock, texts = Clock(), list[bytes]()
    Gathering(clock, iter([b"a"] * 4 * AT_ONCE), texts.append).cancel()
    assert not clock.getDelayedCalls()
    assert texts == []


LIST = message(b"GET /api/routes HTTP/1.1", b"Host: here", b"Authorization: token secret")


def test_the_hub_is_told_all_routes_however_many_there_are() -> None:
    hub = PlayedHub()
    for number in range(AT_ONCE + 1):
        hub.routes.add(f"/{number}", {"target": TARGET})
    assert list(hub.call("GET").json) == [f"/{number}" for number in range(AT_ONCE + 1)]
    assert hub.call("GET", "?inactiveSince=1970-01-01T00:00:00Z").json == {}


def test_a_hub_that_hangs_up_is_told_nothing_more() -> None:
    hub = PlayedHub()
    for number in range(4 * AT_ONCE):
        hub.routes.add(f"/{number}", {"target": TARGET})
    caller = hub.api.connect()
    caller.wire.say(LIST)
    hub.loop.turn()
    assert hub.loop.calls
    caller.wire.reset()
    hub.loop.settle()
    assert hub.figures.api[200] == 0
    assert not hub.loop.failures
