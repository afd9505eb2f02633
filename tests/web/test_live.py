"""Routes that come and go while the proxy runs: who gets there, and what ends with a route."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ipyproxy.daemon.live import RouteRefusedError
from ipyproxy.encoding.store import Entry, Key
from ipyproxy.net.address import TCPAddress
from ipyproxy.routes.route import Application, Route, Server
from tests.front import Browser
from tests.gateway.hall import HANDSHAKE, HELLO, HELLO_MASKED, Head, accept_for
from tests.web.gate import message
from tests.web.routed import Routed
from tests.wires import Wire

PLAIN = """
    health.mode = "off"
    site.hosts = ["example.org", "files.example.org"]

    [[routes]]
    path = "/static"
    to = "http://127.0.0.1:9001"

    [[routes]]
    host = "files.example.org"
    path = "/"
    to = "http://127.0.0.1:9002"
"""
WITHOUT_STATIC = PLAIN.replace("/static", "/other").replace("9001", "9003")
HERE = b"Host: example.org"
OK = message(b"HTTP/1.1 200 OK", b"Content-Length: 2", body=b"ok")


def server(port: int) -> Server:
    return Server(f"http://10.0.0.1:{port}", TCPAddress("10.0.0.1", port))


def put(proxy: Routed, path: str, port: int, host: str = "", **more: Any) -> None:
    destination = Application((server(port),), below=more.pop("below", b""))
    route = Route(destination, host, path, **more)
    proxy.components.live.put(host.encode(), path.encode(), route)


def remove(proxy: Routed, path: str, host: str = "") -> None:
    proxy.components.live.remove(host.encode(), path.encode())


@pytest.fixture
def proxy() -> Routed:
    return Routed(PLAIN)


def ask(proxy: Routed, start: bytes, *lines: bytes) -> Browser:
    browser = proxy.connect()
    browser.wire.say(message(start + b" HTTP/1.1", *(lines or (HERE,))))
    proxy.loop.settle()
    return browser


def asked(proxy: Routed, start: bytes, *lines: bytes) -> tuple[int, bytes, Browser, Wire]:
    """Where a request goes, its target there, and both ends."""
    browser = ask(proxy, start, *lines)
    address, wire = proxy.accept()
    return address.port, wire.hear().split(b" ")[1], browser, wire


def goes_to(proxy: Routed, path: bytes, *lines: bytes) -> tuple[int, bytes]:
    port, target, browser, wire = asked(proxy, b"GET " + path, *lines)
    proxy.tell(wire, OK)
    assert browser.hear().startswith(b"HTTP/1.1 200 OK")
    wire.hang_up()
    proxy.loop.settle()
    return port, target


def open_bridge(proxy: Routed, path: bytes) -> tuple[Browser, Wire]:
    browser = ask(proxy, b"GET " + path, HERE, *HANDSHAKE)
    _, wire = proxy.accept()
    accept = b"Sec-WebSocket-Accept: " + accept_for(Head(wire.hear()).one(b"sec-websocket-key"))
    switch = (b"Upgrade: websocket", b"Connection: Upgrade", accept)
    proxy.tell(wire, message(b"HTTP/1.1 101 Switching Protocols", *switch))
    assert browser.hear().startswith(b"HTTP/1.1 101 ")
    return browser, wire


class TestWhereRequestsGo:
    def test_the_longest_route_counts(self, proxy: Routed) -> None:
        for path, port in ("/", 1), ("/user/ann", 2), ("/user/ann/lab", 3):
            put(proxy, path, port)
        assert goes_to(proxy, b"/hub/login") == (1, b"/hub/login")
        assert goes_to(proxy, b"/user/ann") == (2, b"/user/ann")
        assert goes_to(proxy, b"/user/ann/tree?x=1") == (2, b"/user/ann/tree?x=1")
        assert goes_to(proxy, b"/user/ann/lab/") == (3, b"/user/ann/lab/")
        assert goes_to(proxy, b"/user/anna/lab") == (1, b"/user/anna/lab")

    def test_paths_are_compared_decoded_and_go_on_as_they_came(self, proxy: Routed) -> None:
        put(proxy, "/", 1)
        put(proxy, "/user/has@", 2)
        put(proxy, "/user/秀樹", 3)
        put(proxy, "/user/a;b", 4)
        assert goes_to(proxy, b"/user/has@/x") == (2, b"/user/has@/x")
        assert goes_to(proxy, b"/user/has%40/%2Fx") == (2, b"/user/has%40/%2Fx")
        assert goes_to(proxy, b"/user/%E7%A7%80%E6%A8%B9/x")[0] == 3
        assert goes_to(proxy, b"/user/a%3Bb/x") == (4, b"/user/a%3Bb/x")

    def test_no_route_is_climbed_out_of(self, proxy: Routed) -> None:
        put(proxy, "/user/ann", 2)
        for path in b"/user/ann/../bob", b"/user/ann/%2e%2e/bob", b"/user/ann/..%2fbob":
            assert ask(proxy, b"GET " + path).hear().startswith(b"HTTP/1.1 400 ")

    def test_a_prefix_may_be_taken_off_however_it_is_spelled(self, proxy: Routed) -> None:
        put(proxy, "/user/has@", 2, strip=True)
        put(proxy, "/tool", 3, below=b"/base")
        put(proxy, "/both", 4, strip=True, below=b"/base")
        assert goes_to(proxy, b"/user/has@/x?y") == (2, b"/x?y")
        assert goes_to(proxy, b"/user/has%40/x%40") == (2, b"/x%40")
        assert goes_to(proxy, b"/%75ser/has%40") == (2, b"/")
        assert goes_to(proxy, b"/user/has@?y") == (2, b"/?y")
        for path in b"/user/has@//x", b"/user/has%40//x", b"/%75ser/has@//x":
            assert ask(proxy, b"GET " + path).hear().startswith(b"HTTP/1.1 400 ")
        assert goes_to(proxy, b"/tool/x") == (3, b"/base/tool/x")
        assert goes_to(proxy, b"/both/x") == (4, b"/base/x")

    def test_two_slashes_behind_a_prefix_that_is_taken_off_are_refused(self, proxy: Routed) -> None:
        put(proxy, "/user/has@", 2, strip=True)
        for path in b"/user/has@//x", b"/user/has%40//x":
            assert ask(proxy, b"GET " + path).hear().startswith(b"HTTP/1.1 400 ")

    @pytest.mark.parametrize(
        "path", [b"/user/ann/%61dmin", b"/user/ann//admin", b"/user/ann;x/admin"]
    )
    def test_no_rule_is_gone_round_by_another_spelling(self, tmp_path: Path, path: bytes) -> None:
        (tmp_path / "users").write_text("")
        proxy = Routed(
            f"""{PLAIN}
            [auth]
            htpasswd = "{tmp_path}/users"
            rules = [{{ path = "/user/ann/admin", require = "htpasswd" }}]
            """
        )
        put(proxy, "/user/ann", 2)
        put(proxy, "/", 1)
        assert goes_to(proxy, b"/user/ann//lab;x") == (2, b"/user/ann//lab;x")
        assert ask(proxy, b"GET " + path).hear().startswith(b"HTTP/1.1 400 ")

    def test_between_the_configuration_and_a_live_route_the_closer_one_counts(
        self, proxy: Routed
    ) -> None:
        assert b"200" in ask(proxy, b"GET /").hear()
        put(proxy, "/", 1)
        put(proxy, "/static", 2)
        put(proxy, "/static/deep", 3)
        assert goes_to(proxy, b"/")[0] == 1, "the proxy's own front page gives way"
        assert goes_to(proxy, b"/static/x")[0] == 9001
        assert goes_to(proxy, b"/static/deep/x")[0] == 3
        files = b"Host: files.example.org"
        assert goes_to(proxy, b"/static/deep/x", files)[0] == 9002, "a host of its own"
        put(proxy, "/x", 4, host="files.example.org")
        assert goes_to(proxy, b"/x", files)[0] == 4

    def test_notebooks_and_own_pages_stay_where_they_are(self, proxy: Routed) -> None:
        put(proxy, "/", 1)
        put(proxy, "/", 2, host="example.org")
        assert goes_to(proxy, b"/x")[0] == 2
        browser = ask(proxy, b"GET /_ipyproxy/alive")
        assert not proxy.dialler.attempts
        assert not browser.hear().startswith(b"HTTP/1.1 5")
        remove(proxy, "/", host="example.org")
        ask(proxy, b"GET /ipython/10000/")
        assert proxy.accept()[0].port == 10000
        with pytest.raises(RouteRefusedError):
            put(proxy, "/_ipyproxy/status", 3)

    def test_a_reload_keeps_live_routes(self, proxy: Routed) -> None:
        put(proxy, "/user/ann", 2)
        browser, wire = open_bridge(proxy, b"/user/ann/ws")
        proxy.reload(WITHOUT_STATIC)
        assert goes_to(proxy, b"/user/ann/")[0] == 2
        browser.say(HELLO_MASKED)
        assert wire.hear() == HELLO_MASKED
        remove(proxy, "/user/ann")
        assert ask(proxy, b"GET /user/ann/").hear().startswith(b"HTTP/1.1 404 ")


class TestTheEndOfARoute:
    def test_its_websockets_end_without_a_close_frame_and_are_told_of(self, proxy: Routed) -> None:
        put(proxy, "/user/ann", 2)
        browser, wire = open_bridge(proxy, b"/user/ann/ws")
        remove(proxy, "/user/ann")
        proxy.loop.settle()
        assert browser.hear() == b""
        assert browser.wire.has_ended
        browser.hang_up()
        wire.hang_up()
        proxy.wait(2)
        assert "close 1006" in proxy.log[-1][2]
        assert "route removed" in proxy.log[-1][2]
        assert proxy.components.bridges.ended["route removed"] == 1

    def test_another_target_ends_those_of_the_old_one_even_where_the_server_stays(
        self, proxy: Routed
    ) -> None:
        put(proxy, "/user/ann", 2)
        put(proxy, "/user/bob", 2)
        anns, _ = open_bridge(proxy, b"/user/ann/ws")
        bobs, at_bob = open_bridge(proxy, b"/user/bob/ws")
        put(proxy, "/user/ann", 3)
        anns.hear()
        assert anns.wire.has_ended
        bobs.say(HELLO_MASKED)
        assert at_bob.hear() == HELLO_MASKED
        proxy.tell(at_bob, HELLO)
        assert bobs.hear() == HELLO
        assert goes_to(proxy, b"/user/ann/")[0] == 3

    def test_the_same_target_again_ends_nothing(self, proxy: Routed) -> None:
        put(proxy, "/user/ann", 2)
        browser, wire = open_bridge(proxy, b"/user/ann/ws")
        put(proxy, "/user/ann", 2)
        browser.say(HELLO_MASKED)
        assert wire.hear() == HELLO_MASKED
        assert proxy.components.live.count == 1

    def test_a_websocket_that_opens_meanwhile_ends_as_well(self, proxy: Routed) -> None:
        put(proxy, "/user/ann", 2)
        browser = ask(proxy, b"GET /user/ann/ws", HERE, *HANDSHAKE)
        _, wire = proxy.accept()
        key = Head(wire.hear()).one(b"sec-websocket-key")
        remove(proxy, "/user/ann")
        accept = b"Sec-WebSocket-Accept: " + accept_for(key)
        switch = (b"Upgrade: websocket", b"Connection: Upgrade", accept)
        proxy.tell(wire, message(b"HTTP/1.1 101 Switching Protocols", *switch))
        browser.hear()
        assert browser.wire.has_ended

    def test_a_request_under_way_is_answered(self, proxy: Routed) -> None:
        put(proxy, "/user/ann", 2)
        _, _, browser, wire = asked(proxy, b"GET /user/ann/save")
        remove(proxy, "/user/ann")
        proxy.wait(20)
        proxy.tell(wire, OK)
        assert browser.hear().endswith(b"ok")
        proxy.wait(2)
        assert wire.is_closed, "and the connection is used for nothing else"
        assert proxy.is_at_rest

    def test_but_not_for_ever(self, proxy: Routed) -> None:
        put(proxy, "/user/ann", 2)
        _, _, browser, wire = asked(proxy, b"GET /user/ann/events")
        proxy.tell(wire, message(b"HTTP/1.1 200 OK", b"Content-Type: text/event-stream"))
        assert browser.hear().startswith(b"HTTP/1.1 200")
        remove(proxy, "/user/ann")
        for _ in range(5):
            proxy.wait(8)
            if not wire.is_closed:
                proxy.tell(wire, b"data: x\n\n")
        assert wire.is_closed
        assert browser.wire.is_closed
        assert proxy.is_at_rest

    def test_nothing_is_remembered_of_the_server(self, proxy: Routed) -> None:
        made = proxy.components
        put(proxy, "/user/ann", 2)
        put(proxy, "/lab", 2)
        assert not [one for one in made.upstreams.all() if "10.0.0.1" in one.name], "not used yet"
        _, _, browser, wire = asked(proxy, b"GET /user/ann/")
        proxy.tell(wire, OK)
        ask(proxy, b"GET /lab")
        assert wire.hear().startswith(b"GET /lab "), "on the same connection"
        proxy.tell(wire, OK)
        upstream = proxy.upstream("http://10.0.0.1:2")
        upstream.is_known = True
        made.statistics.add(upstream, 200, 0.1, 1, 2)
        before = sum(tally.requests for tally in made.statistics.tallies.values())
        remove(proxy, "/user/ann")
        assert upstream in made.statistics.tallies
        remove(proxy, "/lab")
        proxy.wait(1)
        assert set(made.statistics.tallies) == {None}
        assert made.statistics.tallies[None].requests == before
        assert not [one for one in made.upstreams.all() if "10.0.0.1" in one.name]
        assert not made.upstreams.retired
        assert wire.is_closed
        assert browser.is_connected

    def test_an_application_that_a_reload_removes_goes_in_the_same_way(self, proxy: Routed) -> None:
        made = proxy.components
        browser, wire = open_bridge(proxy, b"/static/ws")
        kept, *_ = [one for one in made.upstreams.all() if one.name.endswith("9001")]
        kept.is_known = True
        made.statistics.add(kept, 200, 0.1, 1, 2)
        key = Key(b"https://example.org", b"/static/x", b"gzip")
        assert made.compression.store.put(kept, Entry(key, b"", b"", b"x", 1))
        proxy.reload(WITHOUT_STATIC)
        proxy.loop.settle()
        assert browser.wire.has_ended
        assert kept not in made.statistics.tallies
        assert not made.compression.store.has_any_of(kept)
        browser.hang_up()
        wire.hang_up()
        proxy.wait(2)
        assert kept not in made.upstreams.retired
        assert sorted(one.name[-4:] for one in made.upstreams.all()) == ["9002", "9003"]
