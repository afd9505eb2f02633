"""Who may go on: the gate before the tree, in memory, for HTTP and WebSocket alike."""

from __future__ import annotations

from base64 import b64encode

import pytest
from twisted.internet.defer import Deferred

from ipyproxy.access.facts import Failed, Finding, Lack, Passed, RequestFacts
from ipyproxy.access.reserved import ReservedFields
from ipyproxy.access.rules import Rule, Rules, parse_requirement
from ipyproxy.auth import Gate as AuthGate
from ipyproxy.auth import InMemory, Method
from ipyproxy.config import Health
from ipyproxy.errors import Problem, ProxyError
from tests.front import Browser
from tests.web.gate import HOST, UNWATCHED, Gate, ask, head_of, message

WEBSOCKET = [
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
]
BOTH = pytest.mark.parametrize("kind", [[], WEBSOCKET], ids=["HTTP", "WebSocket"])


def typed(name: str, password: str) -> bytes:
    return b"Authorization: Basic " + b64encode(f"{name}:{password}".encode())


ALICE, BOB, EVE = typed("alice", "a"), typed("bob", "b"), typed("alice", "guess")


class Says:
    """A method that always says the same."""

    def __init__(self, finding: Finding | Exception) -> None:
        self.finding = finding

    def examine(self, facts: RequestFacts) -> Finding:
        if isinstance(self.finding, Exception):
            raise self.finding
        return self.finding


class Door:
    """A gate with rules, and users who are kept in memory."""

    health = UNWATCHED

    def __init__(self, *rules: tuple[str, str, str], **methods: Method) -> None:
        self.users = InMemory({"alice": "a", "bob": "b"})
        made = Rules(
            Rule(path.encode(), parse_requirement(require), frozenset(users.split()))
            for path, require, users in rules
        )
        known: dict[str, Method] = {"htpasswd": self.users, **methods}
        gate = AuthGate(made, known, prefix="/ipython")
        reserved = ReservedFields(["X-Remote-User"], basic=True)
        self.gate = Gate(auth=gate, reserved=reserved, health=self.health)

    def knock(self, path: bytes, *lines: bytes) -> tuple[Browser, bytes]:
        browser = self.gate.connect()
        return browser, ask(browser, b"GET %b HTTP/1.1" % path, *lines)

    def upstream(self) -> set[bytes]:
        """The field lines that a notebook gets."""
        return head_of(self.gate.notebook().hear())[1]


class WatchedDoor(Door):
    """The same, where ports are probed."""

    health = Health()


@pytest.fixture
def door() -> Door:
    return Door(
        ("/", "none", ""),
        ("/ipython", "htpasswd", ""),
        ("/ipython/10001", "htpasswd", "bob carol"),
        ("/ipython/10002", "none", ""),
    )


def status(heard: bytes) -> int:
    return int(heard.split(b" ", 2)[1]) if heard else 0


@BOTH
class TestBothKinds:
    def test_nobody_is_asked_to_log_in(self, door: Door, kind: list[bytes]) -> None:
        for lines in ([], [EVE], [typed("carol", "")], [b"Authorization: token abc"]):
            _, heard = door.knock(b"/ipython/10000/", *kind, *lines)
            start, fields = head_of(heard)
            assert start == b"HTTP/1.1 401 Unauthorized"
            assert b'WWW-Authenticate: Basic realm="notebooks", charset="UTF-8"' in fields
            assert b"Cache-Control: no-store" in fields
        assert door.gate.dialler.attempts == []

    def test_what_comes_behind_a_refused_handshake_is_no_request(
        self, door: Door, kind: list[bytes]
    ) -> None:
        browser, heard = door.knock(b"/ipython/10000/", *kind)
        assert (b"\r\nConnection: close\r\n" in heard) == bool(kind)
        assert (ask(browser, b"GET / HTTP/1.1") == b"") == bool(kind)

    def test_a_user_passes_and_the_notebook_learns_who(self, door: Door, kind: list[bytes]) -> None:
        door.knock(b"/ipython/10000/", *kind, ALICE)
        lines = door.upstream()
        assert b"X-Remote-User: alice" in lines
        assert not any(line.startswith(b"Authorization") for line in lines)

    def test_another_user_does_not(self, door: Door, kind: list[bytes]) -> None:
        _, heard = door.knock(b"/ipython/10001/", *kind, ALICE)
        assert status(heard) == 403
        assert door.gate.dialler.attempts == []
        door.knock(b"/ipython/10001/", *kind, BOB)
        assert b"X-Remote-User: bob" in door.upstream()

    def test_where_nothing_is_asked_everybody_passes(self, door: Door, kind: list[bytes]) -> None:
        for lines in ([], [EVE]):
            door.knock(b"/ipython/10002/", *kind, *lines)
            assert not any(b"Remote-User" in line for line in door.upstream())
        assert door.users.asked == []

    def test_origin_comes_first(self, door: Door, kind: list[bytes]) -> None:
        _, heard = door.knock(b"/ipython/10000/", *kind, ALICE, b"Origin: https://evil.example")
        assert status(heard) == 403
        assert door.users.asked == []

    def test_it_may_take_its_time(self, door: Door, kind: list[bytes]) -> None:
        door.users.held = True
        browser, heard = door.knock(b"/ipython/10000/", *kind, ALICE)
        door.gate.wait(30)
        assert heard == browser.hear() == b""
        assert door.gate.dialler.attempts == []
        door.users.release()
        assert b"X-Remote-User: alice" in door.upstream()

    def test_a_client_that_leaves_is_asked_after_no_more(
        self, door: Door, kind: list[bytes]
    ) -> None:
        door.users.held = True
        browser, _ = door.knock(b"/ipython/10000/", *kind, ALICE)
        assert len(door.users.waiting) == 1
        browser.hang_up()
        assert door.users.waiting == []
        assert door.gate.statuses == [499]
        assert door.gate.is_at_rest
        assert door.gate.loop.failures == []


class TestTheFrontPage:
    def test_a_rule_covers_it_like_anything_else(self) -> None:
        door = Door(("/", "htpasswd", ""))
        for path in (b"/", b"/nowhere", b"/_ipyproxy/state/10000"):
            assert status(door.knock(path)[1]) == 401
            assert status(door.knock(path, ALICE)[1]) in (200, 404)

    def test_without_a_rule_nothing_is_asked(self) -> None:
        door = Door(("/ipython/10001", "htpasswd", ""))
        assert status(door.knock(b"/", EVE)[1]) == 200
        assert door.users.asked == []


class TestTheStateOfANotebook:
    """It is for whoever may reach the notebook, and nobody else makes us look at a port."""

    def door(self, *rules: tuple[str, str, str]) -> Door:
        return WatchedDoor(("/ipython", "htpasswd", ""), *rules)

    def test_a_stranger_is_told_nothing_of_any_port(self) -> None:
        door = self.door()
        for port in (1, 22, 5432, 8443, *range(10000, 10020), 14999, 15000, 65535):
            for lines in ([], [EVE], [*WEBSOCKET]):
                browser, heard = door.knock(b"/_ipyproxy/state/%d" % port, *lines)
                assert status(heard) == 401
                browser.hang_up()
        door.gate.wait(60)
        assert door.gate.prober.attempts == door.gate.dialler.attempts == []
        assert door.gate.table.all() == []

    def test_whoever_may_reach_it_is_told(self) -> None:
        door = self.door()
        _, heard = door.knock(b"/_ipyproxy/state/10000", ALICE)
        assert heard.endswith(b'{"state": "unknown"}\n')
        door.gate.wait(1)
        assert len(door.gate.prober.attempts) == 1

    @pytest.mark.parametrize("rest", [b"10000", b"99", b"15000", b"010000", b"x", b"10000/x", b""])
    @pytest.mark.parametrize("lines", [[], [ALICE], [BOB]], ids=["nobody", "alice", "bob"])
    @pytest.mark.parametrize(
        "rule",
        [
            ("/ipython/10000", "htpasswd", "alice"),
            ("/_ipyproxy", "none", ""),
            ("/_ipyproxy/state", "none", ""),
            ("/_ipyproxy", "htpasswd", "bob"),
        ],
    )
    def test_it_is_refused_where_the_notebook_is(
        self,
        rule: tuple[str, str, str],
        lines: list[bytes],
        rest: bytes,
    ) -> None:
        door = self.door(rule)
        _, of_notebook = door.knock(b"/ipython/" + rest, *lines)
        _, of_state = door.knock(b"/_ipyproxy/state/" + rest, *lines)
        refusals = [heard and status(heard) in (401, 403) for heard in (of_notebook, of_state)]
        assert refusals[0] == refusals[1] or not of_notebook

    def test_who_may_is_asked_of_the_notebook(self) -> None:
        door = self.door()
        door.knock(b"/_ipyproxy/state/10000?a=b", ALICE)
        [facts] = door.users.asked
        assert (facts.target, facts.path) == (b"/ipython/10000/", b"/ipython/10000/")
        assert facts.route == b"/ipython/10000"


class TestBodies:
    def post(self, door: Door, body: bytes, *lines: bytes) -> Browser:
        browser = door.gate.connect()
        length = b"Content-Length: %d" % len(body)
        browser.say(message(b"POST /ipython/10000/ HTTP/1.1", HOST, ALICE, length, *lines))
        return browser

    def test_a_body_waits_until_it_is_decided(self, door: Door) -> None:
        door.users.held = True
        body = bytes(range(256)) * 1024
        browser = self.post(door, body)
        browser.say(body[:1000])
        browser.say(body[1000:])
        assert browser.wire.unread > 0, "all of it was read"
        door.gate.wait(120)
        assert browser.is_connected
        door.users.release()
        door.gate.loop.settle()
        assert door.gate.notebook().hear().endswith(body)

    def test_one_that_came_with_its_head_is_not_lost(self, door: Door) -> None:
        door.users.held = True
        browser = door.gate.connect()
        head = message(b"POST /ipython/10000/ HTTP/1.1", HOST, ALICE, b"Content-Length: 5")
        browser.say(head + b"hello")
        door.users.release()
        wire = door.gate.notebook()
        assert wire.hear().endswith(b"\r\n\r\nhello")
        door.gate.tell(wire, message(b"HTTP/1.1 204 No Content"))
        assert status(browser.hear()) == 204

    def test_nor_on_a_connection_that_was_kept(self, door: Door) -> None:
        door.knock(b"/ipython/10000/", ALICE)
        wire = door.gate.notebook()
        wire.hear()
        door.gate.tell(wire, message(b"HTTP/1.1 200 OK", b"Content-Length: 0"))
        for chunked in (False, True):
            door.users.held = True
            browser = door.gate.connect()
            framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 5"
            head = message(b"POST /ipython/10000/ HTTP/1.1", HOST, ALICE, framing)
            browser.say(head + (b"5\r\nhello\r\n0\r\n\r\n" if chunked else b"hello"))
            door.users.release()
            door.gate.loop.settle()
            assert b"hello" in wire.hear().partition(b"\r\n\r\n")[2]
            door.gate.tell(wire, message(b"HTTP/1.1 200 OK", b"Content-Length: 0"))
            assert status(browser.hear()) == 200

    def test_of_one_that_is_refused_nothing_is_passed_on(self, door: Door) -> None:
        browser = door.gate.connect()
        head = message(b"POST /ipython/10000/ HTTP/1.1", HOST, EVE, b"Content-Length: 9")
        assert status(browser.say(head + b"hello")) == 401
        assert door.gate.dialler.attempts == []
        assert not browser.channel.persistent

    def test_what_is_pipelined_behind_waits_its_turn(self, door: Door) -> None:
        door.users.held = True
        browser, _ = door.knock(b"/ipython/10000/", ALICE)
        browser.say(message(b"GET /ipython/10000/second HTTP/1.1", HOST))
        assert len(door.users.asked) == 1
        door.users.release()
        wire = door.gate.notebook()
        door.users.held = False
        assert wire.hear().startswith(b"GET /ipython/10000/ ")
        door.gate.tell(wire, message(b"HTTP/1.1 200 OK", b"Content-Length: 0"))
        # The second one has shown nothing: being let in once is no pass for a connection.
        first, _, second = browser.hear().partition(b"\r\n\r\n")
        assert status(first) == 200
        assert status(second) == 401


class TestRequirements:
    def door(self, require: str, **methods: Method) -> Door:
        return Door(("/", require, ""), **methods)

    def test_one_of_several_is_enough(self) -> None:
        link = Says(Failed(Lack.NOTHING))
        door = self.door("link or htpasswd", link=link)
        assert status(door.knock(b"/")[1]) == 401
        assert status(door.knock(b"/", ALICE)[1]) == 200
        link.finding = Passed("carol")
        asked = len(door.users.asked)
        assert status(door.knock(b"/")[1]) == 200
        assert len(door.users.asked) == asked

    def test_two_together_have_to_mean_one_user(self) -> None:
        certificate = Says(Failed(Lack.NOTHING))
        door = self.door("certificate and htpasswd", certificate=certificate)
        assert status(door.knock(b"/", ALICE)[1]) == 403
        assert door.users.asked == [], "a password was tried without a certificate"
        certificate.finding = Passed("alice")
        assert status(door.knock(b"/")[1]) == 401
        assert status(door.knock(b"/", BOB)[1]) == 403
        assert status(door.knock(b"/", ALICE)[1]) == 200

    def test_each_is_asked_once(self) -> None:
        link = Says(Failed(Lack.NOTHING))
        door = self.door("htpasswd and link or htpasswd", link=link)
        assert status(door.knock(b"/", ALICE)[1]) == 200
        assert len(door.users.asked) == 1

    def test_what_cannot_be_found_out_lets_nobody_in(self) -> None:
        broken = Says(ProxyError(Problem.AUTH_UNAVAILABLE, "it is down"))
        door = self.door("forward or htpasswd", forward=broken)
        assert status(door.knock(b"/", ALICE)[1]) == 502

    def test_a_mistake_of_ours_lets_nobody_in(self) -> None:
        door = self.door("forward", forward=Says(ValueError("mistake")))
        for lines in ([], WEBSOCKET):
            assert status(door.knock(b"/ipython/10000/", *lines)[1]) == 500
        assert door.gate.dialler.attempts == []

    def test_lines_of_a_method_go_upstream(self) -> None:
        found = Passed("dave", (b"X-Group: staff",))
        door = self.door("forward", forward=Says(found))
        door.knock(b"/ipython/10000/")
        assert {b"X-Remote-User: dave", b"X-Group: staff"} <= door.upstream()


class TestWhatAClientSaysOfItself:
    @pytest.mark.parametrize(
        "line", [b"X-Remote-User: root", b"X_Remote_User: root", b"x.remote.user: root"]
    )
    @pytest.mark.parametrize("path", [b"/ipython/10000/", b"/ipython/10002/"])
    def test_it_counts_for_nothing(self, door: Door, line: bytes, path: bytes) -> None:
        door.knock(path, line, ALICE)
        assert not any(b"root" in line for line in door.upstream())

    @pytest.mark.parametrize("named", [b"X-Remote-User", b"close, x-remote-user, X-Group"])
    def test_nor_can_it_have_ours_dropped(self, door: Door, named: bytes) -> None:
        door.knock(b"/ipython/10000/", b"Connection: " + named, ALICE)
        assert b"X-Remote-User: alice" in door.upstream()

    def test_a_notebooks_own_token_passes(self, door: Door) -> None:
        door.knock(b"/ipython/10002/", b"Authorization: token secret")
        assert b"Authorization: token secret" in door.upstream()

    def test_a_password_reaches_no_notebook_that_asks_for_it(self, door: Door) -> None:
        # A browser sends it to any path where it was asked for with the same realm.
        door.knock(b"/ipython/10002/", ALICE)
        assert not any(line.startswith(b"Authorization") for line in door.upstream())


def test_the_log_has_the_name(door: Door) -> None:
    for lines in ([ALICE], [EVE], []):
        door.knock(b"/ipython/10001/", *lines)
    door.knock(b"/ipython/10001/", BOB)
    door.gate.tell(door.gate.notebook(), message(b"HTTP/1.1 204 No Content"))
    users = [(request.user, request.status) for request in door.gate.recorded]
    assert users == [(None, 403), (None, 401), (None, 401), ("bob", 204)]


def test_without_a_gate_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("a Deferred was made")

    gate = Gate()
    monkeypatch.setattr(Deferred, "__init__", fail)
    assert ask(gate.connect()) == b""
    assert gate.notebook().hear().startswith(b"GET /ipython/10000/ ")
