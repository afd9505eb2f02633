"""Galaxy is asked who may open a tool, once for some seconds, and about nothing else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.web.http_headers import Headers

from tests.gateway.hall import HANDSHAKE
from tests.web.routed import Routed
from tests.web.toolhost import GALAXY, HOST, OWN, PATH, ask, hold, reached, refused, row

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

    def test_a_tool_that_ends_while_it_is_asked(self, visit: Visit) -> None:
        waiting: Deferred[Any] = Deferred()
        answers = visit.ask("", Headers())
        visit.asked.clear()
        visit.ask = lambda url, headers: waiting  # type: ignore[method-assign]
        visit.host.reload(GUARDED)
        browser = ask(visit.host, b"GET %b/" % PATH, GALAXY)
        hold(visit.host)
        answers.chainDeferred(waiting)
        assert browser.hear().startswith(b"HTTP/1.1 404 ")
