"""What comes back from applications at routes, and where redirects send people."""

from __future__ import annotations

import errno
import json

import pytest

from ipyproxy.net.address import UNIXPath
from tests.front import status_of
from tests.gateway.hall import HANDSHAKE, HELLO, HELLO_MASKED, Head, accept_for
from tests.web.applied import GALAXY, HERE, OK, SEVERAL, SMALL_HOST, ask, asked
from tests.web.gate import head_of, message
from tests.web.routed import Routed


@pytest.fixture
def host() -> Routed:
    return Routed(SMALL_HOST)


class TestAnswers:
    def test_nothing_is_rewritten(self, host: Routed) -> None:
        said = [
            b"Location: http://127.0.0.1:9001/x",
            b"Set-Cookie: session=1; Path=/; Domain=galaxy.example.org",
            b"Content-Security-Policy: default-src 'none'",
            b"Access-Control-Allow-Origin: https://genome.example.com",
            b"Service-Worker-Allowed: /",
            b'Clear-Site-Data: "cookies"',
            b"Strict-Transport-Security: max-age=1",
            b"Content-Length: 0",
        ]
        browser, app = asked(host, b"GET /login", GALAXY)
        host.tell(app, message(b"HTTP/1.1 302 Found", *said))
        start, lines = head_of(browser.hear())
        assert start == b"HTTP/1.1 302 Found"
        assert lines == set(said)

    @pytest.mark.parametrize(
        ("location", "told"),
        [
            (b"/login?next=/", b"/reports/login?next=/"),
            (b"/", b"/reports/"),
            (b"/reports/login", b"/reports/login"),
            (b"/reports", b"/reports"),
            (b"/reports?x", b"/reports?x"),
            (b"login", b"login"),
            (b"?page=2", b"?page=2"),
            (b"http://127.0.0.1:9001/login", b"https://example.org/reports/login"),
            (b"https://example.org/login", b"https://example.org/reports/login"),
            (b"https://example.org/reports/x", b"https://example.org/reports/x"),
            (b"https://example.org", b"https://example.org/reports/"),
            (b"https://elsewhere.org/login", b"https://elsewhere.org/login"),
            (b"//elsewhere.org/login", b"//elsewhere.org/login"),
        ],
    )
    def test_where_the_prefix_is_taken_off_it_is_put_back_into_location(
        self, host: Routed, location: bytes, told: bytes
    ) -> None:
        browser, app = asked(host, b"GET /reports/x", HERE)
        answer = message(b"HTTP/1.1 302 Found", b"Location: " + location, b"Content-Length: 0")
        host.tell(app, answer)
        assert b"Location: " + told in head_of(browser.hear())[1]

    def test_every_answer_of_a_route_gets_its_fields(self, host: Routed) -> None:
        named = b"Host: en.wiki.example.org"
        browser, app = asked(host, b"GET /", named)
        host.tell(app, OK)
        assert {b"X-Frame-Options: DENY", b"X-Robots-Tag: none"} < head_of(browser.hear())[1]
        browser, _ = asked(host, b"GET /reports/", HERE)
        assert b"X-Frame-Options" not in browser.hear()

    def test_events_may_be_silent_for_as_long_as_they_like(self, host: Routed) -> None:
        browser, app = asked(host, b"GET /api/events/stream", GALAXY, b"Accept: text/event-stream")
        head = message(b"HTTP/1.1 200 OK", b"Content-Type: text/event-stream")
        host.tell(app, head)
        assert browser.hear().startswith(b"HTTP/1.1 200 OK\r\n")
        for number in range(3):
            host.wait(600)
            host.tell(app, b"data: %d\n\n" % number)
            assert b"data: %d\n\n" % number in browser.hear()

    def test_an_answer_may_be_late_by_the_routes_own_time(self, host: Routed) -> None:
        browser, _ = asked(host, b"GET /slow", GALAXY)
        host.wait(178)
        assert browser.hear() == b""
        host.wait(4)
        heard = browser.hear()
        assert status_of(heard) == 504
        assert b"notebook" not in heard.lower()
        browser, _ = asked(host, b"GET /reports/slow", HERE)
        host.wait(298)
        assert browser.hear() == b""
        host.wait(4)
        assert status_of(browser.hear()) == 504

    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            (errno.ECONNREFUSED, 503),
            (errno.ENOENT, 503),
            (errno.EACCES, 503),
            (errno.ETIMEDOUT, 503),
            (errno.EHOSTUNREACH, 503),
        ],
    )
    def test_one_that_is_not_there_is_told_honestly(
        self, host: Routed, code: int, expected: int
    ) -> None:
        browser = ask(host, b"GET /", GALAXY, b"Accept: application/json")
        host.refuse(code)
        heard = browser.hear()
        assert status_of(heard) == expected
        document = json.loads(heard.partition(b"\r\n\r\n")[2])
        assert "application" in document["title"].lower()
        assert "notebook" not in json.dumps(document).lower()


class TestWebSockets:
    def test_frames_pass_and_so_does_a_foreign_origin(self, host: Routed) -> None:
        origin = b"Origin: https://genome.example.com"
        browser, app = asked(host, b"GET /ws", GALAXY, origin, *HANDSHAKE)
        request = Head(app.hear())
        assert request.all(b"origin") == [b"https://genome.example.com"]
        assert request.all(b"host") == [b"galaxy.example.org"]
        accept = b"Sec-WebSocket-Accept: " + accept_for(request.one(b"sec-websocket-key"))
        switch = (b"Upgrade: websocket", b"Connection: Upgrade", accept)
        host.tell(app, message(b"HTTP/1.1 101 Switching Protocols", *switch))
        assert browser.hear().startswith(b"HTTP/1.1 101 ")
        browser.say(HELLO_MASKED)
        assert app.hear() == HELLO_MASKED
        host.tell(app, HELLO)
        assert browser.hear() == HELLO
        assert len(host.upstream("unix:/srv/gunicorn.sock").bridges) == 1

    def test_of_several_servers_the_next_one_is_asked_if_one_is_not_there(self) -> None:
        host = Routed(SEVERAL)
        browser = ask(host, b"GET /ws", HERE, *HANDSHAKE)
        first = host.refuse()
        second, app = host.accept()
        assert {first, second} == {UNIXPath("/a"), UNIXPath("/b")}
        request = Head(app.hear())
        accept = b"Sec-WebSocket-Accept: " + accept_for(request.one(b"sec-websocket-key"))
        switch = (b"Upgrade: websocket", b"Connection: Upgrade", accept)
        host.tell(app, message(b"HTTP/1.1 101 Switching Protocols", *switch))
        assert browser.hear().startswith(b"HTTP/1.1 101 ")


class TestRedirects:
    @pytest.mark.parametrize(
        ("named", "target", "expected", "location"),
        [
            (b"www.example.org", b"/", 308, b"https://example.org/"),
            (b"www.example.org", b"/a%2Fb?c=d&e", 308, b"https://example.org/a%2Fb?c=d&e"),
            (b"old.example.org", b"/a/x?y", 301, b"https://new.example.org/b/a/x?y"),
        ],
    )
    def test_path_and_query_are_kept(
        self, host: Routed, named: bytes, target: bytes, expected: int, location: bytes
    ) -> None:
        for method in b"GET", b"POST":
            browser = host.connect()
            heard = browser.say(message(b"%b %b HTTP/1.1" % (method, target), b"Host: " + named))
            assert status_of(heard) == expected
            assert b"Location: " + location in head_of(heard)[1]

    def test_nobody_is_sent_to_another_host(self, host: Routed) -> None:
        for target in b"//evil.example/", b"/\\evil.example", b"/%0d%0aX:y":
            browser = host.connect()
            heard = browser.say(message(b"GET %b HTTP/1.1" % target, b"Host: www.example.org"))
            location = [line for line in heard.split(b"\r\n") if line.startswith(b"Location: ")]
            assert all(line.startswith(b"Location: https://example.org/%") for line in location)
