"""Galaxy's interactive tools, in path mode and at hosts of their own."""

from __future__ import annotations

import pytest

from ipyproxy.net.address import TCPAddress
from tests.web.routed import Routed
from tests.web.toolhost import GALAXY, HOST, OWN, PATH, ask, hold, reached, refused, row


@pytest.fixture
def host() -> Routed:
    made = Routed(HOST)
    hold(made, row())
    return made


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
