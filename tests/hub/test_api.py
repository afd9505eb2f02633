"""The REST API: the calls that configurable-http-proxy's own tests make of it, and hostile ones."""

from __future__ import annotations

import pytest

from ipyproxy.hub import api, store
from tests.hub.played import OK, TARGET, PlayedHub

LONE = b'{"target": "http+unix://%2Frun%2Fx\\ud800"}'


@pytest.fixture
def hub() -> PlayedHub:
    played = PlayedHub()
    played.routes.add("/", {"target": "http://127.0.0.1:9000"})
    return played


class TestRoutes:
    def test_the_table_has_all_routes(self, hub: PlayedHub) -> None:
        answer = hub.call("GET")
        assert answer.status == 200
        assert b"Content-Type: application/json" in answer.head
        assert list(answer.json) == ["/"]
        assert hub.call("GET", "/").json == answer.json

    def test_one_route_or_404(self, hub: PlayedHub) -> None:
        hub.call("POST", "/path", {"target": "https://127.0.0.1:54321"})
        assert hub.call("GET", "/path").json["target"] == "https://127.0.0.1:54321"
        missing = hub.call("GET", "/other")
        assert (missing.status, missing.body) == (404, b"")

    def test_a_new_route(self, hub: PlayedHub) -> None:
        answer = hub.call("POST", "/user/foo", {"target": TARGET, "jupyterhub": True, "x": [1]})
        assert (answer.status, answer.body) == (201, b"")
        told = hub.call("GET", "/user/foo/").json
        assert told.pop("last_activity").endswith("Z")
        assert told == {
            "target": TARGET,
            "jupyterhub": True,
            "x": [1],
            "last_activity_person": None,
        }

    def test_escapes(self, hub: PlayedHub) -> None:
        hub.call("POST", "/user/foo%40bar", {"target": TARGET})
        assert "/user/foo@bar" in hub.call("GET").json
        hub.ask(b"GET /user/foo@bar/path")
        assert hub.accept()[0].port == 8001

    def test_the_root(self, hub: PlayedHub) -> None:
        assert hub.call("POST", "", {"target": TARGET}).status == 201
        assert hub.call("GET").json["/"]["target"] == TARGET

    def test_the_same_path_again_replaces_what_was_said(self, hub: PlayedHub) -> None:
        hub.call("POST", "/a", {"target": TARGET, "first": 1})
        hub.call("POST", "/a/", {"target": "http://127.0.0.1:2", "second": 2})
        told = hub.call("GET", "/a").json
        assert (told["target"], told["second"], "first" in told) == ("http://127.0.0.1:2", 2, False)

    def test_one_that_is_deleted_is_gone(self, hub: PlayedHub) -> None:
        hub.call("POST", "/user/bar", {"target": TARGET})
        answer = hub.call("DELETE", "/user/bar")
        assert (answer.status, answer.body) == (204, b"")
        assert hub.call("DELETE", "/user/bar").status == 404
        assert hub.call("GET", "/user/bar").status == 404

    @pytest.mark.parametrize(
        ("host_routing", "one", "other"),
        [
            (False, "/user/ann", "/user/ann///"),
            (False, "/user/ann", "///user/ann"),
            (True, "/Ann.hub.org/user", "/ann.hub.org/user"),
        ],
    )
    def test_one_place_is_one_route_however_it_is_spelled(
        self, host_routing: bool, one: str, other: str
    ) -> None:
        hub = PlayedHub(store.Manner(host_routing=host_routing))
        for path in one, other:
            assert hub.call("POST", path, {"target": TARGET}).status == 201
        assert len(hub.call("GET").json) == 1
        assert [hub.call("DELETE", path).status for path in (one, other)] == [204, 404]

    def test_a_route_that_somebody_else_has_taken_away_can_be_deleted(self, hub: PlayedHub) -> None:
        hub.call("POST", "/shared", {"target": TARGET})
        hub.components.live.remove(b"", b"/shared")
        assert hub.call("DELETE", "/shared").status == 204

    @pytest.mark.parametrize(
        "raw", [b"", b"notjson", b"[]", b"{}", b'{"target": null}', b'{"target": "nonsense"}', LONE]
    )
    def test_what_is_no_route(self, hub: PlayedHub, raw: bytes) -> None:
        assert hub.call("POST", "/user/bar", raw=raw).status == 400
        assert hub.call("GET", "/user/bar").status == 404

    def test_other_methods_and_paths(self, hub: PlayedHub) -> None:
        assert hub.call("PATCH", "/user/bar").status == 405
        assert hub.call("GET", "x").status == 404

    def test_with_host_routing_a_route_says_its_host(self) -> None:
        hub = PlayedHub(store.Manner(host_routing=True))
        hub.call("POST", "/ann.hub.org/user/ann", {"target": TARGET})
        assert hub.call("GET", "/ann.hub.org/user/ann").json["host"] == "ann.hub.org"
        hub.ask(b"GET /user/ann/", b"Host: Ann.hub.org:8000")
        assert hub.accept()[0].port == 8001
        elsewhere = hub.ask(b"GET /user/ann/", b"Host: bob.hub.org")
        assert elsewhere.hear().startswith(b"HTTP/1.1 404 ")


class TestActivity:
    def test_only_those_that_are_idle_since_then(self, hub: PlayedHub) -> None:
        hub.call("DELETE", "/")
        hub.call("POST", "/yesterday", {"target": TARGET})
        hub.wait(3600)
        hub.call("POST", "/today", {"target": TARGET})
        hub.wait(10)
        today = hub.call("GET", "/today").json["last_activity"]
        yesterday = hub.call("GET", "/yesterday").json["last_activity"]
        assert hub.call("GET", f"?inactiveSince={yesterday}").json == {}
        assert list(hub.call("GET", f"?inactive_since={today}").json) == ["/yesterday"]
        later = hub.call("GET", "?inactiveSince=2100-01-01T00:00:00Z").json
        assert list(later) == ["/yesterday", "/today"]
        assert hub.call("GET", "?inactiveSince=endoftheuniverse").status == 400


class TestStrangers:
    @pytest.mark.parametrize(
        "authorization", [b"", b"token", b"token wrong", b"Bearer secret", b"token secretx"]
    )
    @pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
    def test_without_the_token_nothing_is_told_or_changed(
        self, hub: PlayedHub, method: str, authorization: bytes
    ) -> None:
        answer = hub.call(method, "/", {"target": TARGET}, authorization=authorization)
        assert (answer.status, answer.body) == (403, b"")
        assert hub.call("GET").json["/"]["target"] == "http://127.0.0.1:9000"

    def test_a_body_is_bounded(self, hub: PlayedHub) -> None:
        long = b'{"target": "http://127.0.0.1:1", "x": "%b"}' % (b"x" * api.LONGEST_BODY)
        assert hub.call("POST", "/long", raw=long).status == 413
        assert hub.call("GET", "/long").status == 404

    def test_the_number_of_routes_is_bounded(
        self, hub: PlayedHub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store, "MOST_ROUTES", 3)
        statuses = [hub.call("POST", f"/{n}", {"target": TARGET}).status for n in range(4)]
        assert statuses == [201, 201, 507, 507]
        assert hub.call("POST", "/0", {"target": "http://127.0.0.1:2"}).status == 201

    def test_the_proxys_own_pages_are_nobodys(self, hub: PlayedHub) -> None:
        assert hub.call("POST", "/_ipyproxy/x", {"target": TARGET}).status == 400

    def test_nobody_gets_to_the_api_by_the_public_side(self, hub: PlayedHub) -> None:
        browser = hub.ask(b"GET /api/routes", b"Host: hub.org", b"Authorization: token secret")
        address, wire = hub.accept()
        assert address.port == 9000
        hub.tell(wire, OK)
        assert browser.hear().endswith(b"ok")
