"""Galaxy's interactive tools, in path mode and at hosts of their own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.web.http_headers import Headers

from ipyproxy.galaxy.entries import KEY_TYPE, Reader, Row, entry_of
from ipyproxy.net.address import TCPAddress
from tests.front import Browser
from tests.galaxy.writing import info
from tests.gateway.hall import HANDSHAKE, HELLO, HELLO_MASKED, Head, accept_for
from tests.web.gate import message
from tests.web.routed import Routed
from tests.wires import Wire

HOST = """
    health.mode = "off"
    site.hosts = ["galaxy.example.org"]

    [galaxy]
    map = "/srv/galaxy/map.sqlite"
    host = "galaxy.example.org"
    networks = ["127.0.0.0/8", "10.1.0.0/16"]

    [[routes]]
    host = "galaxy.example.org"
    to = "unix:/srv/gunicorn.sock"
"""
GALAXY = b"Host: galaxy.example.org"
OWN = b"Host: abc-t0k3n.ep.interactivetool.galaxy.example.org"
PATH = b"/interactivetool/ep/abc/t0k3n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def row(key: str = "abc", token: str = "t0k3n", host: str = "10.1.0.22", **told: Any) -> Row:
    return Row(key, KEY_TYPE, token, host, told.pop("port", 8888), info(**told))


def hold(host: Routed, *rows: Row) -> None:
    """The map holds these rows now."""
    host.components.galaxy.take(Reader().read(rows))
    host.loop.settle()


@pytest.fixture
def host() -> Routed:
    made = Routed(HOST)
    hold(made, row())
    return made


def ask(host: Routed, start: bytes, *lines: bytes) -> Browser:
    browser = host.connect()
    browser.wire.say(message(start + b" HTTP/1.1", *lines))
    host.loop.settle()
    return browser


def reached(host: Routed, start: bytes, *lines: bytes) -> tuple[Any, bytes]:
    """Where a request arrives, and as what."""
    ask(host, start, *lines)
    address, wire = host.accept()
    return address, wire.hear()


def refused(host: Routed, start: bytes, *lines: bytes) -> int:
    """The status of a request for which nothing is dialled."""
    browser = ask(host, start, *lines)
    assert not host.dialler.attempts
    return int(browser.hear().split(b" ")[1])


class TestWhereARequestGoes:
    def test_by_the_path_which_is_taken_off(self, host: Routed) -> None:
        address, said = reached(host, b"GET %b/lab?a=%%2Fb" % PATH, GALAXY)
        assert address == TCPAddress("10.1.0.22", 8888)
        assert said.startswith(b"GET /lab?a=%2Fb HTTP/1.1\r\n")
        assert b"\r\nX-Forwarded-Prefix: %b\r\n" % PATH in said

    @pytest.mark.parametrize(
        ("asked", "got"),
        [(b"", b"/"), (b"?a=b", b"/?a=b"), (b"/", b"/"), (b"//a", b""), (b"/%2e", b"")],
    )
    def test_whatever_is_behind_the_token(self, host: Routed, asked: bytes, got: bytes) -> None:
        if not got:
            assert refused(host, b"GET " + PATH + asked, GALAXY) == 400
        else:
            _, said = reached(host, b"GET " + PATH + asked, GALAXY)
            assert said.startswith(b"GET %b HTTP/1.1\r\n" % got)

    def test_by_the_path_which_the_tool_needs(self, host: Routed) -> None:
        hold(host, row(path=True))
        _, said = reached(host, b"GET %b/lab" % PATH, GALAXY)
        assert said.startswith(b"GET %b/lab HTTP/1.1\r\n" % PATH)
        assert b"X-Forwarded-Prefix" not in said

    def test_the_path_in_the_header_that_the_tool_names(self, host: Routed) -> None:
        hold(host, row(header="X-Root-Path"))
        _, said = reached(host, b"GET %b/" % PATH, GALAXY, b"x_root_path: /evil")
        assert said.count(b"X-Root-Path: %b\r\n" % PATH) == 1
        assert b"evil" not in said

    def test_by_the_host(self, host: Routed) -> None:
        address, said = reached(host, b"GET /lab?a=b", OWN)
        assert address == TCPAddress("10.1.0.22", 8888)
        assert said.startswith(b"GET /lab?a=b HTTP/1.1\r\n")

    def test_host_and_origin_as_the_browser_says_them(self, host: Routed) -> None:
        for start, name in (b"GET %b/" % PATH, GALAXY), (b"GET /", OWN):
            origin = b"Origin: https://" + name.partition(b": ")[2]
            _, said = reached(host, start, name, origin)
            assert name + b"\r\n" in said
            assert origin + b"\r\n" in said

    def test_at_a_base_path_and_with_another_prefix(self, host: Routed) -> None:
        host.reload(HOST.replace("[galaxy]", '[galaxy]\nbase = "/galaxy/"\nprefix = "gxit"'))
        _, said = reached(host, b"GET /galaxy/gxit/ep/abc/t0k3n/x", GALAXY)
        assert said.startswith(b"GET /x HTTP/1.1\r\n")
        _, said = reached(host, b"GET /x", OWN.replace(b"interactivetool", b"gxit"))
        assert said.startswith(b"GET /x HTTP/1.1\r\n")

    def test_everything_else_is_galaxys(self, host: Routed) -> None:
        for target in b"/", b"/interactivetool", b"/interactivetool/epabc/t0k3n/":
            address, _ = reached(host, b"GET " + target, GALAXY)
            assert str(address) == "unix:/srv/gunicorn.sock"


class TestWhoGetsNothing:
    @pytest.mark.parametrize(
        ("start", "named"),
        [
            (b"GET /interactivetool/ep/abd/t0k3n/", GALAXY),
            (b"GET /interactivetool/ep/abc/t0k3m/", GALAXY),
            (b"GET /interactivetool/ep/abc/T0K3N/", GALAXY),
            (b"GET /interactivetool/ep/abc//", GALAXY),
            (b"GET /interactivetool/ep/abc", GALAXY),
            (b"GET /interactivetool/ep/%61bc/t0k3n/", GALAXY),
            (b"GET /interactivetool/ep/abc;x/t0k3n/", GALAXY),
            (b"GET /interactivetool/ep/", GALAXY),
            (b"GET /interactivetool/ep", GALAXY),
            (b"GET /", OWN.replace(b"abc", b"abd")),
            (b"GET /", OWN.replace(b"t0k3n", b"t0k3m")),
            (b"GET /", OWN.replace(b"-t0k3n", b"")),
            (b"GET %b/" % PATH, OWN.replace(b"t0k3n", b"t0k3m")),
        ],
    )
    def test_unknown_keys_and_wrong_tokens(self, host: Routed, start: bytes, named: bytes) -> None:
        assert refused(host, start, named) == 404

    def test_a_tool_where_none_may_run(self, host: Routed) -> None:
        hold(host, row(host="10.2.0.1"), row("meta", host="169.254.169.254"))
        assert refused(host, b"GET %b/" % PATH, GALAXY) == 404
        assert refused(host, b"GET /interactivetool/ep/meta/t0k3n/", GALAXY) == 404
        assert refused(host, b"GET /", OWN) == 404

    def test_the_proxy_itself(self, host: Routed) -> None:
        host.components.own_ports.add(8443)
        hold(host, row(host="127.0.0.1", port=8443))
        assert refused(host, b"GET %b/" % PATH, GALAXY) == 404

    def test_a_host_that_only_looks_alike(self, host: Routed) -> None:
        for name in (
            b"abc-t0k3n.ep.interactivetool.evil.example.org",
            b"abc-t0k3n.interactivetool.galaxy.example.org",
            b"x.abc-t0k3n.ep.interactivetool.galaxy.example.org",
        ):
            assert refused(host, b"GET /", b"Host: " + name) == 421

    def test_before_the_map_was_read(self) -> None:
        host = Routed(HOST)
        assert refused(host, b"GET %b/" % PATH, GALAXY) == 404


class TestWhatAToolSeesAndSays:
    def answer(self, host: Routed, start: bytes, said: bytes, *lines: bytes) -> bytes:
        browser = ask(host, start, *lines)
        host.tell(host.accept()[1], said)
        return browser.hear()

    def test_no_cookie_of_galaxys(self, host: Routed) -> None:
        cookies = b"Cookie: galaxysession=secret; own=1"
        for start, name in (b"GET %b/" % PATH, GALAXY), (b"GET /", OWN):
            _, said = reached(host, start, name, cookies)
            assert b"Cookie: own=1\r\n" in said
            assert b"secret" not in said

    @pytest.mark.parametrize(
        ("start", "name", "path"), [(b"GET %b/" % PATH, GALAXY, PATH + b"/"), (b"GET /", OWN, b"/")]
    )
    def test_its_cookies_stay_its_own(
        self, host: Routed, start: bytes, name: bytes, path: bytes
    ) -> None:
        said = (
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
            b"Set-Cookie: galaxysession=evil; Domain=galaxy.example.org; Path=/\r\n\r\n"
        )
        head = self.answer(host, start, said, name)
        assert b"Set-Cookie: galaxysession=evil; Path=%b; Secure" % path in head
        assert b"Domain" not in head

    @pytest.mark.parametrize(
        ("said", "heard"),
        [
            (b"/login", PATH + b"/login"),
            (PATH + b"/login", PATH + b"/login"),
            (b"http://10.1.0.22:8888/x", b"https://galaxy.example.org" + PATH + b"/x"),
            (b"https://galaxy.example.org/x", b"https://galaxy.example.org" + PATH + b"/x"),
            (b"https://elsewhere.example.org/x", b"https://elsewhere.example.org/x"),
            (b"relative", b"relative"),
        ],
    )
    def test_it_leads_to_its_own_path(self, host: Routed, said: bytes, heard: bytes) -> None:
        answer = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %b\r\n\r\n" % said
        head = self.answer(host, b"GET %b/" % PATH, answer, GALAXY)
        assert b"\r\nLocation: %b\r\n" % heard in head

    def test_it_speaks_for_nobody_else(self, host: Routed) -> None:
        answer = (
            b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nClear-Site-Data: "*"\r\n'
            b"Service-Worker-Allowed: /\r\nStrict-Transport-Security: max-age=9\r\n\r\n"
        )
        head = self.answer(host, b"GET %b/" % PATH, answer, GALAXY)
        assert b"Clear-Site-Data" not in head
        assert b"Strict-Transport-Security" not in head
        assert b"Service-Worker-Allowed: %b/" % PATH in head


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


GUARDED = (
    HOST
    + """
    [auth]
    forward_url = "http://127.0.0.1:8080/api/entry_points/{tool}/access"
    forward_cache = 10

    [[auth.rules]]
    path = "/interactivetool"
    require = "forward"
"""
)


class Visit:
    """The proxy with a Galaxy that is asked who may; what it is asked, and what it answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, toml: str = GUARDED) -> None:
        self.asked: list[tuple[str, dict[bytes, list[bytes]]]] = []
        self.code = 200
        monkeypatch.setattr("ipyproxy.auth.forward.agent", lambda reactor, timeout: self.ask)
        self.host = Routed(toml)
        hold(self.host, row())

    def ask(self, url: str, headers: Headers) -> Deferred[Any]:
        self.asked.append((url, {name: list(said) for name, said in headers.getAllRawHeaders()}))
        said = SimpleNamespace(code=self.code, headers=Headers(), deliverBody=lambda protocol: None)
        return succeed(said)


class TestSharing:
    @pytest.fixture
    def visit(self, monkeypatch: pytest.MonkeyPatch) -> Visit:
        return Visit(monkeypatch)

    @pytest.mark.parametrize(
        ("start", "name"), [(b"GET %b/x?a" % PATH, GALAXY), (b"GET /x?a", OWN)]
    )
    def test_galaxy_is_asked_whose_the_tool_is(
        self, visit: Visit, start: bytes, name: bytes
    ) -> None:
        _, said = reached(visit.host, start, name, b"Cookie: galaxysession=s; a=b")
        assert said.startswith(b"GET /x?a HTTP/1.1\r\n")
        assert b"galaxysession" not in said
        ((url, told),) = visit.asked
        assert url == "http://127.0.0.1:8080/api/entry_points/abc/access"
        assert told[b"Cookie"] == [b"galaxysession=s; a=b"]

    @pytest.mark.parametrize(("start", "name"), [(b"GET %b/" % PATH, GALAXY), (b"GET /", OWN)])
    def test_nobody_else_gets_in(self, visit: Visit, start: bytes, name: bytes) -> None:
        visit.code = 403
        assert refused(visit.host, start, name) == 403
        assert refused(visit.host, start, name, *HANDSHAKE) == 403

    @pytest.mark.parametrize(
        ("start", "name"), [(b"GET %b/x?a" % PATH, GALAXY), (b"GET /x?a", OWN)]
    )
    def test_a_login_leads_back_to_where_somebody_was(
        self, monkeypatch: pytest.MonkeyPatch, start: bytes, name: bytes
    ) -> None:
        login = 'forward_login = "https://login.example.org/start?rd={url}"\n    forward_cache'
        visit = Visit(monkeypatch, GUARDED.replace("forward_cache", login))
        visit.code = 401
        said = ask(visit.host, start, name, b"Accept: text/html").hear()
        back = quote(b"https://" + name.removeprefix(b"Host: ") + start.removeprefix(b"GET "), "")
        assert back.encode() in said

    def test_it_is_asked_once_for_all_that_a_page_loads(self, visit: Visit) -> None:
        for target in b"/a", b"/b?c", b"/d":
            reached(visit.host, b"GET " + PATH + target, GALAXY, b"Cookie: galaxysession=s")
        assert len(visit.asked) == 1
        reached(visit.host, b"GET %b/" % PATH, GALAXY, b"Cookie: galaxysession=other")
        assert len(visit.asked) == 2

    def test_it_is_not_asked_about_what_is_no_tool(self, visit: Visit) -> None:
        assert refused(visit.host, b"GET /interactivetool/ep/abd/t0k3n/", GALAXY) == 404
        assert refused(visit.host, b"GET /interactivetool/ep/abc/guess/", GALAXY) == 404
        assert refused(visit.host, b"GET /interactivetool/x", GALAXY) == 403
        assert not visit.asked

    def test_a_tool_that_ends_while_it_is_asked(
        self, visit: Visit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waiting: Deferred[Any] = Deferred()
        monkeypatch.setattr(visit, "code", 200)
        answers = visit.ask("", Headers())
        visit.asked.clear()
        visit.ask = lambda url, headers: waiting  # type: ignore[method-assign]
        visit.host.reload(GUARDED)
        browser = ask(visit.host, b"GET %b/" % PATH, GALAXY)
        hold(visit.host)
        answers.chainDeferred(waiting)
        assert browser.hear().startswith(b"HTTP/1.1 404 ")
