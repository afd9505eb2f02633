"""Applications on several servers: whose turn it is, who is asked again, what is kept of them."""

from __future__ import annotations

import json

import pytest

from ipyproxy.net.address import UNIXPath
from ipyproxy.records.accesslog import AccessLog
from ipyproxy.records.recorder import Recorder
from ipyproxy.records.statistics import Statistics
from ipyproxy.server.clients import Clients, ClientsLimits
from tests.front import status_of
from tests.web.applied import GALAXY, HERE, OK, SEVERAL, SMALL_HOST, ask, asked
from tests.web.gate import message
from tests.web.routed import Routed, where


@pytest.fixture
def host() -> Routed:
    return Routed(SMALL_HOST)


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
            assert status_of(browser.hear()) == 200
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
        assert status_of(browser.hear()) == 200
        assert host.upstream(str(dead)).is_down
        for _ in range(3):
            browser.say(message(b"GET / HTTP/1.1", HERE))
            host.tell(app, OK)
            assert status_of(browser.hear()) == 200
        assert not host.dialler.attempts
        assert alive != dead

    def test_what_may_have_been_done_is_not_asked_for_again(self, host: Routed) -> None:
        browser, app = asked(host, b"POST /", HERE, b"Content-Length: 3", body=b"abc")
        app.hang_up()
        host.loop.settle()
        assert status_of(browser.hear()) in (502, 503)
        assert not host.dialler.attempts

    def test_what_can_be_asked_for_twice_is(self, host: Routed) -> None:
        browser, app = asked(host, b"GET /", HERE)
        app.hang_up()
        host.loop.settle()
        _, other = host.accept()
        assert other.hear().startswith(b"GET / HTTP/1.1\r\n")
        host.tell(other, OK)
        assert status_of(browser.hear()) == 200

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
        assert status_of(browser.hear()) == 503
        assert host.is_at_rest

    def test_a_client_that_leaves_leaves_nothing_behind(self, host: Routed) -> None:
        browser = ask(host, b"GET /", HERE)
        host.refuse()
        browser.hang_up()
        host.wait(2)
        host.dialler.attempts.clear()
        assert host.is_at_rest


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
        assert status_of(late.hear()) == 503

    def test_a_reload_with_other_routes(self) -> None:
        host = Routed(SEVERAL)
        browser, _ = asked(host, b"GET /", HERE)
        host.reload('site.hosts = ["example.org"]\n[[routes]]\nto = "unix:/c"')
        names = [upstream.name for upstream in host.components.upstreams.all()]
        assert names == ["unix:/c"]
        ask(host, b"GET /", HERE)
        assert host.accept()[0] == UNIXPath("/c")
        host.reload('site.hosts = ["example.org"]')
        assert status_of(host.connect().say(message(b"GET /x HTTP/1.1", HERE))) == 404
        assert browser.is_connected
