"""Applications at routes: who is asked, what they get, and who gets around them."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, succeed

from ipyproxy.net.address import TCPAddress, UNIXPath
from ipyproxy.net.names import Names
from tests.front import status_of
from tests.web.applied import GALAXY, HERE, OK, SMALL_HOST, ask, asked
from tests.web.gate import head_of, message
from tests.web.routed import Routed


@pytest.fixture
def host() -> Routed:
    return Routed(SMALL_HOST)


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
        assert status_of(heard) == expected
        assert not host.dialler.attempts

    @pytest.mark.parametrize("client", ["192.0.2.16", "198.51.100.1", "2001:db8::1"])
    def test_whoever_comes_from_elsewhere_is_refused(self, host: Routed, client: str) -> None:
        browser = host.connect(client)
        heard = browser.say(message(b"GET / HTTP/1.1", b"Host: en.wiki.example.org"))
        assert status_of(heard) == 403
        assert not host.dialler.attempts

    def test_below_the_domain_of_notebooks_there_is_no_application(self) -> None:
        toml = 'site.notebook_domain = "nb.org"\nsite.hosts = ["a.org"]\n'
        host = Routed(toml + '[[routes]]\nto = "unix:/app"')
        for path, expected in (b"/", 303), (b"/x", 404), (b"/ipython/10001/", 421):
            browser = host.connect()
            heard = browser.say(message(b"GET %b HTTP/1.1" % path, b"Host: 10000.nb.org"))
            assert status_of(heard) == expected
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
        assert status_of(heard) == 403
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
        assert status_of(heard) == 403
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
            assert status_of(heard) == expected
            assert not routed.dialler.attempts


def test_no_host_can_be_read_where_the_path_was_taken_off() -> None:
    """As "//evil.example" is refused where nothing is taken off: who adds a slash leads there."""
    toml = 'site.hosts = ["example.org"]\n[[routes]]\npath = "/r"\nto = "unix:/app"\nstrip = true\n'
    routed = Routed(toml)
    browser = routed.connect()
    for path in b"/r//evil.example", b"/r///":
        assert status_of(browser.say(message(b"GET %b HTTP/1.1" % path, HERE))) == 400
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
        assert status_of(browser.say(message(b"GET %b HTTP/1.1" % path, HERE))) == 400
        assert not guarded.dialler.attempts

    @pytest.mark.parametrize(
        ("path", "expected"), [(b"/admin", 401), (b"/admin/x", 401), (b"/admin/%78;y", 401)]
    )
    def test_what_is_guarded_is_asked_for(
        self, guarded: Routed, path: bytes, expected: int
    ) -> None:
        browser = guarded.connect()
        assert status_of(browser.say(message(b"GET %b HTTP/1.1" % path, HERE))) == expected

    @pytest.mark.parametrize("path", [b"/a%20b", b"/administrator", b"/x;y=1//z", b"/%7Eme"])
    def test_any_other_spelling_goes_on_as_it_is(self, guarded: Routed, path: bytes) -> None:
        _, app = asked(guarded, b"GET " + path, HERE)
        assert app.hear().startswith(b"GET %b HTTP/1.1\r\n" % path)


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
    assert status_of(browser.hear()) == 200
