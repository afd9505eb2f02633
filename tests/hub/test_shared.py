"""Nodes that share the routes of a hub: what each puts in place, keeps and answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs, formatEvent

from ipyproxy.hub import store
from ipyproxy.hub.shared import LONGEST_BACKOFF, PATIENCE, SILENCE
from ipyproxy.hub.store import AT_ONCE
from tests.front import Browser
from tests.gateway.hall import HANDSHAKE, Head, accept_for
from tests.hub.nodes import LOGGER, Fleet, Node, Server, post
from tests.hub.played import TARGET, TOKEN
from tests.web.gate import message

HERE = b"Host: hub.org"
OTHER = "http://127.0.0.1:9"
#: Seconds within which a node has looked at the table.
SOON = 1.0


def opened(node: Node, path: bytes) -> Browser:
    """A WebSocket of a browser's at a node."""
    browser = node.ask(b"GET " + path, HERE, *HANDSHAKE)
    _, wire = node.accept()
    key = Head(wire.hear()).one(b"sec-websocket-key")
    lines = (
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + accept_for(key),
    )
    node.tell(wire, message(b"HTTP/1.1 101 Switching Protocols", *lines))
    assert browser.hear().startswith(b"HTTP/1.1 101 ")
    return browser


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def begin_post(node: Node) -> Browser:
    """Whoever has asked for the route /a, and waits for the answer."""
    caller = node.api.connect()
    said = b"POST /api/routes/a HTTP/1.1\r\nHost: x\r\nAuthorization: token %b\r\n" % TOKEN
    body = b'{"target": "http://127.0.0.1:1"}'
    caller.wire.say(said + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    node.loop.settle()
    return caller


class TestChanges:
    def test_what_one_node_is_told_all_have(self, fleet: Fleet) -> None:
        one, other = fleet.nodes
        assert one.call("POST", "/user/ann", {"target": TARGET, "jupyterhub": True}).status == 201
        assert one.has("/user/ann")
        fleet.wait(SOON)
        assert other.call("GET", "/user/ann").json["target"] == TARGET
        assert fleet.server.changes == [
            ("/user/ann", {"target": TARGET, "said": '{"jupyterhub": true}'})
        ]
        assert other.call("DELETE", "/user/ann/").status == 204
        assert not other.has("/user/ann")
        fleet.wait(SOON)
        assert not one.has("/user/ann")
        assert one.call("DELETE", "/user/ann").status == 404

    def test_a_node_that_is_asked_looks_first(self, fleet: Fleet) -> None:
        one, other = fleet.nodes
        post(one, "/a")
        assert list(other.call("GET").json) == ["/a"]

    def test_a_websocket_ends_with_its_route_on_every_node(self, fleet: Fleet) -> None:
        one, other = fleet.nodes
        post(one, "/a")
        fleet.wait(SOON)
        browsers = [opened(node, b"/a/ws") for node in (one, other)]
        one.call("DELETE", "/a")
        one.loop.settle()
        assert browsers[0].wire.has_ended
        other.wait(SOON)
        assert browsers[1].wire.has_ended

    def test_what_leads_on_as_before_is_not_disturbed(self, fleet: Fleet) -> None:
        one, other = fleet.nodes
        post(one, "/a")
        fleet.wait(SOON)
        browser = opened(other, b"/a/ws")
        post(one, "/a")
        other.wait(SOON)
        assert not browser.wire.has_ended
        post(one, "/a", OTHER)
        other.wait(SOON)
        assert browser.wire.has_ended

    @pytest.mark.parametrize(
        ("path", "target", "status"),
        [
            ("/a", "nonsense", 400),
            ("/_ipyproxy/x", TARGET, 400),
            ("/%00", TARGET, 400),
            ("/a", TARGET + "?\0", 400),
            ("/a", TARGET + "?\ud800", 400),
            ("/" + "x" * 2000, TARGET, 400),
        ],
    )
    def test_what_is_no_route_is_written_nowhere(
        self, fleet: Fleet, path: str, target: str, status: int
    ) -> None:
        assert post(fleet.nodes[0], path, target).status == status
        assert fleet.server.changes == []

    def test_no_more_routes_than_one_proxy_has(
        self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store, "MOST_ROUTES", 2)
        one, other = fleet.nodes
        assert [post(one, f"/{n}").status for n in range(3)] == [201, 201, 507]
        # Whoever writes past the nodes, or at the same time as another, finds them full as well.
        fleet.server.used["/3"] = 0.0, 0.0
        fleet.server.changes.append(("/3", {"target": TARGET}))
        assert other.told(1) == ["the table: /3 (there are too many) is left out"]

    def test_what_makes_no_sense_in_the_table_is_told_and_left_out(self, fleet: Fleet) -> None:
        one, _ = fleet.nodes
        post(one, "/a")
        for number in range(12):
            fleet.server.used[f"/{number}"] = 0.0, 0.0
            fleet.server.changes.append((f"/{number}", {"target": "nonsense"}))
        fleet.server.changes.append(("/a", {"target": "nonsense"}))
        told = one.told(1)
        why = "('target' is no address such as http://127.0.0.1:8888) is left out"
        assert told == [
            f"the table: {path} {why}" for path in (*map("/{}".format, range(12)), "/a")
        ]
        assert list(one.call("GET").json) == []


class TestWhileItIsAway:
    def test_the_last_good_routes_are_kept_and_that_is_told_once(self, fleet: Fleet) -> None:
        one, _ = fleet.nodes
        post(one, "/a")
        fleet.server.away = "it is gone"
        assert one.told(300) == [
            "the routes in the table are away: it is gone; they are waited for, and those that are "
            "known stay"
        ]
        one.ask(b"GET /a/x", HERE)
        assert one.accept()[0].port == 8001
        assert list(one.call("GET").json) == ["/a"]
        fleet.server.away = ""
        assert one.told(LONGEST_BACKOFF) == ["the routes in the table are there again"]

    def test_a_write_is_refused_and_counts_nowhere(self, fleet: Fleet) -> None:
        one, other = fleet.nodes
        post(one, "/a")
        fleet.wait(1)
        fleet.server.away = "it is gone"
        for answer in post(one, "/b"), one.call("DELETE", "/a"):
            assert answer.status == 503
            assert answer.body == b"the database of routes is away: it is gone; try again"
        assert (one.has("/a"), one.has("/b")) == (True, False)
        fleet.server.away = ""
        # The hub tries again, and need not wait for the next look.
        assert post(one, "/b").status == 201
        fleet.wait(LONGEST_BACKOFF)
        assert other.has("/b")

    def test_a_node_that_starts_meanwhile_says_that_it_knows_nothing(self) -> None:
        server = Server()
        server.away = "it is gone"
        with capturedLogs() as events:
            node = Node(server)
        (told,) = [formatEvent(e) or "" for e in events if e["log_namespace"].startswith(LOGGER)]
        assert told.endswith("they are waited for, and there are none until then")
        # An empty list would have the hub believe that all its routes are lost.
        assert node.call("GET").status == 503
        assert node.call("GET", "/a").status == 503
        assert node.ask(b"GET /a/", HERE).hear().startswith(b"HTTP/1.1 404 ")
        server.away = ""
        node.wait(LONGEST_BACKOFF)
        assert node.call("GET").json == {}

    def test_one_that_does_not_answer_is_interrupted(self, fleet: Fleet) -> None:
        node = fleet.nodes[0]
        hanging: Deferred[Any] = Deferred()
        node.run = lambda work: hanging
        told = node.told(SILENCE + 1)
        assert [line.partition(";")[0] for line in told] == [
            "the routes in the table are away: no answer within 10 seconds"
        ]
        assert node.view.interrupted == 1

    def test_a_write_whose_turn_comes_too_late_is_not_done(self, fleet: Fleet) -> None:
        node = fleet.nodes[0]
        go_on = node.hold()
        caller = begin_post(node)
        node.wait(PATIENCE + 1)
        go_on()
        assert caller.wire.hear().startswith(b"HTTP/1.1 503 ")
        assert fleet.server.changes == []


class TestEverythingAnew:
    def test_what_a_node_has_missed_is_gone_afterwards_and_not_before(self, fleet: Fleet) -> None:
        one, other = fleet.nodes
        for number in range(5):
            post(one, f"/{number}")
        fleet.wait(1)
        # As for a node that was away for so long that removals were forgotten.
        fleet.server.changes = fleet.server.changes[3:]
        other.view.is_behind = True
        fleet.wait(1)
        assert list(other.call("GET").json) == ["/3", "/4"]

    def test_what_is_not_read_yet_is_not_gone(self, fleet: Fleet) -> None:
        node = fleet.nodes[0]
        paths = [f"/{number}" for number in range(AT_ONCE + 4)]
        for path in paths:
            node.view.add(path, TARGET, "{}")
        node.shared.refresh()
        node.loop.settle()
        assert set(node.routes) == set(paths)
        stays = set(paths[-3:])
        fleet.server.changes = fleet.server.changes[-3:]
        node.view.is_behind = True
        node.shared.refresh()  # of those that are gone one is left, when others have their turn
        assert len(node.routes) == 4
        pages: list[tuple[Callable[[], Any], Deferred[Any]]] = []

        def first_page(work: Callable[[], Any]) -> Deferred[Any]:
            node.run = later
            return maybeDeferred(work)

        def later(work: Callable[[], Any]) -> Deferred[Any]:
            pages.append((work, Deferred()))
            return pages[-1][1]

        node.view.is_behind, node.run = True, first_page
        node.shared.refresh()
        node.loop.settle()
        assert stays <= set(node.routes)
        node.run = maybeDeferred
        for work, result in pages:
            maybeDeferred(work).chainDeferred(result)
        node.loop.settle()
        assert set(node.routes) == stays

    def test_very_many_take_their_time_and_nothing_is_away(self, fleet: Fleet) -> None:
        node = fleet.nodes[0]
        for number in range(12):
            post(node, f"/{number}")
        node.view.is_behind = True
        node.run = lambda work: deferLater(node.loop, SILENCE / 2, work)
        assert node.told(10 * SILENCE) == []
        assert node.view.interrupted == 0

    def test_a_caller_that_hangs_up_is_told_nothing_and_the_route_is_there(
        self, fleet: Fleet
    ) -> None:
        node = fleet.nodes[0]
        go_on = node.hold()
        caller = begin_post(node)
        caller.wire.reset()
        node.loop.settle()
        go_on()
        assert node.has("/a")
        assert node.figures.api[201] == 0
        assert not node.loop.failures
