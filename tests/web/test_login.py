"""The login page: who is led to it, what its form does, and what its cookie opens until when."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ipyproxy.access.facts import Failed, Lack
from ipyproxy.access.sessions import BROWSER_COOKIE, COOKIE
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.web.forms import FORM_BYTES
from ipyproxy.web.login import return_path
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
from tests.web.test_admission import WEBSOCKET, Says

LOGIN, LOGOUT = "/_ipyproxy/login", "/_ipyproxy/logout"
LAB = "/ipython/10000/lab"
BASIC = b'Basic realm="notebooks", charset="UTF-8"'


@pytest.fixture
def entrance(tmp_path: Path) -> Entrance:
    return Entrance(
        tmp_path,
        ("/ipython", "htpasswd", ""),
        ("/ipython/10003", "htpasswd", "bob"),
        ("/ipython/10002", "none", ""),
    )


class TestTheWayThere:
    def test_a_person_is_led_to_the_page_and_back(self, entrance: Entrance) -> None:
        _, answer = entrance.ask(LAB + "/tree/a%20b?x=1&y=%26", *OPENS)
        assert answer.status == 303
        address = answer.one(b"location").decode()
        assert urlsplit(address).path == LOGIN
        assert parse_qs(urlsplit(address).query)["to"] == [LAB + "/tree/a%20b?x=1&y=%26"]
        answer = entrance.log_in(to=address)
        assert answer.status == 303
        assert answer.one(b"location") == LAB.encode() + b"/tree/a%20b?x=1&y=%26"

    @pytest.mark.parametrize(
        "lines",
        [
            [],
            [b"Accept: */*"],
            [b"Accept: application/json"],
            [*OPENS[:3], b"Sec-Fetch-Dest: iframe"],
            [*OPENS, *WEBSOCKET],
            [b"Authorization: Basic eDp5OnoK=", b"Accept: */*"],
        ],
    )
    def test_everything_else_is_asked_for_a_password(
        self, entrance: Entrance, lines: list[bytes]
    ) -> None:
        _, answer = entrance.ask(LAB, *lines)
        assert (answer.status, answer.all(b"www-authenticate")) == (401, [BASIC])

    def test_so_is_whatever_is_not_read_only(self, entrance: Entrance) -> None:
        _, answer = entrance.ask(LAB, *OPENS, method=b"DELETE")
        assert (answer.status, answer.all(b"www-authenticate")) == (401, [BASIC])

    def test_an_old_browser_is_known_by_what_it_accepts(self, entrance: Entrance) -> None:
        assert entrance.ask(LAB, OPENS[0])[1].status == 303

    def test_no_window_of_the_browser_asks_because_of_a_script(self, entrance: Entrance) -> None:
        _, answer = entrance.ask(LAB, *FETCHES, TOKEN)
        assert answer.status == 401
        assert answer.one(b"www-authenticate") == b'Cookie realm="notebooks"'

    def test_a_wrong_password_is_answered_as_before(self, entrance: Entrance) -> None:
        browser, _ = entrance.ask(LAB, *OPENS, typed("alice", "guess"))
        entrance.threads.work()
        answer = Answer(browser.hear())
        assert (answer.status, answer.all(b"www-authenticate")) == (401, [BASIC])

    def test_an_address_that_is_too_long_to_come_back_to(self, entrance: Entrance) -> None:
        _, answer = entrance.ask(LAB + "?" + "x" * 4000, *OPENS)
        assert answer.one(b"location") == b"/_ipyproxy/login?to=/"

    def test_what_is_open_stays_open(self, entrance: Entrance) -> None:
        assert entrance.passes("/ipython/10002/", *OPENS) is not None

    def test_the_pages_are_there_whatever_the_rules_ask(self, tmp_path: Path) -> None:
        entrance = Entrance(tmp_path, ("/", "htpasswd", ""))
        for path in (LOGIN, LOGOUT):
            assert entrance.ask(path)[1].status == 200
        assert entrance.ask("/_ipyproxy/other")[1].status == 401
        assert entrance.ask(LOGIN + "/")[1].status == 401


class TestTheForm:
    def test_a_good_password_gets_a_cookie(self, entrance: Entrance) -> None:
        answer = entrance.log_in()
        assert (answer.status, answer.one(b"location")) == (303, b"/")
        assert answer.one(b"cache-control") == b"no-store"
        name, _, rest = answer.one(b"set-cookie").partition(b"=")
        assert name == COOKIE
        assert name.startswith(b"__Host-")
        attributes = rest.partition(b"; ")[2]
        assert attributes == b"Path=/; Max-Age=%d; Secure; HttpOnly; SameSite=Lax" % LIFETIME

    @pytest.mark.parametrize(
        ("name", "password"), [("alice", "guess"), ("nobody", "a"), ("bob", "a"), ("", "")]
    )
    def test_a_wrong_one_gets_the_form_again_and_is_counted(
        self, entrance: Entrance, name: str, password: str
    ) -> None:
        answer = entrance.log_in(name, password, LOGIN + "?to=" + LAB)
        assert answer.status == 403
        assert answer.all(b"set-cookie") == answer.all(b"www-authenticate") == []
        assert "The name or the password is wrong." in answer.body
        assert '<form method="post">' in answer.body
        assert entrance.attempts.failures == ["192.0.2.1"]

    def test_it_is_told_to_the_log_as_any_other(self, entrance: Entrance) -> None:
        told: list[tuple[Problem, str, bool]] = []

        def note(client: str, error: ProxyError, now: float, **facts: Any) -> None:
            told.append((error.problem, error.detail, facts["by_page"]))

        entrance.hall.server._audit.note = note  # type: ignore[method-assign]
        entrance.log_in("alice", "guess")
        entrance.log_in("alice", "guess", LOGIN, b"Sec-Fetch-Site: same-origin")
        said = "login page: wrong credentials"
        # A page of a notebook, which has the same origin, can send a form too.
        assert told == [(Problem.LOGIN_FAILED, said, False), (Problem.LOGIN_FAILED, said, True)]

    def test_who_has_to_wait_is_told_how_long(self, entrance: Entrance) -> None:
        entrance.attempts.refusal = ProxyError(Problem.TOO_MANY_LOGINS, retry_after=90.2)
        answer = entrance.log_in("alice", "a")
        assert (answer.status, answer.one(b"retry-after")) == (429, b"91")
        assert "Wait 91 seconds." in answer.body
        assert entrance.threads.begun == 0

    def test_a_guess_counts_though_its_client_has_left(self, entrance: Entrance) -> None:
        browser = entrance.hall.connect()
        body = form("alice", "guess")
        length = b"Content-Length: %d" % len(body)
        start = b"POST /_ipyproxy/login HTTP/1.1"
        browser.say(message(start, HOST, length, ORIGIN, body=body))
        browser.hang_up()
        assert entrance.attempts.under_way == ["192.0.2.1"]
        entrance.threads.work()
        assert entrance.attempts.failures == ["192.0.2.1"]
        assert entrance.attempts.unheard_of == [("192.0.2.1", False)]

    def test_names_and_passwords_are_of_any_script(self, entrance: Entrance) -> None:
        head = entrance.passes(LAB, entrance.cookie("zoë", "zë"))
        assert head is not None
        assert "X-Remote-User: zoë\r\n".encode() in head

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"x",
            b"name=alice",
            b"name=alice&password=%FF",
            b"name=alice%0d%0aX: y&password=a",
            b"name=al:ice&password=a",
            b'{"name": "alice", "password": "a"}',
            form("alice", "a" * 900),
        ],
    )
    def test_what_is_no_login_lets_nobody_in(self, entrance: Entrance, body: bytes) -> None:
        _, answer = entrance.post(LOGIN, body, ORIGIN)
        assert answer.status == 403
        assert answer.all(b"set-cookie") == []

    def test_what_is_too_long_is_not_held(self, entrance: Entrance) -> None:
        _, answer = entrance.post(LOGIN, b"x" * (FORM_BYTES + 1), ORIGIN)
        assert answer.status == 413
        assert entrance.hall.loop.failures == []

    def test_it_may_come_in_pieces(self, entrance: Entrance) -> None:
        browser = entrance.hall.connect()
        start = b"POST /_ipyproxy/login HTTP/1.1"
        assert browser.say(message(start, HOST, b"Content-Length: 23", ORIGIN)) == b""
        assert browser.say(b"name=alice&") == b""
        assert browser.say(b"password=a%20"[:12]) == b""
        entrance.threads.work()
        assert Answer(browser.hear()).status in (303, 403)

    def test_other_methods_are_not_taken(self, entrance: Entrance) -> None:
        for path in (LOGIN, LOGOUT):
            assert entrance.ask(path, ORIGIN, method=b"PUT")[1].status == 405

    def test_it_is_taken_from_this_very_origin_only(self, tmp_path: Path) -> None:
        trusted = "https://galaxy.example"
        entrance = Entrance(tmp_path, trusted_origins=(trusted,))
        for lines in (
            [b"Origin: https://evil.example"],
            [b"Origin: " + trusted.encode()],
            [b"Origin: null"],
            [b"Origin: null", b"Sec-Fetch-Site: same-origin"],
            [b"Origin: http://hub.example"],
            [b"Origin: https://hub.example:8443"],
            [ORIGIN, b"Origin: https://evil.example"],
            [b"Sec-Fetch-Site: cross-site"],
            [b"Sec-Fetch-Site: same-site"],
        ):
            for path in (LOGIN, LOGOUT):
                _, answer = entrance.post(path, form("alice", "a"), *lines)
                assert answer.status == 403
                assert answer.all(b"set-cookie") == []
        assert entrance.threads.begun == 0
        # A program without a browser's marks can't be made to send it by a page.
        assert entrance.post(LOGIN, form("alice", "a"))[1].status == 303


class TestThePage:
    def test_it_says_who_runs_the_site_and_holds_no_script(self, entrance: Entrance) -> None:
        _, answer = entrance.ask(LOGIN + "?to=%3Cscript%3E&x=%22%3E")
        assert answer.status == 200
        assert "Example Lab &lt;it@example.org&gt;" in answer.body
        assert "<script" not in answer.body
        assert "to=" not in answer.body
        policy = answer.one(b"content-security-policy")
        assert b"default-src 'none'; style-src 'sha256-" in policy
        assert policy.endswith(b"form-action 'self'; frame-ancestors 'none'")
        assert answer.one(b"cross-origin-opener-policy") == b"same-origin"
        assert answer.one(b"referrer-policy") == b"same-origin"
        assert answer.one(b"cache-control") == b"no-store"

    def test_password_managers_and_phones_know_the_fields(self, entrance: Entrance) -> None:
        body = entrance.ask(LOGIN)[1].body
        assert 'autocomplete="username"' in body
        assert 'autocomplete="current-password"' in body
        assert 'autocapitalize="none"' in body
        assert '<meta name="viewport"' in body


class TestWhereItLeads:
    @pytest.mark.parametrize(
        ("query", "path"),
        [
            (b"to=/ipython/10000/lab", b"/ipython/10000/lab"),
            (b"a=b&to=/x%3Fy%3D1%2526", b"/x?y=1%26"),
            (b"to=/%C3%A9?%FF", b"/%C3%A9?%FF"),
            (b"to=/a+b", b"/a+b"),
            (b"to=/?next=https://evil.example", b"/?next=https://evil.example"),
            *[
                (b"to=" + value, b"/")
                for value in (
                    b"", b"x", b"https://evil.example/", b"//evil.example", b"%2F%2Fevil.example",
                    b"/%5Cevil.example", b"/\\evil.example", b"\\\\evil.example", b"/%09/evil",
                    b"/%2F/evil.example", b"/%0d%0aX:%20y", b"/a%20b", b"javascript:alert(1)",
                    b"/../x", b"/a/%2e%2e/", b"/_ipyproxy/login?to=/x", b"/_ipyproxy/logout",
                    b"@evil.example",
                )
            ],
            (b"", b"/"),
            (b"x&too=/a", b"/"),
            (b"to=/a&to=//evil.example", b"/a"),
        ],
    )  # fmt: skip
    def test_nowhere_but_to_a_path_of_this_host(self, query: bytes, path: bytes) -> None:
        found = return_path(query)
        assert found == path
        assert re.fullmatch(rb"/(?![/\\])[!-~]*", found)


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


class TestAnotherLoginServer:
    def entrance(self, tmp_path: Path, status: int = 401) -> Entrance:
        login = "https://login.example/start?rd={url}"
        says = Says(Failed(Lack.NOTHING, status, (b"WWW-Authenticate: Bearer",), login))
        rules = [("/ipython", "forward", ""), ("/ipython/10001", "link or htpasswd or forward", "")]
        link = Says(Failed(Lack.NOTHING))
        return Entrance(tmp_path, *rules, methods={"forward": says, "link": link})

    def test_a_person_is_led_there(self, tmp_path: Path) -> None:
        entrance = self.entrance(tmp_path)
        _, answer = entrance.ask(LAB + "?a=b&c", *OPENS)
        assert answer.status == 303
        address = urlsplit(answer.one(b"location").decode())
        assert (address.netloc, address.path) == ("login.example", "/start")
        assert parse_qs(address.query) == {"rd": [f"https://hub.example{LAB}?a=b&c"]}

    def test_a_program_is_not(self, tmp_path: Path) -> None:
        entrance = self.entrance(tmp_path)
        for lines in ([], FETCHES, WEBSOCKET):
            _, answer = entrance.ask(LAB, *lines)
            assert (answer.status, answer.one(b"www-authenticate")) == (401, b"Bearer")

    def test_nor_one_whom_a_login_would_not_help(self, tmp_path: Path) -> None:
        entrance = self.entrance(tmp_path, 403)
        assert entrance.ask(LAB, *OPENS)[1].status == 403

    def test_of_several_the_first_counts(self, tmp_path: Path) -> None:
        entrance = self.entrance(tmp_path)
        _, answer = entrance.ask("/ipython/10001/", *OPENS)
        assert answer.one(b"location").startswith(b"/_ipyproxy/login?to=")
