"""The login page: who is led to it, what its form does, and where it leads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ipyproxy.access.facts import Failed, Lack
from ipyproxy.access.sessions import COOKIE
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.web.forms import FORM_BYTES
from ipyproxy.web.login import return_path
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
