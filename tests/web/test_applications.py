"""Applications at routes: what they get, what comes back, and who is sent where."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, succeed

from ipyproxy.net.address import TCPAddress, UNIXPath
from ipyproxy.net.names import Names
from ipyproxy.records.accesslog import AccessLog
from ipyproxy.records.recorder import Recorder
from ipyproxy.records.statistics import Statistics
from ipyproxy.server.clients import Clients, ClientsLimits
from tests.front import Browser
from tests.gateway.hall import HANDSHAKE, HELLO, HELLO_MASKED, Head, accept_for
from tests.web.gate import head_of, message
from tests.web.routed import Routed, where
from tests.wires import Wire

SMALL_HOST = """
    health.mode = "off"
    site.hosts = ["example.org"]

    [[routes]]
    host = "galaxy.example.org"
    to = "unix:/srv/gunicorn.sock"
    timeout = 180

    [[routes]]
    path = "/reports"
    to = "http://127.0.0.1:9001"
    strip = true

    [[routes]]
    host = "*.wiki.example.org"
    to = "http://10.0.0.5:8080"
    allow = ["192.0.2.0/28"]
    headers = { X-Frame-Options = "DENY", X-Robots-Tag = "none" }

    [[routes]]
    host = "www.example.org"
    redirect = "https://example.org"

    [[routes]]
    host = "old.example.org"
    path = "/a"
    redirect = "https://new.example.org/b"
    status = 301
"""
GALAXY = b"Host: galaxy.example.org"
HERE = b"Host: example.org"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


@pytest.fixture
def host() -> Routed:
    return Routed(SMALL_HOST)


def ask(host: Routed, start: bytes, *lines: bytes, body: bytes = b"") -> Browser:
    browser = host.connect()
    browser.say(message(start + b" HTTP/1.1", *lines, body=body))
    return browser


def asked(host: Routed, start: bytes, *lines: bytes, body: bytes = b"") -> tuple[Browser, Wire]:
    """A request, and the application that it has reached."""
    browser = ask(host, start, *lines, body=body)
    return browser, host.accept()[1]


def status(answer: bytes) -> int:
    return int(answer.split(b" ")[1])


class TestWhoIsAsked:
    @pytest.mark.parametrize(
        ("target", "named", "address"),
        [
            (b"/", b"galaxy.example.org", UNIXPath("/srv/gunicorn.sock")),
            (b"/a/b?c=/reports", b"GALAXY.example.org:8443", UNIXPath("/srv/gunicorn.sock")),
            (b"/reports", b"galaxy.example.org", UNIXPath("/srv/gunicorn.sock")),
            (b"/ipython/10000/", b"galaxy.example.org", UNIXPath("/srv/gunicorn.sock")),
            (b"/reports", b"example.org", TCPAddress("127.0.0.1", 9001)),
            (b"/reports/x", b"example.org", TCPAddress("127.0.0.1", 9001)),
            (b"/x", b"en.wiki.example.org", TCPAddress("10.0.0.5", 8080)),
            (b"/ipython/10000/", b"example.org", TCPAddress("127.0.0.1", 10000)),
        ],
    )
    def test_the_longest_path_of_the_best_host(
        self, host: Routed, target: bytes, named: bytes, address: object
    ) -> None:
        ask(host, b"GET " + target, b"Host: " + named)
        assert host.accept()[0] == address

    @pytest.mark.parametrize(
        ("target", "named", "expected"),
        [
            (b"/reportsx", b"example.org", 404),
            (b"/", b"example.org", 200),
            (b"/", b"a.b.wiki.example.org", 421),
            (b"/", b"wiki.example.org", 421),
            (b"/_ipyproxy/healthz", b"galaxy.example.org", 200),
            (b"/_ipyproxy/healthz", b"example.org", 200),
        ],
    )
    def test_nobody_where_no_route_leads(
        self, host: Routed, target: bytes, named: bytes, expected: int
    ) -> None:
        browser = host.connect()
        heard = browser.say(message(b"GET %b HTTP/1.1" % target, b"Host: " + named))
        assert status(heard) == expected
        assert not host.dialler.attempts

    @pytest.mark.parametrize("client", ["192.0.2.16", "198.51.100.1", "2001:db8::1"])
    def test_whoever_comes_from_elsewhere_is_refused(self, host: Routed, client: str) -> None:
        browser = host.connect(client)
        heard = browser.say(message(b"GET / HTTP/1.1", b"Host: en.wiki.example.org"))
        assert status(heard) == 403
        assert not host.dialler.attempts

    def test_below_the_domain_of_notebooks_there_is_no_application(self) -> None:
        toml = 'site.notebook_domain = "nb.org"\nsite.hosts = ["a.org"]\n'
        host = Routed(toml + '[[routes]]\nto = "unix:/app"')
        for path, expected in (b"/", 303), (b"/x", 404), (b"/ipython/10001/", 421):
            browser = host.connect()
            heard = browser.say(message(b"GET %b HTTP/1.1" % path, b"Host: 10000.nb.org"))
            assert status(heard) == expected
        assert not host.dialler.attempts
        ask(host, b"GET /x", b"Host: a.org")
        assert host.accept()[0] == UNIXPath("/app")


class TestRequests:
    def test_an_application_gets_the_browsers_words_and_the_gateways(self, host: Routed) -> None:
        _, app = asked(
            host,
            b"POST /a%2Fb/%7Ec?d=e",
            b"Host: galaxy.example.org:8443",
            b"Origin: https://genome.example.com",
            b"Referer: https://genome.example.com/x",
            b"Cookie: galaxysession=1; other=2",
            b"Sec-Fetch-Site: cross-site",
            b"X-Forwarded-Host: evil.example",
            b"X-Forwarded-Proto: http",
            b"X-Forwarded-For: 203.0.113.9",
            b"X-Forwarded-Prefix: /evil",
            b"X-URL-SCHEME: http",
            b"X-Scheme: http",
            b"Forwarded: host=evil.example",
            b"Content-Length: 2",
            body=b"ab",
        )
        start, lines = head_of(app.hear())
        assert start == b"POST /a%2Fb/%7Ec?d=e HTTP/1.1"
        assert lines == {
            b"Host: galaxy.example.org:8443",
            b"Origin: https://genome.example.com",
            b"Referer: https://genome.example.com/x",
            b"Cookie: galaxysession=1; other=2",
            b"Sec-Fetch-Site: cross-site",
            b"X-Forwarded-For: 192.0.2.1",
            b"X-Forwarded-Proto: https",
            b"X-Forwarded-Host: galaxy.example.org:8443",
            b"X-Forwarded-Port: 8443",
            b"Via: 1.1 ipyproxy",
            b"Content-Length: 2",
        }

    def test_a_notebook_beside_it_keeps_the_strict_rule(self, host: Routed) -> None:
        foreign = b"Origin: https://genome.example.com"
        browser = host.connect()
        heard = browser.say(message(b"GET /ipython/10000/ HTTP/1.1", HERE, foreign))
        assert status(heard) == 403
        _, notebook = asked(host, b"GET /ipython/10000/", HERE, b"Cookie: galaxysession=1")
        assert b"galaxysession" not in notebook.hear()

    @pytest.mark.parametrize(
        ("target", "upstream"),
        [
            (b"/reports", b"/"),
            (b"/reports?a=b", b"/?a=b"),
            (b"/reports/", b"/"),
            (b"/reports/a%2Fb?c=d", b"/a%2Fb?c=d"),
        ],
    )
    def test_a_prefix_is_taken_off_and_told(
        self, host: Routed, target: bytes, upstream: bytes
    ) -> None:
        _, app = asked(host, b"GET " + target, HERE, b"X-Forwarded-Prefix: /evil")
        start, lines = head_of(app.hear())
        assert start == b"GET %b HTTP/1.1" % upstream
        assert b"X-Forwarded-Prefix: /reports" in lines
        assert b"X-Forwarded-Prefix: /evil" not in lines

    NAMING = """
        site.hosts = ["example.org"]
        tls.client_ca = "ca.pem"
        auth.certificates = ["CN={user}"]
        auth.rules = [{ path = "/", require = "certificate" }, { path = "/api", require = "none" }]
        [[routes]]
        to = "unix:/app"
        send = { GX-SECRET = "s3cret", Remote-Name = "{user}" }
    """
    LIES = (b"Remote-Name: root", b"remote_name: root", b"GX_SECRET: guess", b"X-Other: 1")

    @pytest.mark.parametrize(
        ("target", "names"), [(b"/x", [b"Remote-Name: alice"]), (b"/api/x", [])]
    )
    def test_it_is_told_the_user_and_a_secret_and_no_client_can_tell_it_so(
        self, target: bytes, names: list[bytes]
    ) -> None:
        host = Routed(self.NAMING, subject="CN=alice")
        _, app = asked(host, b"GET " + target, HERE, *self.LIES)
        lines = head_of(app.hear())[1]
        said = [line for line in lines if line.lower().startswith((b"remote", b"gx"))]
        assert sorted(said) == [b"GX-SECRET: s3cret", *names]
        assert b"X-Other: 1" in lines

    def test_without_a_user_nothing_goes_where_one_is_asked_for(self) -> None:
        host = Routed(self.NAMING)
        heard = host.connect().say(message(b"GET /x HTTP/1.1", HERE, *self.LIES))
        assert status(heard) == 403
        assert not host.dialler.attempts

    def test_a_body_of_any_size_is_passed_on_as_it_comes(self, host: Routed) -> None:
        tus = (b"Tus-Resumable: 1.0.0", b"Upload-Offset: 0", b"Content-Length: 50000000000")
        browser, app = asked(host, b"PATCH /api/upload/resumable_upload/1", GALAXY, *tus)
        start, lines = head_of(app.hear())
        assert start == b"PATCH /api/upload/resumable_upload/1 HTTP/1.1"
        assert set(tus) < lines
        browser.say(b"x" * 30000)
        assert app.hear() == b"x" * 30000


def test_a_rule_for_one_host_only(tmp_path: Path) -> None:
    (tmp_path / "users").touch()
    routed = Routed(
        f"""
        site.hosts = ["example.org", "reports.example.org", "app.example.org"]
        auth.htpasswd = "{tmp_path}/users"
        [[auth.rules]]
        host = "reports.example.org"
        require = "htpasswd"
        [[auth.rules]]
        host = "*.example.org"
        path = "/admin"
        require = "htpasswd"
        [[routes]]
        to = "unix:/app"
        """,
    )
    browser = routed.connect()
    for host, path, expected in (
        (b"reports.example.org", b"/", 401),
        (b"Reports.Example.org:443", b"/x", 401),
        (b"app.example.org", b"/admin", 401),
        (b"app.example.org", b"/%61dmin", 400),
        (b"example.org", b"/%61dmin", None),
    ):
        heard = browser.say(message(b"GET %b HTTP/1.1" % path, b"Host: " + host))
        if expected is None:
            assert routed.accept()
        else:
            assert status(heard) == expected
            assert not routed.dialler.attempts


def test_no_host_can_be_read_where_the_path_was_taken_off() -> None:
    """As "//evil.example" is refused where nothing is taken off: who adds a slash leads there."""
    toml = 'site.hosts = ["example.org"]\n[[routes]]\npath = "/r"\nto = "unix:/app"\nstrip = true\n'
    routed = Routed(toml)
    browser = routed.connect()
    for path in b"/r//evil.example", b"/r///":
        assert status(browser.say(message(b"GET %b HTTP/1.1" % path, HERE))) == 400
    assert not routed.dialler.attempts
    browser.say(message(b"GET /r/a//b HTTP/1.1", HERE))
    _, application = routed.accept()
    assert application.hear().startswith(b"GET /a//b HTTP/1.1\r\n")


class TestAmbiguousPaths:
    RULES = """
        auth.htpasswd = "users"
        [[auth.rules]]
        path = "/admin"
        require = "htpasswd"
        [[auth.rules]]
        path = "/"
        require = "none"
        [[routes]]
        to = "unix:/app"
        [[routes]]
        path = "/other"
        to = "unix:/other"
    """

    @pytest.fixture
    def guarded(self, tmp_path: Path) -> Routed:
        users = tmp_path / "users"
        users.touch()
        toml = self.RULES.replace('"users"', f'"{users}"')
        return Routed('site.hosts = ["example.org"]\n' + toml)

    @pytest.mark.parametrize(
        "path",
        [
            b"/%61dmin", b"/admi%6E/x", b"/admin%2Fx", b"/admin;x=1", b"/;x/admin", b"/x%2F..",
            b"/%2Fadmin", b"/admin%3Bx/y", b"/other%2Fx", b"/%6Fther", b"/ipytho%6e/10000/",
        ],
    )  # fmt: skip
    def test_a_path_that_decoded_has_another_rule_or_route_is_refused(
        self, guarded: Routed, path: bytes
    ) -> None:
        browser = guarded.connect()
        assert status(browser.say(message(b"GET %b HTTP/1.1" % path, HERE))) == 400
        assert not guarded.dialler.attempts

    @pytest.mark.parametrize(
        ("path", "expected"), [(b"/admin", 401), (b"/admin/x", 401), (b"/admin/%78;y", 401)]
    )
    def test_what_is_guarded_is_asked_for(
        self, guarded: Routed, path: bytes, expected: int
    ) -> None:
        browser = guarded.connect()
        assert status(browser.say(message(b"GET %b HTTP/1.1" % path, HERE))) == expected

    @pytest.mark.parametrize("path", [b"/a%20b", b"/administrator", b"/x;y=1//z", b"/%7Eme"])
    def test_any_other_spelling_goes_on_as_it_is(self, guarded: Routed, path: bytes) -> None:
        _, app = asked(guarded, b"GET " + path, HERE)
        assert app.hear().startswith(b"GET %b HTTP/1.1\r\n" % path)


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
        assert status(heard) == 504
        assert b"notebook" not in heard.lower()
        browser, _ = asked(host, b"GET /reports/slow", HERE)
        host.wait(298)
        assert browser.hear() == b""
        host.wait(4)
        assert status(browser.hear()) == 504

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
        assert status(heard) == expected
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


SEVERAL = """
    site.hosts = ["example.org"]
    [[routes]]
    to = ["unix:/a", "unix:/b"]
"""


class TestSeveralServers:
    @pytest.fixture
    def host(self) -> Routed:
        return Routed(SEVERAL)

    def test_they_take_turns(self, host: Routed) -> None:
        addresses = []
        for _ in range(4):
            browser = ask(host, b"GET /", HERE)
            address, app = host.accept()
            addresses.append(address)
            host.tell(app, b"HTTP/1.0 200 OK\r\n\r\nhi")
            app.hang_up()
            assert status(browser.hear()) == 200
        assert addresses[:2] == addresses[2:]
        assert len(set(addresses)) == 2

    def test_the_one_with_the_least_open_work_is_asked(self, host: Routed) -> None:
        ask(host, b"GET /slow", HERE)
        busy, _ = host.accept()
        for _ in range(3):
            browser = ask(host, b"GET /", HERE)
            address, app = host.accept()
            assert address != busy
            host.tell(app, b"HTTP/1.0 200 OK\r\n\r\nhi")
            app.hang_up()
            browser.hear()

    def test_one_that_is_not_there_is_passed_over_then_and_later(self, host: Routed) -> None:
        browser = ask(host, b"POST /", HERE, b"Content-Length: 3", body=b"abc")
        dead = host.refuse()
        alive, app = host.accept()
        assert app.hear().endswith(b"\r\n\r\nabc")
        host.tell(app, OK)
        assert status(browser.hear()) == 200
        assert host.upstream(str(dead)).is_down
        for _ in range(3):
            browser.say(message(b"GET / HTTP/1.1", HERE))
            host.tell(app, OK)
            assert status(browser.hear()) == 200
        assert not host.dialler.attempts
        assert alive != dead

    def test_what_may_have_been_done_is_not_asked_for_again(self, host: Routed) -> None:
        browser, app = asked(host, b"POST /", HERE, b"Content-Length: 3", body=b"abc")
        app.hang_up()
        host.loop.settle()
        assert status(browser.hear()) in (502, 503)
        assert not host.dialler.attempts

    def test_what_can_be_asked_for_twice_is(self, host: Routed) -> None:
        browser, app = asked(host, b"GET /", HERE)
        app.hang_up()
        host.loop.settle()
        _, other = host.accept()
        assert other.hear().startswith(b"GET / HTTP/1.1\r\n")
        host.tell(other, OK)
        assert status(browser.hear()) == 200

    def test_an_answer_that_has_begun_is_cut(self, host: Routed) -> None:
        browser, app = asked(host, b"GET /", HERE)
        host.tell(app, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
        app.hang_up()
        host.loop.settle()
        assert browser.hear().endswith(b"\r\n\r\nab")
        assert not browser.is_connected
        assert not host.dialler.attempts

    def test_if_none_is_there_it_is_told_once_and_all_is_at_rest(self, host: Routed) -> None:
        browser = ask(host, b"GET /", HERE)
        assert {host.refuse(), host.refuse()} == {UNIXPath("/a"), UNIXPath("/b")}
        assert status(browser.hear()) == 503
        assert host.is_at_rest

    def test_a_client_that_leaves_leaves_nothing_behind(self, host: Routed) -> None:
        browser = ask(host, b"GET /", HERE)
        host.refuse()
        browser.hang_up()
        host.wait(2)
        host.dialler.attempts.clear()
        assert host.is_at_rest


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
            assert status(heard) == expected
            assert b"Location: " + location in head_of(heard)[1]

    def test_nobody_is_sent_to_another_host(self, host: Routed) -> None:
        for target in b"//evil.example/", b"/\\evil.example", b"/%0d%0aX:y":
            browser = host.connect()
            heard = browser.say(message(b"GET %b HTTP/1.1" % target, b"Host: www.example.org"))
            location = [line for line in heard.split(b"\r\n") if line.startswith(b"Location: ")]
            assert all(line.startswith(b"Location: https://example.org/%") for line in location)


class TestWhatIsKept:
    def test_the_log_names_the_server_and_no_port(self, host: Routed) -> None:
        browser, app = asked(host, b"GET /", GALAXY)
        host.tell(app, OK)
        browser.hear()
        (request,) = host.recorded
        lines: list[bytes] = []
        log = AccessLog(lines.append, "json", lambda: 0.0)
        Recorder(Statistics(0.0), log, Clients(ClientsLimits(10, 10))).record(request, 0.1)
        document = json.loads(lines[0])
        assert (document["port"], document["upstream"]) == (None, "unix:/srv/gunicorn.sock")
        assert document["target"] == "/"

    def test_it_is_probed_by_connecting_however_notebooks_are(self) -> None:
        host = Routed(SEVERAL.replace('["unix:/a", "unix:/b"]', '"unix:/a"'))
        ask(host, b"GET /", HERE)
        host.refuse()
        assert host.upstream("unix:/a").is_down
        host.wait(30)
        assert {where(attempt) for attempt in host.prober.attempts} == {UNIXPath("/a")}

    def test_each_server_has_as_many_places_as_its_route_says(self) -> None:
        toml = SEVERAL.replace('["unix:/a", "unix:/b"]', '"unix:/a"\nconnections = 2')
        host = Routed(toml)
        for _ in range(2):
            ask(host, b"GET /", HERE)
        late = ask(host, b"GET /", HERE)
        assert len(host.dialler.attempts) == 2
        host.wait(10)
        assert status(late.hear()) == 503

    def test_a_reload_with_other_routes(self) -> None:
        host = Routed(SEVERAL)
        browser, _ = asked(host, b"GET /", HERE)
        host.reload('site.hosts = ["example.org"]\n[[routes]]\nto = "unix:/c"')
        names = [upstream.name for upstream in host.components.upstreams.all()]
        assert names == ["unix:/c"]
        ask(host, b"GET /", HERE)
        assert host.accept()[0] == UNIXPath("/c")
        host.reload('site.hosts = ["example.org"]')
        assert status(host.connect().say(message(b"GET /x HTTP/1.1", HERE))) == 404
        assert browser.is_connected


def test_an_application_on_a_host_that_is_known_by_name() -> None:
    toml = (
        'health.mode = "off"\nsite.hosts = ["example.org"]\n[[routes]]\nto = "http://app.lan:8080"'
    )
    routed = Routed(toml)
    asked: list[str] = []

    def look_up(name: str) -> Deferred[list[str]]:
        asked.append(name)
        return succeed(["10.0.0.9"])

    routed.pool.names = Names(look_up, routed.loop)
    browser = ask(routed, b"GET /page", HERE)
    assert asked == ["app.lan"]
    attempt = routed.dialler.next()
    assert attempt.address == TCPAddress("10.0.0.9", 8080)
    wire = attempt.succeed()
    routed.loop.settle()
    assert b"Host: example.org\r\n" in wire.hear()
    routed.tell(wire, OK)
    assert status(browser.hear()) == 200
