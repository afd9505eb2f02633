"""The public tree: what is where, who may ask, and that a refusal dials nobody."""

from __future__ import annotations

import pytest

from ipyproxy.server.clients import Rate
from ipyproxy.web.resources import Branch
from ipyproxy.web.site import PublicSite, RedirectSite
from tests.front import House, mounts_of
from tests.web.gate import HOST, Gate, ask, head_of, message


@pytest.fixture
def gate() -> Gate:
    return Gate()


def answer_to(gate: House, start: bytes, *lines: bytes) -> tuple[int, bytes]:
    """Status and whole answer to one request on a connection of its own."""
    heard = gate.connect().say(message(start, *lines))
    return int(heard.split(b" ", 2)[1]) if heard else 0, heard


class TestTheTree:
    def test_the_front_page_is_at_the_top(self, gate: Gate) -> None:
        status, heard = answer_to(gate, b"GET / HTTP/1.1", HOST)
        assert status == 200
        assert b"Content-Security-Policy" in heard

    def test_a_notebook_is_below_its_port(self, gate: Gate) -> None:
        for path in (b"/ipython/10000/", b"/ipython/10000/a/b", b"/ipython/10000"):
            assert ask(gate.connect(), b"GET %b HTTP/1.1" % path) == b""
            assert gate.notebook().hear().startswith(b"GET %b HTTP/1.1\r\n" % path)

    @pytest.mark.parametrize(
        "path",
        [
            b"/nowhere",
            b"/ipython",
            b"/ipython/",
            b"/ipython//10000/",
            b"/ipython/10000;x/",
            b"//",
            b"//ipython/10000/",
            b"//evil.example/",
            b"/index.html",
            b"/IPython/10000/",
            b"/%69python/10000/",
            b"/ipython/%31%30000/",
        ],
    )
    def test_there_is_nothing_else(self, gate: Gate, path: bytes) -> None:
        assert answer_to(gate, b"GET %b HTTP/1.1" % path, HOST)[0] == (
            400 if path.startswith(b"//") else 404
        )
        assert gate.dialler.attempts == []

    @pytest.mark.parametrize(
        "port",
        [
            b"22",
            b"9999",
            b"15000",
            b"65536",
            b"99999",
            b"010000",
            b"+10000",
            b"-10000",
            b"1_0000",
            b"10000%00",
            b"10000.0",
            b"0x2710",
            b"1e4",
            "１００００".encode(),
            "٢".encode(),
            b"%2010000",
        ],
    )
    def test_ports_have_one_spelling_and_one_range(self, gate: Gate, port: bytes) -> None:
        status, _ = answer_to(gate, b"GET /ipython/%b/ HTTP/1.1" % port, HOST)
        assert status in (400, 404)
        assert gate.dialler.attempts == []

    def test_a_port_of_our_own_is_not_served(self, gate: Gate) -> None:
        gate.own_ports.add(10443)
        assert answer_to(gate, b"GET /ipython/10443/ HTTP/1.1", HOST)[0] == 404
        assert gate.dialler.attempts == []

    def test_a_longer_prefix_has_nothing_at_its_steps(self) -> None:
        gate = Gate(prefix="/galaxy/ie/ipython")
        for path in (b"/galaxy", b"/galaxy/", b"/galaxy/ie", b"/galaxy/ie/x", b"/ipython/10000/"):
            assert answer_to(gate, b"GET %b HTTP/1.1" % path, HOST)[0] == 404
        assert answer_to(gate, b"GET /galaxy/ie/ipython/10000/ HTTP/1.1", HOST)[0] == 0
        assert gate.notebook().hear().startswith(b"GET /galaxy/ie/ipython/10000/ ")

    @pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"BREW"])
    def test_pages_are_for_reading(self, gate: Gate, method: bytes) -> None:
        assert answer_to(gate, method + b" / HTTP/1.1", HOST)[0] == 405

    def test_head_of_a_page(self, gate: Gate) -> None:
        _, page = answer_to(gate, b"GET / HTTP/1.1", HOST)
        _, head = answer_to(gate, b"HEAD / HTTP/1.1", HOST)
        assert head == page.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    def test_every_method_but_two_reaches_a_notebook(self, gate: Gate) -> None:
        for method in (b"GET", b"PATCH", b"OPTIONS", b"PROPFIND", b"BREW"):
            assert answer_to(gate, method + b" /ipython/10000/ HTTP/1.1", HOST)[0] == 0
            assert gate.notebook().hear().startswith(method)

    @pytest.mark.parametrize(
        ("start", "status"),
        [
            (b"CONNECT hub.example:443 HTTP/1.1", 405),
            (b"TRACE /ipython/10000/ HTTP/1.1", 405),
            (b"OPTIONS * HTTP/1.1", 404),
            (b"GET * HTTP/1.1", 400),
            (b"GET hub.example:443 HTTP/1.1", 400),
            (b"GET ftp://hub.example/ HTTP/1.1", 400),
        ],
    )
    def test_forms_and_methods_that_are_never_carried(
        self, gate: Gate, start: bytes, status: int
    ) -> None:
        assert answer_to(gate, start, HOST)[0] == status
        assert gate.dialler.attempts == []
        assert gate.loop.failures == []

    def test_the_absolute_form_is_carried_as_a_path(self, gate: Gate) -> None:
        answer_to(gate, b"GET https://hub.example/ipython/10000/x HTTP/1.1", HOST)
        assert gate.notebook().hear().startswith(b"GET /ipython/10000/x HTTP/1.1\r\n")


class TestAccess:
    @pytest.mark.parametrize(
        ("lines", "status"),
        [
            ([], 400),
            ([HOST, HOST], 400),
            ([b"Host: evil.example"], 421),
            ([b"Host: hub.example.evil"], 421),
            ([b"Host: hub.example@evil"], 400),
            ([HOST, b"Origin: https://evil.example"], 403),
            ([HOST, b"Origin: http://hub.example"], 403),
            ([HOST, b"Origin: https://hub.example:444"], 403),
            ([HOST, b"Origin: https://hub.example."], 403),
            ([HOST, b"Origin: null"], 403),
            ([HOST, b"Origin: https://hub.example", b"Origin: https://evil.example"], 403),
        ],
    )
    @pytest.mark.parametrize("websocket", [False, True])
    def test_a_refusal_dials_nobody(
        self, gate: Gate, lines: list[bytes], status: int, websocket: bool
    ) -> None:
        if websocket:
            lines = [
                *lines,
                b"Connection: Upgrade",
                b"Upgrade: websocket",
                b"Sec-WebSocket-Version: 13",
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            ]
        assert answer_to(gate, b"GET /ipython/10000/ HTTP/1.1", *lines)[0] == status
        assert gate.dialler.attempts == []

    def test_an_unsafe_request_from_another_site(self, gate: Gate) -> None:
        start = b"POST /ipython/10000/ HTTP/1.1"
        assert answer_to(gate, start, HOST, b"Sec-Fetch-Site: cross-site")[0] == 403
        assert gate.dialler.attempts == []

    def test_our_own_origin_and_trusted_ones_may(self) -> None:
        gate = Gate(trusted_origins=("https://galaxy.example",))
        for origin in (b"https://hub.example", b"https://galaxy.example"):
            start = b"POST /ipython/10000/ HTTP/1.1"
            assert answer_to(gate, start, HOST, b"Origin: " + origin)[0] == 0
            _, lines = head_of(gate.notebook().hear())
            assert b"Origin: http://127.0.0.1:10000" in lines

    def test_pages_are_guarded_like_notebooks(self, gate: Gate) -> None:
        assert answer_to(gate, b"GET / HTTP/1.1", HOST, b"Origin: https://evil.example")[0] == 403
        assert answer_to(gate, b"GET / HTTP/1.1", b"Host: evil.example")[0] == 421

    def test_after_a_refusal_the_connection_serves_on(self, gate: Gate) -> None:
        browser = gate.connect()
        ask(browser, b"GET /ipython/10000/ HTTP/1.1", b"Origin: https://evil.example")
        assert browser.say(message(b"GET / HTTP/1.1", HOST)).startswith(b"HTTP/1.1 200 ")

    def test_nothing_of_the_request_is_on_the_page(self, gate: Gate) -> None:
        mark = b"<script>mark</script>"
        for start in (
            b"GET /%b HTTP/1.1" % mark.replace(b"<", b"%3C").replace(b">", b"%3E"),
            b"GET /[mark] HTTP/1.1",
        ):
            _, heard = answer_to(gate, start, HOST, b"Referer: " + mark)
            assert b"mark" not in heard


def test_a_connection_for_another_name_of_ours_is_the_wrong_one(gate: Gate) -> None:
    browser = gate.connect()
    browser.channel.server_name = b"other.example"
    assert browser.say(b"GET / HTTP/1.1\r\nHost: hub.example\r\n\r\n").startswith(b"HTTP/1.1 421 ")
    browser.channel.server_name = b"hub.example"
    assert browser.say(b"GET / HTTP/1.1\r\nHost: HUB.example\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_browsers_are_told_to_insist_on_https(gate: Gate) -> None:
    site = PublicSite(mounts_of(Branch()), gate.policy, hsts=300)
    for start, status in (b"GET / HTTP/1.1", 404), (b"TRACE / HTTP/1.1", 405), (b"?", 400):
        found, heard = answer_to(House(site=site), start, HOST)
        assert found == status
        assert heard.count(b"\r\nStrict-Transport-Security: max-age=300\r\n") == 1
    _, heard = answer_to(gate, b"GET / HTTP/1.1", HOST)
    assert b"Strict-Transport-Security" not in heard


def test_whoever_asks_too_fast_is_told_when_to_come_again() -> None:
    gate = Gate(requests=Rate(0.1, 1))
    assert answer_to(gate, b"GET / HTTP/1.1", HOST)[0] == 200
    status, heard = answer_to(gate, b"GET /ipython/10000/ HTTP/1.1", HOST)
    assert status == 429
    assert b"\r\nRetry-After: 10\r\n" in heard
    assert gate.dialler.attempts == []


class TestRedirects:
    @pytest.fixture
    def plain(self, gate: Gate) -> House:
        return House(site=RedirectSite(gate.policy, 443))

    def test_the_way_to_https(self, plain: House) -> None:
        status, heard = answer_to(
            plain, b"GET /ipython/10000/a%2Fb?c HTTP/1.1", b"Host: HUB.example:80"
        )
        assert status == 308
        assert b"\r\nLocation: https://hub.example/ipython/10000/a%2Fb?c\r\n" in heard

    def test_to_another_port(self, gate: Gate) -> None:
        plain = House(site=RedirectSite(gate.policy, 8443))
        _, heard = answer_to(plain, b"GET / HTTP/1.1", HOST)
        assert b"\r\nLocation: https://hub.example:8443/\r\n" in heard

    @pytest.mark.parametrize(
        ("start", "host", "status"),
        [
            (b"GET / HTTP/1.1", b"Host: evil.example", 421),
            (b"GET //evil.example HTTP/1.1", HOST, 400),
            (b"GET https://evil.example/ HTTP/1.1", HOST, 421),
            (b"OPTIONS * HTTP/1.1", HOST, 404),
            (b"CONNECT hub.example:443 HTTP/1.1", HOST, 400),
        ],
    )
    def test_it_leads_nowhere_else(
        self, plain: House, start: bytes, host: bytes, status: int
    ) -> None:
        found, heard = answer_to(plain, start, host)
        assert found == status
        assert b"\r\nLocation: " not in heard
