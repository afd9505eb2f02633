"""Authentication at the live proxy: every kind of credential, in every state, for both kinds."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from ipyproxy.access.tokens import COOKIE, Keyring, Ticket

from .guarded import REQUIREMENTS, STATES, Guarded, Shown, basic, failures
from .live import ask, exchange
from .processes import poll
from .proxy import Proxy
from .sentinel import Sentinel

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """The proxy, its notebooks, and what visitors can show."""
    with Guarded(tmp_path_factory.mktemp("guarded")) as running:
        yield running


@pytest.fixture(autouse=True)
def no_traceback(site: Guarded) -> Iterator[None]:
    """Fail a test during which the proxy logged a traceback."""
    seen = len(site.proxy.child.log())
    yield
    assert "Traceback" not in (new := site.proxy.child.log()[seen:]), new


def test_only_good_credentials_reach_a_notebook(site: Guarded) -> None:
    assert list(failures(site)) == []


@pytest.mark.parametrize("kind", ["HTTP", "WebSocket"])
def test_the_matrix_notices_if_one_kind_is_not_asked(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Guarded(tmp_path_factory.mktemp("forgetful"), left_out=kind) as forgetful:
        wrong = set(failures(forgetful))
    # A certificate that does not hold ends its handshake already.
    missed = {
        (kind, name, state)
        for name in REQUIREMENTS
        for state in STATES
        if state != "good" and not ("certificate" in name and state in ("wrong", "expired"))
    }
    assert missed <= wrong
    assert {which for which, _, _ in wrong} == {kind}


def test_a_notebook_learns_who_it_is_from_us_alone(site: Guarded) -> None:
    lies = ["X-Remote-User: root", "X_Remote_User: root", "X-Auth-Request-Email: root@x"]
    for name in REQUIREMENTS:
        shown = site.shown(name, "good")
        shown.lines += lies
        for websocket in (False, True):
            assert site.visit(name, shown, websocket=websocket) in (200, 101)
            head = site.notebooks[name].heads[-1]
            lines = head.split(b"\r\n")
            assert b"X-Remote-User: alice" in lines
            assert b"root" not in head
            assert b"Authorization" not in head
            assert b"token=" not in head
            assert b"ipyproxy=" not in head
            asked = name in ("forward", "forward and link")
            assert (b"X-Auth-Request-Email: alice@example.org" in lines) == asked


def test_the_notebooks_own_token_passes(site: Guarded) -> None:
    shown = site.shown("cookie", "good")
    shown.lines.append("Authorization: token 0123")
    assert site.visit("cookie", shown, websocket=False) == 200
    assert b"\r\nAuthorization: token 0123" in site.notebooks["cookie"].heads[-1]
    assert site.visit("htpasswd", Shown(["Authorization: token 0123"]), websocket=False) == 401


def test_the_login_server_knows_what_was_asked(site: Guarded) -> None:
    site.login.asked.clear()
    shown = site.shown("forward", "wrong")
    shown.lines.append("X-Original-URI: /lie")
    assert site.visit("forward", shown, websocket=False) == 401
    (asked,) = site.login.asked
    path = site.path("forward") + "/lab"
    public = f"https://localhost:{site.proxy.port}"
    assert asked["X-Original-URI"] == asked["X-Forwarded-Uri"] == path
    assert asked["X-Auth-Request-Redirect"] == public + path
    assert asked["X-Forwarded-Host"] == f"localhost:{site.proxy.port}"
    assert asked["X-Forwarded-Method"] == "GET"
    assert asked["X-Forwarded-For"] == "127.0.0.1"


def test_what_it_says_goes_to_the_browser(site: Guarded) -> None:
    host = f"Host: localhost:{site.proxy.port}"
    for state, status, line in (
        ("none", b"401", b'WWW-Authenticate: Bearer realm="login"'),
        ("another route's", b"403", b"Location: https://login.example/"),
    ):
        shown = site.shown("forward", state)
        answer = exchange(site.proxy, site.path("forward"), [host, *shown.lines])
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert line in answer.split(b"\r\n")


def test_the_access_log_has_names_and_no_secrets(site: Guarded) -> None:
    site.visit("link", site.shown("link", "good"), websocket=False)
    site.visit("htpasswd", site.shown("htpasswd", "wrong"), websocket=False)
    log = site.proxy.child.log()
    assert "127.0.0.1 - alice [" in log
    assert "token=REDACTED" in log
    for secret in ("v1.k1.", "mistyped", basic("alice", "mistyped").split()[1]):
        assert secret not in log


def test_a_password_counts_no_more_once_it_is_taken_out_of_the_file(site: Guarded) -> None:
    shown = site.shown("htpasswd", "good")
    assert site.visit("htpasswd", shown, websocket=False) == 200
    users = site.directory / "users"
    text = users.read_text()
    # What was seen of the file counts for a second.
    for content, status in ((text.replace("alice:", "alicia:"), 401), (text, 200)):
        users.write_text(content)
        poll(
            lambda status=status: site.visit("htpasswd", shown, websocket=False) == status or None,  # type: ignore[misc]
            seconds=10,
            waiting_for=f"{status}",
        )


def test_whoever_guesses_too_often_has_to_wait(
    tmp_path: Path,
) -> None:
    (tmp_path / "users").write_text(
        f"alice:{bcrypt.hashpw(b'right', bcrypt.gensalt(4)).decode()}\n"
    )
    proxy = Proxy(
        tmp_path,
        "limits.login_failures = 2\nauth.htpasswd = 'users'\n"
        "auth.rules = [{ path = '/ipython', require = 'htpasswd' }]\n",
    )
    try:
        host = f"Host: localhost:{proxy.port}"

        def log_in(password: str, path: str = "/ipython/10000/") -> bytes:
            lines = [host, f"Authorization: {basic('alice', password)}"]
            return exchange(proxy, path, lines)

        statuses = [log_in(f"guess {number}").split()[1] for number in range(3)]
        assert statuses == [b"401"] * 3
        answer = log_in("right")
        assert answer.startswith(b"HTTP/1.1 429 ")
        (wait,) = re.findall(rb"\r\nRetry-After: ([0-9]+)\r\n", answer)
        assert 1 <= int(wait) <= 2
        # What needs no password is served meanwhile.
        assert exchange(proxy, "/", [host]).startswith(b"HTTP/1.1 200 ")
        time.sleep(int(wait) + 0.5)
        assert not log_in("right").startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 429 "))
        assert re.search(r'refused 127\.0\.0\.1: 429 too-many-logins ""', proxy.child.log())
        assert 'refused 127.0.0.1: 401 login-failed "htpasswd: wrong' in proxy.child.log()
    finally:
        proxy.child.stop()


def test_a_session_outlives_a_restart_and_no_log_out(tmp_path: Path) -> None:
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
    (tmp_path / "users").write_text(f"alice:{hashed}\n")
    configuration = (
        "limits.login_failures = 2\nauth.htpasswd = 'users'\nhealth.mode = 'off'\n"
        "auth.rules = [{ path = '/ipython', require = 'htpasswd' }]\n"
    )

    def send(path: str, form: bytes, *lines: str) -> bytes:
        host = [f"Host: localhost:{proxy.port}", f"Origin: {proxy.origin}"]
        return exchange(proxy, path, [*host, *lines], method="POST", body=form)

    def log_in(password: str = "right") -> str:
        answer = send("/_ipyproxy/login", f"name=alice&password={password}".encode())
        if b"\r\nSet-Cookie: " not in answer:
            return answer.split(b" ", 2)[1].decode()
        return "Cookie: " + answer.partition(b"\r\nSet-Cookie: ")[2].partition(b";")[0].decode()

    def visit(cookie: str, *, websocket: bool = False) -> int:
        lines = [f"Host: localhost:{proxy.port}", cookie]
        return ask(proxy, f"/ipython/{notebook.port}/", lines, websocket=websocket)

    proxy = Proxy(tmp_path, configuration)
    try:
        with Sentinel() as notebook:
            one, other = log_in(), log_in()
            assert (visit(one), visit(one, websocket=True)) == (200, 101)
            assert b" 200 " in send("/_ipyproxy/logout", b"x", one)
            assert (visit(one), visit(other)) == (401, 200)
            proxy.child.stop()
            proxy = Proxy(tmp_path, configuration, port=proxy.port)
            assert (visit(one), visit(other)) == (401, 200)
            assert (tmp_path / "sessions.json").stat().st_mode & 0o777 == 0o600
            # Guesses by the page and by Basic are counted together.
            assert [log_in(f"mistyped{number}") for number in range(2)] == ["403"] * 2
            assert visit(f"Authorization: {basic('alice', 'mistyped2')}") == 401
            assert log_in() == "429"
            assert visit(other) == 200, "who is logged in has no password to show"
            proxy.child.stop()
            (tmp_path / "sessions.json").unlink()
            proxy = Proxy(tmp_path, configuration, port=proxy.port)
            assert visit(other) == 401
            log = proxy.child.log()
            assert "mistyped" not in log
    finally:
        proxy.child.stop()


def test_a_port_that_changes_hands_makes_its_links_void(tmp_path: Path) -> None:
    keys = tmp_path / "link.keys"
    keys.touch(mode=0o600)
    keys.write_text("k1:" + "s" * 40)
    configuration = (
        "health.mode = 'off'\nauth.link_keys = 'link.keys'\n"
        "auth.rules = [{ path = '/ipython', require = 'link' }]\n"
    )

    def cookie(port: int, issued: int) -> str:
        ticket = Ticket("alice", issued, issued + 3600)
        value = Keyring({"k1": "s" * 40}).bake(b"/ipython/%d" % port, ticket)
        return f"Cookie: {COOKIE.decode()}={value.decode()}"

    def visit(proxy: Proxy, port: int, line: str, *, websocket: bool = False) -> int:
        lines = [f"Host: localhost:{proxy.port}", line]
        return ask(proxy, f"/ipython/{port}/", lines, websocket=websocket)

    proxy = Proxy(tmp_path, configuration)
    try:
        with Sentinel() as former:
            port = former.port
            old = cookie(port, int(time.time()))
            assert visit(proxy, port, old) == 200
        with Sentinel(port) as newcomer:
            poll(
                lambda: visit(proxy, port, old) == 403 or None,
                seconds=30,
                waiting_for="the proxy to notice",
            )
            assert visit(proxy, port, old, websocket=True) == 403
            assert newcomer.heads == []
            # What is issued from now on is for the newcomer; a restart forgets nothing.
            new = cookie(port, int(time.time()) + 1)
            assert visit(proxy, port, new, websocket=True) == 101
            proxy.child.stop()
            proxy = Proxy(tmp_path, configuration)
            assert visit(proxy, port, old) == 403
            assert visit(proxy, port, new) == 200
    finally:
        proxy.child.stop()
