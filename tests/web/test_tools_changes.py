"""WebSockets of Galaxy's tools, and what becomes of what is open when the map changes."""

from __future__ import annotations

import pytest

from ipyproxy.galaxy.entries import Row, entry_of
from ipyproxy.net.address import TCPAddress
from tests.front import Browser
from tests.gateway.hall import HANDSHAKE, HELLO, HELLO_MASKED, Head, accept_for
from tests.web.gate import message
from tests.web.routed import Routed
from tests.web.toolhost import GALAXY, HOST, OWN, PATH, ask, hold, reached, refused, row
from tests.wires import Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


@pytest.fixture
def host() -> Routed:
    made = Routed(HOST)
    hold(made, row())
    return made


def bridged(host: Routed, start: bytes, *lines: bytes) -> tuple[Browser, Wire]:
    """A WebSocket that is open."""
    browser = ask(host, start, *lines, *HANDSHAKE)
    _, wire = host.accept()
    key = Head(wire.hear()).one(b"sec-websocket-key")
    accept = b"Sec-WebSocket-Accept: " + accept_for(key)
    said = b"HTTP/1.1 101 Switching Protocols"
    host.tell(wire, message(said, b"Connection: Upgrade", b"Upgrade: websocket", accept))
    assert browser.hear().startswith(said)
    return browser, wire


def ended(browser: Browser) -> bool:
    """Whether the WebSocket was cut off, without another word."""
    return browser.hear() == b"" and browser.wire.has_ended


class TestWebSockets:
    @pytest.mark.parametrize(("start", "name"), [(b"GET %b/ws" % PATH, GALAXY), (b"GET /ws", OWN)])
    def test_frames_pass(self, host: Routed, start: bytes, name: bytes) -> None:
        browser, wire = bridged(host, start, name)
        browser.say(HELLO_MASKED)
        assert wire.hear() == HELLO_MASKED
        host.tell(wire, HELLO)
        assert browser.hear() == HELLO

    def test_none_without_the_token(self, host: Routed) -> None:
        target = PATH.replace(b"t0k3n", b"guess")
        assert refused(host, b"GET " + target, GALAXY, *HANDSHAKE) == 404


class TestWhenTheMapChanges:
    def test_a_tool_that_is_gone_is_gone_at_once(self, host: Routed) -> None:
        hold(host, row(), row("def"))
        browser, _ = bridged(host, b"GET %b/ws" % PATH, GALAXY)
        other, wire = bridged(host, b"GET /interactivetool/ep/def/t0k3n/ws", GALAXY)
        hold(host, row("def"))
        assert ended(browser)  # no close frame: a page tries again, and is told
        assert refused(host, b"GET %b/" % PATH, GALAXY) == 404
        other.say(HELLO_MASKED)
        assert wire.hear() == HELLO_MASKED

    def test_so_it_is_where_only_the_change_is_told(self, host: Routed) -> None:
        hold(host, row(), row("def"))
        browser, _ = bridged(host, b"GET %b/ws" % PATH, GALAXY)
        other, wire = bridged(host, b"GET /interactivetool/ep/def/t0k3n/ws", GALAXY)
        host.components.galaxy.change({"abc": None, "def": entry_of(row("def")), "xyz": None})
        host.loop.settle()
        assert ended(browser)
        assert refused(host, b"GET %b/" % PATH, GALAXY) == 404
        other.say(HELLO_MASKED)
        assert wire.hear() == HELLO_MASKED
        host.components.galaxy.change({"abc": entry_of(row(port=9999))})
        address, _ = reached(host, b"GET %b/" % PATH, GALAXY)
        assert address == TCPAddress("10.1.0.22", 9999)

    @pytest.mark.parametrize("other", [row(token="n3w"), row(port=9999), row(host="10.1.0.23")])
    def test_so_is_one_that_is_another_now(self, host: Routed, other: Row) -> None:
        browser, _ = bridged(host, b"GET %b/ws" % PATH, GALAXY)
        hold(host, other)
        assert ended(browser)
        address, _ = reached(
            host, b"GET /interactivetool/ep/abc/%b/" % other.token.encode(), GALAXY
        )
        assert address == TCPAddress(other.host, other.port)

    def test_nothing_ends_while_nothing_changes(self, host: Routed) -> None:
        browser, wire = bridged(host, b"GET %b/ws" % PATH, GALAXY)
        hold(host, row("new"), row())
        host.reload(HOST)
        browser.say(HELLO_MASKED)
        assert wire.hear() == HELLO_MASKED

    def test_a_connection_to_who_was_there_before_is_not_used_again(self, host: Routed) -> None:
        browser = ask(host, b"GET %b/" % PATH, GALAXY)
        host.tell(host.accept()[1], OK)
        assert browser.hear().endswith(b"hi")
        hold(host)
        hold(host, row())
        reached(host, b"GET %b/" % PATH, GALAXY)  # by a new one

    def test_a_request_that_was_for_who_was_there_before_is_sent_to_nobody(
        self, host: Routed
    ) -> None:
        browser = ask(host, b"GET %b/" % PATH, GALAXY)
        hold(host, row("new", token="n3w"))  # which has the address now
        _, wire = host.accept()
        assert wire.hear() == b""
        assert wire.is_closed
        assert browser.hear().startswith(b"HTTP/1.1 50")

    def test_networks_that_are_allowed_no_more(self, host: Routed) -> None:
        browser, _ = bridged(host, b"GET %b/ws" % PATH, GALAXY)
        host.reload(HOST.replace(', "10.1.0.0/16"', ""))
        assert ended(browser)
        assert refused(host, b"GET %b/" % PATH, GALAXY) == 404

    def test_no_map_any_more(self, host: Routed) -> None:
        browser, _ = bridged(host, b"GET %b/ws" % PATH, GALAXY)
        host.reload(HOST.replace('map = "/srv/galaxy/map.sqlite"', ""))
        assert ended(browser)
        address, _ = reached(host, b"GET %b/" % PATH, GALAXY)
        assert str(address) == "unix:/srv/gunicorn.sock"

    def test_nothing_is_left_of_ten_thousand_that_come_and_go(self, host: Routed) -> None:
        for number in range(1000):
            rows = [row(f"k{number}x{at}") for at in range(10)]
            hold(host, *rows)
            if number % 50 == 0:
                target = b"GET /interactivetool/ep/k%dx3/t0k3n/" % number
                browser = ask(host, target, GALAXY)
                host.tell(host.accept()[1], OK)
                assert browser.hear().endswith(b"hi")
                browser.hang_up()
        hold(host)
        host.wait(60)
        assert [str(one) for one in host.components.upstreams.all()] == ["unix:/srv/gunicorn.sock"]
        assert not list(host.components.galaxy.used)
        assert host.is_at_rest
