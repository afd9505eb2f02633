"""Asking somebody else: what such a server is told, and what its answers mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectBindError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from ipyproxy.access.facts import Failed, Lack, Passed
from ipyproxy.auth.forward import AT_ONCE, WAITING, ForwardAuth
from ipyproxy.errors import Problem, ProxyError
from tests.auth.asking import Told, asked


class Body:
    """The transport of an answer's body."""

    closed = False

    def loseConnection(self) -> None:
        self.closed = True


class Response:
    """An answer's head; its body is for the test to send."""

    def __init__(self, code: int, **headers: str) -> None:
        self.code = code
        self.headers = Headers({name.replace("_", "-"): [v] for name, v in headers.items()})
        self.body = Body()
        self.receiver: Any = None

    def deliverBody(self, receiver: Any) -> None:
        self.receiver = receiver
        receiver.makeConnection(self.body)


class Server:
    """The other server; the test answers."""

    def __init__(self, remembered: float = 0.0) -> None:
        self.clock = Clock()
        self.asked: list[tuple[str, Headers]] = []
        self.waiting: list[Deferred[Any]] = []
        self.given_up = 0
        self.method = ForwardAuth(
            self._ask,
            self.clock,
            "http://127.0.0.1:4180/oauth2/auth",
            user_header="X-Auth-Request-User",
            headers=["X-Auth-Request-Email", "X-Groups"],
            reserved=["X-Remote-User"],
            timeout=5.0,
            remembered=remembered,
        )

    def _ask(self, url: str, headers: Headers) -> Deferred[Any]:
        self.asked.append((url, headers))
        self.waiting.append(Deferred(self._cancelled))
        return self.waiting[-1]

    def _cancelled(self, _: Deferred[Any]) -> None:
        self.given_up += 1

    def examine(self, **facts: Any) -> Told:
        return Told(self.method, asked(**facts))

    def answer(self, code: int, **headers: str) -> Response:
        response = Response(code, **headers)
        self.waiting.pop(0).callback(response)
        return response


@pytest.fixture
def server() -> Server:
    return Server()


def refused(told: Told) -> str:
    """Why it could not be found out."""
    assert told.failure is not None
    error = told.failure.value
    assert isinstance(error, ProxyError)
    assert error.problem is Problem.AUTH_UNAVAILABLE
    return error.detail


class TestWhatItIsTold:
    def test_the_clients_own_fields_and_what_was_asked(self, server: Server) -> None:
        server.examine(
            target=b"/ipython/10000/lab?x=%2F",
            method=b"POST",
            authorization=[b"Bearer abc"],
            cookies=[b"_oauth2_proxy=s; a=b", b"c=d"],
            lines=[
                b"Accept: text/html",
                b"Authorization: Bearer abc",
                b"User-Agent: test",
                b"X-Original-URI: /lie",
                b"x-original-url: https://lie.example/",
                b"Accept-Encoding: gzip",
                b"If-None-Match: x",
                b"Range: bytes=0-",
                b"Expect: 100-continue",
            ],
        )
        url, headers = server.asked[0]
        assert url == "http://127.0.0.1:4180/oauth2/auth"
        assert dict(headers.getAllRawHeaders()) == {
            b"Accept": [b"text/html"],
            b"Authorization": [b"Bearer abc"],
            b"User-Agent": [b"test"],
            b"Cookie": [b"_oauth2_proxy=s; a=b", b"c=d"],
            b"X-Forwarded-For": [b"192.0.2.1"],
            b"X-Forwarded-Host": [b"hub.example"],
            b"X-Forwarded-Method": [b"POST"],
            b"X-Forwarded-Proto": [b"https"],
            b"X-Forwarded-Uri": [b"/ipython/10000/lab?x=%2F"],
            b"X-Original-Method": [b"POST"],
            b"X-Original-Uri": [b"/ipython/10000/lab?x=%2F"],
            b"X-Original-Url": [b"https://hub.example/ipython/10000/lab?x=%2F"],
            b"X-Auth-Request-Redirect": [b"https://hub.example/ipython/10000/lab?x=%2F"],
            b"X-Real-Ip": [b"192.0.2.1"],
        }

    def test_our_own_cookies_are_not(self, server: Server) -> None:
        shown = b"__Host-Http-ipyproxy=v1.x; _oauth2_proxy=s; __Secure-ipyproxy=v1.y"
        server.examine(cookies=[shown])
        assert server.asked[0][1].getRawHeaders(b"Cookie") == [b"_oauth2_proxy=s"]

    @pytest.mark.parametrize(
        "line",
        [
            b"X_Original_URI: /lie",
            b"x.original.url: https://lie.example/",
            b"X-Original-Anything: lie",
            b"X_Forwarded_User: root",
            b"X_Real_IP: 127.0.0.1",
            b"X-Remote-User: root",
            b"x_remote_user: root",
            b"X.Remote_User: root",
            b"X_Auth_Request_User: root",
            b"x-auth-request-email: root@b.example",
            b"X_Groups: admin",
        ],
    )
    def test_what_a_client_may_not_say_is_not_said(self, server: Server, line: bytes) -> None:
        name = line.partition(b":")[0]
        server.examine()
        server.examine(lines=[line])
        (_, without), (_, headers) = server.asked
        assert list(headers.getAllRawHeaders()) == list(without.getAllRawHeaders())
        assert line.partition(b": ")[2] not in headers.getRawHeaders(name, [])


class TestWhatItsAnswersMean:
    @pytest.mark.parametrize("code", [200, 202, 204, 299])
    def test_2xx_lets_pass(self, server: Server, code: int) -> None:
        told = server.examine()
        server.answer(
            code, X_Auth_Request_User="alice", X_Auth_Request_Email="a@b.example", X_Other="1"
        )
        assert told.finding == Passed("alice", (b"X-Auth-Request-Email: a@b.example",))

    def test_it_need_not_know_a_name(self, server: Server) -> None:
        told = server.examine()
        server.answer(200)
        assert told.finding == Passed(None)

    @pytest.mark.parametrize("code", [401, 403])
    def test_401_and_403_go_to_the_browser(self, server: Server, code: int) -> None:
        told = server.examine()
        server.answer(
            code,
            WWW_Authenticate='Bearer realm="x"',
            Location="https://login.example/",
            Set_Cookie="a=b",
        )
        assert told.finding == Failed(
            Lack.NOTHING,
            code,
            (b'WWW-Authenticate: Bearer realm="x"', b"Location: https://login.example/"),
        )

    def test_whoever_has_shown_something_is_told_apart(self, server: Server) -> None:
        told = server.examine(cookies=[b"session=old"])
        server.answer(401)
        assert told.finding == Failed(Lack.FOREIGN, 401)

    @pytest.mark.parametrize("code", [301, 302, 303, 307, 400, 404, 407, 418, 500, 502, 503])
    def test_anything_else_denies(self, server: Server, code: int) -> None:
        told = server.examine()
        server.answer(code, Location="https://evil.example/", X_Auth_Request_User="root")
        assert refused(told) == f"the login service answered {code}"

    @pytest.mark.parametrize(
        ("code", "name", "value"),
        [
            (200, "X-Auth-Request-User", b"\xff"),
            (200, "X-Groups", b"\0"),
            (401, "Location", b"/\x0bx"),
        ],
    )
    def test_so_does_one_that_holds_control_characters(
        self, server: Server, code: int, name: str, value: bytes
    ) -> None:
        told = server.examine()
        response = Response(code)
        response.headers.setRawHeaders(name.encode(), [value])
        server.waiting.pop(0).callback(response)
        assert told.finding is None
        refused(told)

    def test_nothing_in_it_ends_a_line(self, server: Server) -> None:
        told = server.examine()
        response = Response(200)
        response.headers.setRawHeaders(b"X-Groups", [b"staff\r\nX-Admin: 1\rX-Root: 1"])
        server.waiting.pop(0).callback(response)
        assert told.finding == Passed(None, (b"X-Groups: staff X-Admin: 1 X-Root: 1",))

    def test_so_does_no_connection(self, server: Server) -> None:
        told = server.examine()
        server.waiting.pop(0).errback(ConnectBindError())
        assert refused(told).endswith("ConnectBindError")

    def test_so_does_no_answer_in_time(self, server: Server) -> None:
        told = server.examine()
        server.clock.advance(4.9)
        assert told.failure is None
        server.clock.advance(0.2)
        assert refused(told).endswith("TimeoutError")
        assert server.given_up == 1


class TestItsBody:
    def test_it_is_read_to_its_end_and_dropped(self, server: Server) -> None:
        server.examine()
        response = server.answer(200)
        response.receiver.dataReceived(b"x" * 65536)
        assert not response.body.closed
        response.receiver.connectionLost(Failure(ConnectBindError()))
        server.clock.advance(60)
        assert not response.body.closed

    @pytest.mark.parametrize(
        "go_on",
        [
            lambda server, receiver: receiver.dataReceived(b"x" * 65537),
            lambda server, receiver: server.clock.advance(5.1),
        ],
        ids=["too long", "too slow"],
    )
    def test_one_without_an_end_is_given_up(
        self, server: Server, go_on: Callable[[Server, Any], object]
    ) -> None:
        server.examine()
        response = server.answer(200)
        go_on(server, response.receiver)
        assert response.body.closed


#: A request, and then one that differs in one thing that a login server may go by.
DIFFERENCES: list[dict[str, Any]] = [
    {"method": b"DELETE"},
    {"target": b"/ipython/10000/lab?access_token=good"},
    {"target": b"/ipython/10000/other", "path": b"/ipython/10000/other"},
    {"lines": [b"X-Api-Key: good"]},
    {"lines": [b"Accept: text/plain"]},
    {"route": b"/ipython/10001", "target": b"/ipython/10001/lab?x"},
    {"cookies": [b"s=2"]},
    {"authorization": [b"Bearer x"], "lines": [b"Authorization: Bearer x"]},
    {"client": "192.0.2.2"},
    {"public": b"https://other.example"},
    {"revoked": 5.0},
    {"cookies": [], "lines": [b"X-Cookie: s=1"]},
    {"cookies": [b"s=1", b""]},
]


class TestWhatIsRemembered:
    def test_nothing_unless_it_is_asked_for(self, server: Server) -> None:
        told = [server.examine(), server.examine()]
        assert len(server.asked) == 2
        for one in told:
            server.answer(200, X_Auth_Request_User="alice")
            assert one.finding == Passed("alice")
        assert server.examine().finding is None

    def test_a_good_answer_counts_for_as_long_as_is_said(self) -> None:
        server = Server(remembered=10.0)
        server.examine()
        server.answer(200, X_Auth_Request_User="alice")
        server.clock.advance(9.9)
        assert server.examine().finding == Passed("alice")
        server.clock.advance(0.2)
        assert server.examine().finding is None
        assert len(server.asked) == 2

    def test_a_bad_one_does_not(self) -> None:
        server = Server(remembered=10.0)
        for code in (401, 403, 500):
            asked = len(server.asked)
            server.examine()
            server.answer(code)
            assert len(server.asked) == asked + 1

    @pytest.mark.parametrize("others", DIFFERENCES)
    def test_it_counts_for_no_other_request(self, others: dict[str, Any]) -> None:
        server = Server(remembered=10.0)
        facts: dict[str, Any] = {"cookies": [b"s=1"]}
        server.examine(**facts)
        server.answer(200)
        assert server.examine(**{**facts, **others}).finding is None
        assert len(server.asked) == 2

    def test_then_it_is_asked_once_for_all_who_come_at_once(self) -> None:
        server = Server(remembered=10.0)
        told = [server.examine() for _ in range(20)]
        server.answer(200, X_Auth_Request_User="alice")
        assert len(server.asked) == 1
        assert all(one.finding == Passed("alice") for one in told)


class TestManyQuestions:
    def test_one_whose_client_has_left_is_carried_through(self, server: Server) -> None:
        server.examine().deferred.cancel()
        assert server.given_up == 0
        server.answer(200)

    def test_nobody_waits_because_another_asks_for_much(self, server: Server) -> None:
        for _ in range(AT_ONCE):
            server.examine()
        assert len(server.asked) == AT_ONCE // 2
        server.examine(client="192.0.2.2")
        assert len(server.asked) == AT_ONCE // 2 + 1
        server.answer(200)
        assert len(server.asked) == AT_ONCE // 2 + 2

    def test_a_flood_is_turned_away(self, server: Server) -> None:
        for _ in range(AT_ONCE // 2 + WAITING // 2):
            server.examine()
        with pytest.raises(ProxyError) as caught:
            server.examine()
        assert caught.value.problem is Problem.OVERLOADED
        assert server.examine(client="192.0.2.2").failure is None

    def test_one_whose_turn_does_not_come_in_time_is_refused(self, server: Server) -> None:
        half = AT_ONCE // 2
        slow = [server.examine() for _ in range(half)]
        server.clock.advance(1)
        waiting = [server.examine() for _ in range(half + 1)]
        server.clock.advance(4)
        assert all(refused(told).endswith("TimeoutError") for told in slow)
        assert len(server.asked) == 2 * half
        server.clock.advance(0.9)
        assert waiting[-1].failure is None
        server.clock.advance(0.1)
        failure = waiting[-1].failure
        assert failure is not None
        assert isinstance(failure.value, ProxyError)
        assert failure.value.problem is Problem.OVERLOADED
        assert len(server.asked) == 2 * half
