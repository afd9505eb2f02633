"""What browsers of a hub get, and what of it counts as activity."""

from __future__ import annotations

import errno
import json
from typing import Any

import pytest

from ipyproxy.http.rewriting import Redirects
from ipyproxy.hub.errorpages import OTHERS
from ipyproxy.hub.store import Manner
from tests.gateway.hall import HANDSHAKE, HELLO_MASKED, Head, accept_for
from tests.hub.played import OK, TARGET, PlayedHub
from tests.web.gate import head_of, message
from tests.wires import Wire

HERE = b"Host: hub.org"
PING_MASKED = b"\x89\x80\x00\x00\x00\x00"


@pytest.fixture
def hub() -> PlayedHub:
    played = PlayedHub()
    played.routes.add("/", {"target": TARGET})
    return played


def with_manner(**manner: Any) -> PlayedHub:
    return PlayedHub(Manner(**manner))


def asked(hub: PlayedHub, start: bytes, *lines: bytes) -> tuple[Any, Head, Any, Wire]:
    browser = hub.ask(start, *lines)
    address, wire = hub.accept()
    return address, Head(wire.hear()), browser, wire


def target_of(hub: PlayedHub, path: bytes) -> bytes:
    hub.ask(b"GET " + path)
    _, wire = hub.accept()
    return wire.hear().split(b" ")[1]


class TestTargets:
    @pytest.mark.parametrize(
        ("manner", "target"),
        [
            ({}, b"/foo/bar/rest/of/it?q"),
            ({"prepends": False}, b"/bar/rest/of/it?q"),
            ({"keeps_prefix": False}, b"/foo/rest/of/it?q"),
            ({"keeps_prefix": False, "prepends": False}, b"/rest/of/it?q"),
        ],
    )
    def test_paths_of_targets_and_routes(self, manner: dict[str, bool], target: bytes) -> None:
        hub = with_manner(**manner)
        hub.routes.add("/bar", {"target": TARGET + "/foo"})
        assert target_of(hub, b"/bar/rest/of/it?q") == target

    def test_no_host_can_be_read_where_the_path_was_taken_off(self) -> None:
        hub = with_manner(keeps_prefix=False, prepends=False)
        hub.routes.add("/b@r", {"target": TARGET})
        for path in b"/b@r//evil.example", b"/b%40r//evil.example":
            assert hub.ask(b"GET " + path).hear().startswith(b"HTTP/1.1 400 ")

    def test_what_is_encoded_stays_so(self, hub: PlayedHub) -> None:
        hub.routes.add("/b@r/b r", {"target": "http://127.0.0.1:2/foo"})
        for path in b"/b%40r/b%20r/rest", b"/b@r/b%20r/rest":
            assert target_of(hub, path) == b"/foo" + path

    def test_a_target_may_be_anywhere_and_a_socket(self, hub: PlayedHub) -> None:
        hub.routes.add("/far", {"target": "http://192.0.2.9:7"})
        hub.routes.add("/unix", {"target": "http+unix://%2Ftmp%2Fx"})
        hub.ask(b"GET /far")
        assert hub.accept()[0] == ("192.0.2.9", 7)
        hub.ask(b"GET /unix")
        assert hub.accept()[0] == ("/tmp/x",)


class TestWhatServersHear:
    def test_host_and_origin_are_the_browsers(self, hub: PlayedHub) -> None:
        origin = b"Origin: http://elsewhere.org"
        _, head, _, _ = asked(hub, b"GET /x", b"Host: hub.org:8000", origin)
        assert head.all(b"host") == [b"hub.org:8000"]
        assert head.all(b"origin") == [b"http://elsewhere.org"]
        assert head.all(b"x-forwarded-proto") == [b"http"]
        assert head.all(b"x-forwarded-port") == [b"8000"]

    def test_only_a_trusted_proxy_is_believed(self) -> None:
        said = b"X-Forwarded-Proto: https"
        hub = PlayedHub()
        hub.routes.add("/", {"target": TARGET})
        _, head, _, _ = asked(hub, b"GET /x", HERE, said, b"X-Forwarded-For: 198.51.100.9")
        assert head.all(b"x-forwarded-proto") == [b"http"]
        assert b"198.51.100.9" not in head.all(b"x-forwarded-for")[0]

    def test_nothing_of_that_and_fields_of_the_administrator(self) -> None:
        hub = with_manner(tells=False, sent=(b"k1: v1",))
        hub.routes.add("/", {"target": TARGET})
        _, head, _, _ = asked(hub, b"GET /x", HERE, b"K1: forged")
        assert head.all(b"k1") == [b"v1"]
        assert not head.all(b"x-forwarded-for")
        assert not head.all(b"x-forwarded-proto")

    @pytest.mark.parametrize(
        ("redirects", "location", "told"),
        [
            (None, b"http://127.0.0.1:8001/x", b"http://127.0.0.1:8001/x"),
            (Redirects(True, b""), b"http://127.0.0.1:8001/x", b"http://hub.org/x"),
            (Redirects(True, b"https"), b"http://127.0.0.1:8001/x", b"https://hub.org/x"),
            (Redirects(True, b"https"), b"http://foo.com:12345/x", b"http://foo.com:12345/x"),
        ],
    )
    def test_location(
        self,
        redirects: Redirects | None,
        location: bytes,
        told: bytes,
    ) -> None:
        hub = with_manner(redirects=redirects)
        hub.routes.add("/", {"target": TARGET})
        _, _, browser, wire = asked(hub, b"GET /x")
        answer = message(b"HTTP/1.1 302 Found", b"Location: " + location, b"Content-Length: 0")
        hub.tell(wire, answer)
        assert b"Location: " + told in head_of(browser.hear())[1]


class TestErrors:
    def test_no_route_is_404_and_no_server_503(self, hub: PlayedHub) -> None:
        hub.routes.remove("/")
        hub.routes.add("/missing", {"target": "http://127.0.0.1:54321"})
        assert hub.ask(b"GET /nope").hear().startswith(b"HTTP/1.1 404 ")
        browser = hub.ask(b"GET /missing/x")
        hub.dialler.next().fail(errno.ECONNREFUSED)
        assert browser.hear().startswith(b"HTTP/1.1 503 ")

    def test_one_that_hangs_up_is_503(self, hub: PlayedHub) -> None:
        _, _, browser, wire = asked(hub, b"POST /x", HERE, b"Content-Length: 0")
        wire.hang_up()
        assert browser.hear().startswith(b"HTTP/1.1 503 ")

    def test_pages_from_files(self) -> None:
        hub = PlayedHub(files={404: b"mine", OTHERS: b"unknown"})
        hub.routes.add("/missing", {"target": TARGET})
        heard = hub.ask(b"GET /nope").hear()
        assert heard.startswith(b"HTTP/1.1 404 ")
        assert heard.endswith(b"mine")
        browser = hub.ask(b"GET /missing")
        hub.dialler.next().fail(errno.ECONNREFUSED)
        assert browser.hear().endswith(b"unknown")

    def test_a_websocket_gets_a_status_and_nothing_else(self, hub: PlayedHub) -> None:
        hub.routes.remove("/")
        heard = hub.ask(b"GET /nope", HERE, *HANDSHAKE).hear()
        assert heard.startswith(b"HTTP/1.1 404 ")
        assert b"Content-Length: 0\r\n" in heard
        assert heard.endswith(b"\r\n\r\n")

    def test_health(self, hub: PlayedHub) -> None:
        heard = hub.ask(b"GET /_chp_healthz").hear()
        assert json.loads(heard.partition(b"\r\n\r\n")[2]) == {"status": "OK"}


class TestActivity:
    def told(self, hub: PlayedHub) -> tuple[str, str | None]:
        told = hub.routes.get("/")
        assert told is not None
        return told["last_activity"], told["last_activity_person"]

    def answer(self, hub: PlayedHub, start: bytes, answer: bytes, *lines: bytes) -> None:
        _, _, browser, wire = asked(hub, start, HERE, *lines)
        hub.tell(wire, answer)
        browser.hear()
        wire.hang_up()
        hub.loop.settle()

    def test_an_answer_is_and_a_refusal_is_not(self, hub: PlayedHub) -> None:
        before = self.told(hub)
        hub.wait(10)
        for status in b"302 Found", b"403 Forbidden", b"500 Oops":
            self.answer(hub, b"GET /x", message(b"HTTP/1.1 " + status, b"Content-Length: 0"))
        browser = hub.ask(b"GET /x")
        hub.dialler.next().fail(errno.ECONNREFUSED)
        browser.hear()
        assert self.told(hub) == before
        self.answer(hub, b"GET /x", OK)
        assert self.told(hub)[0] > before[0]

    @pytest.mark.parametrize(
        ("start", "lines", "by_person"),
        [
            (b"GET /lab/api/sessions", (), False),
            (b"GET /lab", (b"Accept: text/html,*/*", b"Sec-Fetch-Mode: navigate"), True),
            (b"GET /frame", (b"Accept: text/html", b"Sec-Fetch-Dest: iframe"), False),
            (b"GET /api/kernels", (b"Sec-Fetch-Mode: cors",), False),
            (b"POST /api/sessions", (b"Content-Length: 0",), True),
            (b"POST /api/x?no_track_activity=1", (b"Content-Length: 0",), False),
        ],
    )
    def test_what_a_person_does(
        self, hub: PlayedHub, start: bytes, lines: tuple[bytes, ...], by_person: bool
    ) -> None:
        self.answer(hub, start, OK, *lines)
        assert (self.told(hub)[1] is not None) is by_person

    def test_a_stranger_is_no_person(self, hub: PlayedHub) -> None:
        refused = message(b"HTTP/1.1 403 Forbidden", b"Content-Length: 0")
        self.answer(hub, b"POST /x", refused, b"Content-Length: 0")
        assert self.told(hub)[1] is None

    def test_on_a_websocket_pings_are_activity_but_no_person(self, hub: PlayedHub) -> None:
        _, head, browser, wire = asked(hub, b"GET /ws", HERE, *HANDSHAKE)
        accept = b"Sec-WebSocket-Accept: " + accept_for(head.one(b"sec-websocket-key"))
        switch = (b"Upgrade: websocket", b"Connection: Upgrade", accept)
        hub.tell(wire, message(b"HTTP/1.1 101 Switching Protocols", *switch))
        browser.hear()
        hub.wait(30)
        first = self.told(hub)
        hub.wait(5)
        browser.say(PING_MASKED)
        hub.wait(5)
        second = self.told(hub)
        assert second[0] > first[0]
        assert second[1] is None
        browser.say(HELLO_MASKED)
        hub.wait(5)
        assert self.told(hub)[1] is not None

    def test_what_was_kept_comes_back_with_its_dates(self, hub: PlayedHub) -> None:
        self.answer(hub, b"POST /x", OK, b"Content-Length: 0")
        hub.routes.add("/user/ann", {"target": TARGET, "jupyterhub": True})
        kept = hub.call("GET").json
        other = PlayedHub()
        other.wait(100)
        other.routes.add("/user/ann", {"target": "http://127.0.0.1:1"})
        kept["/broken"] = {"target": 7}
        assert other.routes.restore(kept) == 1
        told = other.routes.get("/")
        assert told is not None
        assert told["last_activity"] == kept["/"]["last_activity"]
        assert told["last_activity_person"] == kept["/"]["last_activity_person"]
        said = other.routes.get("/user/ann")
        assert said is not None
        assert said["target"] == "http://127.0.0.1:1", "what the hub has said since counts"


def test_figures_have_the_names_of_configurable_http_proxy(hub: PlayedHub) -> None:
    hub.call("POST", "/a", {"target": TARGET})
    hub.call("GET")
    hub.call("DELETE", "/a")
    hub.ask(b"GET /x")
    lines = hub.figures.exposed().decode().splitlines()
    for line in (
        "api_route_get 1",
        "api_route_add 1",
        "api_route_delete 1",
        "requests_web 1",
        "requests_ws 0",
        "find_target_for_req_count 1",
        'requests_api{status="201"} 1',
        'requests_api{status="204"} 1',
    ):
        assert line in lines
