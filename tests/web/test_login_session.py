"""A session at the login page: what its cookie opens and until when, and how it ends."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ipyproxy.access.sessions import BROWSER_COOKIE, COOKIE
from tests.front import Browser
from tests.gateway.hall import Notebook
from tests.web.entrance import (
    FETCHES,
    LIFETIME,
    OPENS,
    ORIGIN,
    TOKEN,
    Answer,
    Entrance,
    form,
    typed,
)
from tests.web.gate import HOST, message
from tests.web.test_admission import WEBSOCKET

LOGIN, LOGOUT = "/_ipyproxy/login", "/_ipyproxy/logout"
LAB = "/ipython/10000/lab"


@pytest.fixture
def entrance(tmp_path: Path) -> Entrance:
    return Entrance(
        tmp_path,
        ("/ipython", "htpasswd", ""),
        ("/ipython/10003", "htpasswd", "bob"),
        ("/ipython/10002", "none", ""),
    )


class TestTheSession:
    @pytest.mark.parametrize("kind", [[], WEBSOCKET], ids=["HTTP", "WebSocket"])
    def test_it_opens_what_the_user_may_open(self, entrance: Entrance, kind: list[bytes]) -> None:
        alice, bob = entrance.cookie(), entrance.cookie("bob", "b")
        for path, cookie, passes in (
            (LAB, alice, True),
            (LAB, bob, True),
            ("/ipython/10003/", alice, False),
            ("/ipython/10003/", bob, True),
        ):
            assert (entrance.passes(path, cookie, *kind) is not None) == passes

    def test_the_notebook_learns_who_and_not_how(self, entrance: Entrance) -> None:
        head = entrance.passes(LAB, entrance.cookie() + b"; a=1; __Secure-ipyproxy=x")
        assert head is not None
        assert b"\r\nX-Remote-User: alice\r\n" in head
        assert b"\r\nCookie: a=1\r\n" in head
        assert b"ipyproxy=" not in head

    def test_a_notebooks_own_token_passes_beside_it(self, entrance: Entrance) -> None:
        head = entrance.passes("/ipython/10000/api/kernels", entrance.cookie(), TOKEN, *FETCHES)
        assert head is not None
        assert b"\r\n" + TOKEN + b"\r\n" in head
        assert b"\r\nX-Remote-User: alice\r\n" in head

    def test_a_token_alone_opens_nothing(self, entrance: Entrance) -> None:
        assert entrance.passes(LAB, TOKEN) is None

    def test_a_program_still_shows_a_password(self, entrance: Entrance) -> None:
        _, answer = entrance.ask(LAB, typed("alice", "a"))
        entrance.threads.work()
        assert answer.status == 0
        head = entrance.hall.notebook().hear()
        assert b"X-Remote-User: alice" in head
        assert b"Authorization" not in head

    def test_a_password_that_is_shown_counts_before_a_session(self, entrance: Entrance) -> None:
        cookie = entrance.cookie()
        browser, _ = entrance.ask(LAB, cookie, typed("bob", "guess"))
        entrance.threads.work()
        assert Answer(browser.hear()).status == 401
        browser, _ = entrance.ask(LAB, cookie, typed("bob", "b"))
        entrance.threads.work()
        assert b"X-Remote-User: bob" in entrance.hall.notebook().hear()

    @pytest.mark.parametrize(
        "change",
        [
            lambda value: value[:-1],
            lambda value: value.replace(b".YWxpY2U", b".Ym9i"),
            lambda value: value.replace(b"v1.", b"v2."),
            lambda value: re.sub(rb"\.(\d+)\.(\d+)\.", rb".\1.9\2.", value),
            lambda value: re.sub(rb"\.([0-9a-f]{32})\.", b"." + b"0" * 32 + b".", value),
            lambda value: b"",
            lambda value: b"v1.k.1.9999999999." + b"0" * 32 + b"." + b"0" * 64 + b".YWxpY2U",
        ],
    )
    def test_a_changed_one_opens_nothing(self, entrance: Entrance, change: Any) -> None:
        name, _, value = entrance.cookie().partition(b"=")
        assert entrance.passes(LAB, name + b"=" + change(value)) is None

    def test_the_good_one_is_found_among_others(self, entrance: Entrance) -> None:
        cookie = entrance.cookie().replace(b"Cookie: ", b"Cookie: %b=bad; " % COOKIE)
        assert entrance.passes(LAB, cookie) is not None

    def test_its_time_is_bounded(self, entrance: Entrance) -> None:
        cookie = entrance.cookie()
        entrance.now += LIFETIME - 1
        assert entrance.passes(LAB, cookie) is not None
        entrance.now += 1
        assert entrance.passes(LAB, cookie) is None

    def test_it_ends_with_the_password(self, entrance: Entrance) -> None:
        cookie, other = entrance.cookie(), entrance.cookie("bob", "b")
        entrance.passwords["alice"] = "new"
        entrance.write()
        assert entrance.passes(LAB, cookie) is None
        entrance.passwords["alice"] = "a"
        entrance.write()  # the same password, but another salt
        assert entrance.passes(LAB, cookie) is None
        del entrance.passwords["bob"]
        entrance.write()
        assert entrance.passes(LAB, other) is None

    def test_no_session_stands_on_a_password_that_is_newer_than_the_one_shown(
        self, entrance: Entrance
    ) -> None:
        browser = entrance.hall.connect()
        body = form("alice", "a")
        length = b"Content-Length: %d" % len(body)
        start = b"POST /_ipyproxy/login HTTP/1.1"
        browser.say(message(start, HOST, length, ORIGIN, body=body))
        entrance.passwords["alice"] = "new"
        entrance.write()
        entrance.threads.work()
        answer = Answer(browser.hear())
        cookie = b"Cookie: " + answer.one(b"set-cookie").partition(b";")[0]
        assert entrance.passes(LAB, cookie) is None

    def test_a_file_that_cannot_be_read_lets_nobody_in(self, entrance: Entrance) -> None:
        cookie = entrance.cookie()
        (entrance.directory / "users").unlink()
        entrance.look_again()
        assert entrance.ask(LAB, cookie)[1].status == 502
        assert entrance.log_in().status == 502

    def test_it_is_no_session_at_another_host(self, tmp_path: Path) -> None:
        entrance = Entrance(tmp_path, notebook_domain="nb.example")
        host = b"Host: 10000.nb.example"
        _, answer = entrance.ask(LAB, *OPENS, host=host)
        address = answer.one(b"location").decode()
        assert address == "/_ipyproxy/login?to=/ipython/10000/lab"
        origin = b"Origin: https://10000.nb.example"
        _, answer = entrance.post(address, form("alice", "a"), origin, host=host)
        assert (answer.status, answer.one(b"location")) == (303, LAB.encode())
        # The browser keeps it to this host, for it has no Domain.
        assert b"omain=" not in answer.one(b"set-cookie")
        # A page of another notebook's host is of the same site, but of another origin.
        origin = b"Origin: https://10001.nb.example"
        _, answer = entrance.post(address, form("bob", "b"), origin, host=host)
        assert answer.status == 403


class TestLoggingOut:
    def log_out(self, entrance: Entrance, cookie: bytes) -> Answer:
        return entrance.post(LOGOUT, b"", ORIGIN, cookie)[1]

    def test_the_session_counts_no_more_wherever_its_cookie_is(self, entrance: Entrance) -> None:
        cookie, other = entrance.cookie(), entrance.cookie()
        answer = self.log_out(entrance, cookie)
        assert answer.status == 200
        assert "You are logged out" in answer.body
        taken = b"%b=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"
        assert answer.all(b"set-cookie") == [taken % COOKIE, taken % BROWSER_COOKIE]
        assert entrance.passes(LAB, cookie) is None
        assert entrance.passes(LAB, other) is not None, "another device"

    def test_it_takes_a_form_and_no_link(self, entrance: Entrance) -> None:
        cookie = entrance.cookie()
        _, answer = entrance.ask(LOGOUT, cookie)
        assert '<form method="post">' in answer.body
        assert entrance.passes(LAB, cookie) is not None

    def test_whoever_is_not_logged_in_may_do_so(self, entrance: Entrance) -> None:
        assert self.log_out(entrance, b"X: y").status == 200

    def test_websockets_of_the_session_end(self, entrance: Entrance) -> None:
        mine, other = entrance.cookie(), entrance.cookie()
        bridges = [self.bridge(entrance, cookie) for cookie in (mine, other)]
        self.log_out(entrance, mine)
        entrance.hall.wait(1)
        assert [browser.is_connected for browser in bridges] == [False, True]

    @pytest.mark.parametrize("why", ["time", "password", "user"])
    def test_so_do_they_when_it_ends_otherwise(self, entrance: Entrance, why: str) -> None:
        browser = self.bridge(entrance, entrance.cookie())
        entrance.hall.wait(2)
        assert browser.is_connected
        if why == "time":
            entrance.now += LIFETIME
        elif why == "password":
            entrance.passwords["alice"] = "new"
            entrance.write()
        else:
            del entrance.passwords["alice"]
            entrance.write()
        entrance.hall.wait(1)
        assert not browser.is_connected
        assert entrance.hall.loop.failures == []

    def test_so_does_one_of_a_program_whose_password_has_changed(self, entrance: Entrance) -> None:
        hall = entrance.hall
        browser, _ = entrance.ask(LAB, typed("alice", "a"), *WEBSOCKET)
        entrance.threads.work()
        notebook = Notebook(hall, hall.notebook())
        notebook.switch(notebook.hear_request())
        hall.wait(1)
        assert browser.is_connected
        entrance.passwords["alice"] = "new"
        entrance.write()
        hall.wait(1)
        assert not browser.is_connected

    def test_a_file_that_cannot_be_read_for_a_moment_ends_none(self, entrance: Entrance) -> None:
        browser = self.bridge(entrance, entrance.cookie())
        (entrance.directory / "users").unlink()
        entrance.look_again()
        entrance.hall.wait(2)
        assert browser.is_connected
        entrance.write()
        entrance.hall.wait(1)
        assert not browser.is_connected, "all have new hashes"

    def bridge(self, entrance: Entrance, cookie: bytes) -> Browser:
        hall = entrance.hall
        browser, notebook, request = hall.ask(cookie)
        notebook.switch(request)
        assert browser.hear().startswith(b"HTTP/1.1 101 ")
        return browser
