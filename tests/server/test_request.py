"""How an answer is framed for the client that asked (RFC 9112 sections 6 and 9)."""

from __future__ import annotations

import pytest
from twisted.internet.testing import StringTransport

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.framing import Decoder, LengthDecoder
from ipyproxy.http1.head import NO_FIELDS, RequestHead
from ipyproxy.net.protocol import Tunnel
from ipyproxy.server.request import STATUS_LINE, Request


class Connection:
    """A client's connection that notes what becomes of requests."""

    def __init__(self) -> None:
        self.transport = StringTransport()
        self.peer = "192.0.2.1"
        self.trusted = False
        self.server_name: bytes | None = None
        self.status_line = STATUS_LINE
        self.excess: Problem | None = None
        self.persistent = True
        self.events: list[str] = []

    def now(self) -> float:
        return 0.0

    def refuse(self, request: Request, error: ProxyError) -> None:
        self.events.append(f"refused {error.problem.status}")

    def request_finished(self, request: Request) -> None:
        self.events.append("finished")

    def request_cut(self, request: Request) -> None:
        self.events.append("cut")

    def hand_over(self, tunnel: Tunnel) -> None:
        self.events.append("handed over")

    @property
    def is_slow(self) -> bool:
        return False

    def record(self, request: Request) -> None:
        self.events.append("recorded")

    @property
    def written(self) -> bytes:
        return bytes(self.transport.value())


@pytest.fixture
def connection() -> Connection:
    return Connection()


def ask(
    connection: Connection, method: bytes = b"GET", minor: int = 1, body: Decoder | None = None
) -> Request:
    return Request(connection, RequestHead(method, b"/", minor, NO_FIELDS), body)


def test_a_whole_answer_is_one_write(connection: Connection) -> None:
    ask(connection).respond(200, b"OK", [b"A: b"], b"hello")
    assert connection.written == b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhello"
    assert connection.events == ["finished"]


def test_an_empty_answer_says_so(connection: Connection) -> None:
    ask(connection).respond(200, b"OK", [], b"")
    assert connection.written == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def test_a_length_unknown_is_chunked(connection: Connection) -> None:
    request = ask(connection)
    request.begin(200, b"OK", b"", None)
    request.write(b"hello")
    request.write(b"x" * 16)
    request.finish()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"5\r\nhello\r\n10\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n"
    assert connection.written == head + chunks
    assert connection.persistent


def test_for_http_1_0_a_length_unknown_ends_with_the_connection(connection: Connection) -> None:
    request = ask(connection, minor=0)
    request.begin(200, b"OK", b"", None)
    request.write(b"hello")
    request.finish()
    assert connection.written == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"
    assert not connection.persistent


def test_for_http_1_0_a_kept_connection_is_said_to_be_kept(connection: Connection) -> None:
    ask(connection, minor=0).respond(200, b"OK", [], b"hello")
    assert b"\r\nConnection: keep-alive\r\n" in connection.written


@pytest.mark.parametrize(
    ("method", "status", "length", "framing"),
    [
        (b"HEAD", 200, 1000, b"Content-Length: 1000\r\n"),
        (b"HEAD", 200, None, b""),
        (b"GET", 304, 1000, b"Content-Length: 1000\r\n"),
        (b"GET", 304, None, b""),
        (b"GET", 204, None, b""),
        (b"GET", 204, 0, b""),
    ],
)
def test_answers_that_have_no_body_send_none(
    connection: Connection, method: bytes, status: int, length: int | None, framing: bytes
) -> None:
    request = ask(connection, method)
    request.begin(status, b"Fine", b"", length)
    request.write(b"a body that must not be sent")
    request.finish()
    assert connection.written == b"HTTP/1.1 %d Fine\r\n%b\r\n" % (status, framing)
    assert connection.persistent


def test_an_answer_while_the_body_still_comes_is_the_last(connection: Connection) -> None:
    ask(connection, b"PUT", body=LengthDecoder(10)).respond(413, b"Too large", [], b"")
    assert connection.written.endswith(b"\r\nConnection: close\r\n\r\n")
    assert not connection.persistent


def test_a_head_waits_for_the_body_but_not_for_ever(connection: Connection) -> None:
    request = ask(connection)
    request.begin(200, b"OK", b"", 5)
    assert connection.written == b""
    request.flush()
    assert connection.written == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    request.flush()
    request.write(b"hello")
    request.finish()
    assert connection.written == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def test_a_cut_answer_stays_as_it_is(connection: Connection) -> None:
    request = ask(connection)
    request.begin(200, b"OK", b"", None)
    request.write(b"hello")
    request.cut()
    request.write(b"more")
    request.finish()
    assert connection.written.endswith(b"\r\n\r\n5\r\nhello\r\n")
    assert connection.events == ["cut"]


def test_a_failure_is_a_page_before_the_answer_and_a_cut_within(connection: Connection) -> None:
    error = ProxyError(Problem.UPSTREAM_BROKEN, "why")
    before = ask(connection)
    before.refuse(error)
    unsent = ask(connection)
    unsent.begin(200, b"OK", b"", 5)
    unsent.refuse(error)
    within = ask(connection)
    within.begin(200, b"OK", b"", 5)
    within.flush()
    within.refuse(error)
    assert connection.events == ["refused 502", "refused 502", "cut"]
    assert (before.note, within.note) == ("why", "why")


def test_interim_answers_pass_before_the_answer(connection: Connection) -> None:
    request = ask(connection)
    request.interim(100, b"Continue", b"")
    request.interim(103, b"Early Hints", b"Link: </a>\r\n")
    request.respond(200, b"OK", [], b"")
    request.interim(103, b"Too late", b"")
    assert connection.written == (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    )


def test_http_1_0_knows_no_interim_answers(connection: Connection) -> None:
    ask(connection, minor=0).interim(100, b"Continue", b"")
    assert connection.written == b""


def test_bytes_of_the_body_are_counted(connection: Connection) -> None:
    request = ask(connection)
    request.begin(200, b"OK", b"", None)
    request.write(b"hello")
    request.write(b"world!")
    request.finish()
    assert request.body_bytes_sent == 11
