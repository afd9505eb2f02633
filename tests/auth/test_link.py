"""Signed links at the gate: exchanged for a cookie, taken out of addresses, void after a change."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipyproxy.access.sessions import BROWSER_COOKIE
from ipyproxy.access.tokens import COOKIE, Ticket
from ipyproxy.auth.link import key_file
from ipyproxy.auth.watchedfile import UnusableFileError
from ipyproxy.errors import Problem
from tests.auth.door import KEYS, NOW, RING, Door, cookie, link
from tests.web.gate import head_of, message
from tests.web.test_admission import WEBSOCKET

JUPYTERS = b"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c"


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


class TestTheExchange:
    def test_a_link_becomes_a_cookie_and_a_clean_address(self, door: Door) -> None:
        _, heard = door.knock(b"/ipython/10000/lab?a=%%20&token=%b&b" % link())
        start, lines = head_of(heard)
        assert start == b"HTTP/1.1 303 See Other"
        assert b"Location: /ipython/10000/lab?a=%%20&b".replace(b"%%", b"%") in lines
        assert b"Cache-Control: no-store" in lines
        given = [line for line in lines if line.startswith(b"Set-Cookie: ")]
        (known,) = [line for line in given if BROWSER_COOKIE in line]
        given.remove(known)
        assert known.endswith(b"; Path=/; Max-Age=2592000; Secure; HttpOnly; SameSite=Lax")
        parts = [line.removeprefix(b"Set-Cookie: ").partition(b"; ") for line in given]
        value = parts[0][0]
        assert {attributes for _, _, attributes in parts} == {
            b"Path=/ipython/10000; Max-Age=50; Secure; HttpOnly; SameSite=Lax",
            b"Path=/_ipyproxy/state/10000; Max-Age=50; Secure; HttpOnly; SameSite=Lax",
        }
        assert door.gate.dialler.attempts == []

        assert door.status(b"/ipython/10000/lab?a=%20&b", b"Cookie: a=1; " + value) == 200
        start, lines = head_of(door.upstream)
        assert start == b"GET /ipython/10000/lab?a=%20&b HTTP/1.1"
        assert {b"X-Remote-User: alice", b"Cookie: a=1"} <= lines
        assert COOKIE not in door.upstream

    def test_the_cookie_shows_its_state_too(self, door: Door) -> None:
        assert door.status(b"/_ipyproxy/state/10000", cookie()) == 200
        assert door.status(b"/_ipyproxy/state/10003", cookie()) == 403
        assert door.status(b"/_ipyproxy/state/10000") == 403
        # A link is for the notebook, and is not exchanged here.
        assert door.status(b"/_ipyproxy/state/10000?token=" + link()) == 403

    @pytest.mark.parametrize("kind", [[], WEBSOCKET], ids=["HTTP", "WebSocket"])
    def test_the_cookie_opens_its_route_until_it_ends(self, door: Door, kind: list[bytes]) -> None:
        assert door.status(b"/ipython/10000/", cookie(), *kind) == 200
        assert door.status(b"/ipython/10003/", cookie(), *kind) == 403
        assert door.status(b"/ipython/10000/", *kind) == 403
        door.now += 49
        assert door.status(b"/ipython/10000/", cookie(), *kind) == 200
        door.now += 1
        assert door.status(b"/ipython/10000/", cookie(), *kind) == 403

    def test_a_websocket_cannot_be_led_on_so_the_link_itself_opens_it(self, door: Door) -> None:
        assert door.status(b"/ipython/10000/ws?token=%b&x" % link(), *WEBSOCKET) == 200
        assert head_of(door.upstream)[0] == b"GET /ipython/10000/ws?x HTTP/1.1"

    def test_nor_can_what_has_a_body(self, door: Door) -> None:
        assert door.status(b"/ipython/10000/api?token=%b" % link(), method=b"POST") == 200
        assert head_of(door.upstream)[0] == b"POST /ipython/10000/api HTTP/1.1"

    def test_the_head_of_a_page_is_led_on_like_the_page(self, door: Door) -> None:
        assert door.status(b"/ipython/10000/?token=%b" % link(), method=b"HEAD") == 303


class TestTheNotebooksOwnToken:
    """One that came with a link logs in to the notebook itself."""

    LINE = b"Authorization: token " + JUPYTERS

    def cookie(self, door: Door) -> bytes:
        ticket = Ticket("alice", NOW - 10, NOW + 50, JUPYTERS)
        token = RING.sign(b"/ipython/10000", ticket)
        _, heard = door.knock(b"/ipython/10000/lab?token=" + token)
        start, lines = head_of(heard)
        assert start == b"HTTP/1.1 303 See Other"
        assert b"Location: /ipython/10000/lab" in lines
        assert JUPYTERS not in heard
        given = next(line for line in lines if line.startswith(b"Set-Cookie: " + COOKIE))
        return given.removeprefix(b"Set-").partition(b";")[0]

    def test_it_goes_with_the_pages_that_somebody_opens(self, door: Door) -> None:
        cookie = self.cookie(door)
        assert door.status(b"/ipython/10000/lab", cookie) == 200
        assert self.LINE in head_of(door.upstream)[1]
        assert COOKIE not in door.upstream

    def test_not_with_what_changes_or_opens_something(self, door: Door) -> None:
        cookie = self.cookie(door)
        for method, lines in ((b"POST", []), (b"DELETE", []), (b"GET", WEBSOCKET)):
            assert door.status(b"/ipython/10000/api", cookie, *lines, method=method) == 200
            assert b"Authorization" not in door.upstream

    def test_nor_beside_another_one(self, door: Door) -> None:
        cookie = self.cookie(door)
        assert door.status(b"/ipython/10000/api", cookie, b"Authorization: token other") == 200
        assert door.upstream.count(b"Authorization: token ") == 1
        assert self.LINE not in head_of(door.upstream)[1]

    def test_nor_to_another_notebook_nor_once_the_link_has_ended(self, door: Door) -> None:
        cookie = self.cookie(door)
        assert door.status(b"/ipython/10003/", cookie) == 403
        door.now += 60
        assert door.status(b"/ipython/10000/", cookie) == 403


class TestWhatDoesNotOpen:
    @pytest.mark.parametrize("kind", [[], WEBSOCKET], ids=["HTTP", "WebSocket"])
    @pytest.mark.parametrize(
        ("target", "token"),
        [
            (b"/ipython/10000/", link(port=10003)),
            (b"/ipython/10000/", link(issued=NOW - 100)),
            (b"/ipython/10000/", link(user="alice").replace(b".alice", b".bob")),
            (b"/ipython/10000/", link().replace(b"v1.k1.", b"v1.k9.")),
            (b"/ipython/10001/", link(port=10001, user="bob")),
            (b"/ipython/", link()),
            (b"/ipython/99999/", link(port=99999)),
        ],
    )
    def test_a_link_for_something_else(
        self, door: Door, target: bytes, token: bytes, kind: list[bytes]
    ) -> None:
        assert door.status(b"%b?token=%b" % (target, token), *kind) == 403

    def test_a_cookie_as_a_link_or_a_link_as_a_cookie(self, door: Door) -> None:
        as_link = cookie().partition(b"=")[2]
        assert door.status(b"/ipython/10000/?token=" + as_link) == 403
        as_cookie = b"Cookie: " + COOKIE + b"=" + link()
        assert door.status(b"/ipython/10000/", as_cookie) == 403

    def test_whoever_is_inside_loses_a_bad_link_and_nothing_else(self, door: Door) -> None:
        # It may be a good one of another route, which this notebook must not learn.
        bad = link(port=10003)
        _, heard = door.knock(b"/ipython/10000/?token=" + bad, cookie())
        start, lines = head_of(heard)
        assert start == b"HTTP/1.1 303 See Other"
        assert b"Location: /ipython/10000/" in lines
        assert not any(line.startswith(b"Set-Cookie") for line in lines)
        assert door.status(b"/ipython/10000/?token=" + bad, cookie(), *WEBSOCKET) == 200
        assert bad not in door.upstream


class TestJupytersOwnToken:
    def test_it_reaches_the_notebook(self, door: Door) -> None:
        target = b"/ipython/10000/lab?token=" + JUPYTERS
        assert door.status(target) == 403
        assert door.status(target, cookie()) == 200
        assert head_of(door.upstream)[0] == b"GET %b HTTP/1.1" % target

    def test_beside_ours(self, door: Door) -> None:
        both = b"/ipython/10000/lab?token=%b&token=%b" % (JUPYTERS, link())
        _, heard = door.knock(both)
        assert b"\r\nLocation: /ipython/10000/lab?token=%b\r\n" % JUPYTERS in heard

    def test_where_no_link_is_asked_for_every_token_is_the_notebooks(self, door: Door) -> None:
        target = b"/ipython/10002/?token=" + link(port=10002)
        assert door.status(target) == 200
        assert head_of(door.upstream)[0] == b"GET %b HTTP/1.1" % target


class TestAPortThatChangesHands:
    @pytest.mark.parametrize("kind", [[], WEBSOCKET], ids=["HTTP", "WebSocket"])
    def test_links_and_cookies_of_before_are_void(self, door: Door, kind: list[bytes]) -> None:
        assert door.status(b"/ipython/10000/", cookie(), *kind) == 200
        door.revocations.revoke("10000", NOW - 5)
        assert door.status(b"/ipython/10000/", cookie(), *kind) == 403
        assert door.status(b"/ipython/10000/?token=" + link(), *kind) == 403
        assert door.status(b"/ipython/10003/", cookie(port=10003), *kind) == 200
        assert door.status(b"/ipython/10000/", cookie(issued=NOW - 4), *kind) == 200


class TestTheKeyFile:
    def test_keys_rotate_while_we_serve(self, door: Door) -> None:
        door.write("k2:" + "t" * 40 + "\n" + KEYS)
        assert door.status(b"/ipython/10000/", cookie()) == 200
        _, heard = door.knock(b"/ipython/10000/?token=" + link())
        assert COOKIE + b"=v1.k2." in heard
        door.write("k2:" + "t" * 40 + "\n")
        assert door.status(b"/ipython/10000/", cookie()) == 403

    @pytest.mark.parametrize("text", ["", "# none\n", "k1:short\n", "k1=" + "s" * 40, "\xff"])
    def test_one_that_is_none_opens_nothing(self, door: Door, text: str) -> None:
        door.file.write_bytes(text.encode("latin-1"))
        assert door.status(b"/ipython/10000/", cookie()) == 502
        with pytest.raises(UnusableFileError, match="keys"):
            key_file(door.file)
        door.write(KEYS)
        assert door.status(b"/ipython/10000/", cookie()) == 200

    def test_nor_does_one_that_is_gone(self, door: Door) -> None:
        door.file.unlink()
        assert door.status(b"/ipython/10000/", cookie()) == 502

    def test_one_that_all_can_read_is_refused(self, door: Door) -> None:
        door.file.chmod(0o644)
        assert door.status(b"/ipython/10000/", cookie()) == 502
        with pytest.raises(UnusableFileError, match="can be read by all users"):
            key_file(door.file)


def test_the_reason_is_told_to_the_log_only(door: Door) -> None:
    told = []
    audit = door.gate.server._audit

    def note(client: str, error: object, *arguments: object, **more: object) -> None:
        told.append(str(error))

    audit.note = note  # type: ignore[method-assign]
    token = link(issued=NOW - 100)
    _, heard = door.knock(b"/ipython/10000/?token=" + token)
    assert told == [f"{Problem.ACCESS_DENIED.title}: link: expired or revoked"]
    assert token not in heard
    assert message(b"")
