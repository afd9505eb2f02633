"""Nodes that share the routes of a hub tell each other when routes were used."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from ipyproxy.hub.shared import TELL_EVERY
from tests.hub.nodes import LOGGER, Fleet, post
from tests.hub.played import OK

HERE = b"Host: hub.org"


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


class TestUse:
    def test_the_last_use_on_any_node_counts(self, fleet: Fleet) -> None:
        one, other = fleet.nodes
        post(one, "/a")
        post(one, "/b")
        fleet.wait(3600)
        other.ask(b"GET /a/x", HERE)
        _, wire = other.accept()
        other.tell(wire, OK)
        fleet.wait(TELL_EVERY)
        assert fleet.server.told == ["/a"]
        fleet.wait(60)
        since = one.call("GET", "/a").json["last_activity"]
        idle = one.call("GET", f"?inactive_since={since}").json
        assert list(idle) == ["/b"]
        # Nothing was used since, and nobody is told anything.
        assert fleet.server.told == ["/a"]

    def test_what_could_not_be_told_is_told_later(self, fleet: Fleet) -> None:
        node = fleet.nodes[0]
        post(node, "/a")
        node.wait(60)
        fleet.server.away = "it is gone"
        node.ask(b"GET /a/x", HERE)
        _, wire = node.accept()
        node.tell(wire, OK)
        node.wait(60)
        assert fleet.server.told == []
        fleet.server.away = ""
        node.wait(2 * TELL_EVERY)
        assert fleet.server.told == ["/a"]

    def test_a_node_that_stops_tells_it_at_once(self, fleet: Fleet) -> None:
        node = fleet.nodes[0]
        post(node, "/a")
        node.wait(1)
        node.ask(b"GET /a/x", HERE)
        _, wire = node.accept()
        node.tell(wire, OK)
        ended: list[object] = []
        node.shared.stop().addCallback(ended.append)
        node.loop.settle()
        assert ended == [None]
        assert fleet.server.told == ["/a"]

    def test_a_silent_database_does_not_keep_a_node_from_stopping(self, fleet: Fleet) -> None:
        node = fleet.nodes[0]
        post(node, "/a")
        node.wait(1)
        node.ask(b"GET /a/x", HERE)
        _, wire = node.accept()
        node.tell(wire, OK)
        node.run = lambda work: Deferred()
        ended: list[object] = []
        with capturedLogs() as events:
            node.shared.stop().addTimeout(5, node.loop).addBoth(ended.append)
            node.wait(6)
        assert len(ended) == 1
        assert not [event for event in events if event["log_namespace"].startswith(LOGGER)]
