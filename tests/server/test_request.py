"""An answer on its way to the client that asked (RFC 9112 sections 6 and 9)."""

from __future__ import annotations

import pytest

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.server.request import Request
from tests.front import House


class Line:
    """One connection of a client, whose requests the test answers."""

    def __init__(self) -> None:
        self.house = House()
        self.browser = self.house.connect()

    def ask(self, method: bytes = b"GET", *lines: bytes, minor: int = 1) -> Request:
        """Send a request, and give it as the site gets it."""
        head = b"%b / HTTP/1.%d" % (method, minor), b"Host: here", *lines, b"", b""
        self.browser.say(b"\r\n".join(head))
        return self.house.desk.next()

    @property
    def written(self) -> bytes:
        """What the client has got since the last call."""
        return self.browser.hear()

    @property
    def persistent(self) -> bool:
        return self.browser.channel.persistent


@pytest.fixture
def line() -> Line:
    return Line()


def test_a_whole_answer_is_one_write(line: Line) -> None:
    line.ask().respond(200, b"OK", [b"A: b"], b"hello")
    assert line.written == b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhello"
    assert line.house.statuses == [200]


def test_an_empty_answer_says_so(line: Line) -> None:
    line.ask().respond(200, b"OK", [], b"")
    assert line.written == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def test_a_length_unknown_is_chunked(line: Line) -> None:
    request = line.ask()
    request.begin(200, b"OK", b"", None)
    request.write(b"hello")
    request.write(b"x" * 16)
    request.finish()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"5\r\nhello\r\n10\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n"
    assert line.written == head + chunks
    assert line.persistent


def test_for_http_1_0_a_length_unknown_ends_with_the_connection(line: Line) -> None:
    request = line.ask(minor=0)
    request.begin(200, b"OK", b"", None)
    request.write(b"hello")
    request.finish()
    assert line.written == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"
    assert not line.persistent


def test_for_http_1_0_a_kept_connection_is_said_to_be_kept(line: Line) -> None:
    line.ask(b"GET", b"Connection: keep-alive", minor=0).respond(200, b"OK", [], b"hello")
    assert b"\r\nConnection: keep-alive\r\n" in line.written


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
    line: Line, method: bytes, status: int, length: int | None, framing: bytes
) -> None:
    request = line.ask(method)
    request.begin(status, b"Fine", b"", length)
    request.write(b"a body that must not be sent")
    request.finish()
    assert line.written == b"HTTP/1.1 %d Fine\r\n%b\r\n" % (status, framing)
    assert line.persistent


def test_an_answer_while_the_body_still_comes_is_the_last(line: Line) -> None:
    line.ask(b"PUT", b"Content-Length: 10").respond(413, b"Too large", [], b"")
    assert line.written.endswith(b"\r\nConnection: close\r\n\r\n")
    assert not line.persistent


def test_a_head_waits_for_the_body_but_not_for_ever(line: Line) -> None:
    request = line.ask()
    request.begin(200, b"OK", b"", 5)
    assert line.written == b""
    request.flush()
    assert line.written == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    request.flush()
    request.write(b"hello")
    request.finish()
    assert line.written == b"hello"


def test_what_is_over_does_not_touch_the_next_answer(line: Line) -> None:
    """Who is told late that the client is gone may still answer, write, flush, or refuse."""
    first = line.ask()
    first.respond(200, b"OK", [], b"one")
    second = line.ask()
    second.begin(200, b"OK", b"", 5)
    first.write(b"late")
    first.flush()
    first.refuse(ProxyError(Problem.INTERNAL))
    first.respond(404, b"Not Found", [], b"late")
    first.finish()
    first.cut()
    assert line.written == b""
    second.write(b"hello")
    second.finish()
    assert line.written == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    assert line.house.statuses == [200, 200]


def test_who_has_seen_nothing_of_two_answers_gets_the_third(line: Line) -> None:
    """The site may ask a server for its page of the first error, and that may fail as well."""
    line.house.desk.refuse_by = lambda request, error: None
    request = line.ask()
    request.begin(200, b"OK", b"", 5)
    request.refuse(ProxyError(Problem.UPSTREAM_BROKEN))
    line.house.desk.refuse_by = lambda request, error: request.respond(503, b"Later", [], b"")
    request.refuse(ProxyError(Problem.UPSTREAM_DEAD))
    assert line.written.startswith(b"HTTP/1.1 503 Later\r\n")


def test_who_leaves_before_an_answer_is_seen_is_logged_as_gone(line: Line) -> None:
    line.house.desk.refuse_by = lambda request, error: None
    request = line.ask()
    request.begin(200, b"OK", b"", 5)
    request.refuse(ProxyError(Problem.UPSTREAM_BROKEN))
    line.browser.hang_up()
    assert line.house.statuses == [499]


def test_a_cut_answer_stays_as_it_is(line: Line) -> None:
    request = line.ask()
    request.begin(200, b"OK", b"", None)
    request.write(b"hello")
    request.cut()
    request.write(b"more")
    request.finish()
    assert line.written.endswith(b"\r\n\r\n5\r\nhello\r\n")
    assert line.browser.wire.was_reset
    assert line.house.statuses == [200]


def test_a_failure_is_a_page_as_long_as_nothing_is_sent(line: Line) -> None:
    for begun in (False, True):
        request = line.ask()
        if begun:
            request.begin(200, b"OK", b"", None)
        request.refuse(ProxyError(Problem.UPSTREAM_BROKEN, "why"))
        assert line.written == b"HTTP/1.1 502 Refused\r\nContent-Length: 3\r\n\r\nno\n"
        assert request.note == "why"
    assert line.persistent


def test_a_failure_within_an_answer_cuts_it(line: Line) -> None:
    request = line.ask()
    request.begin(200, b"OK", b"", 5)
    request.flush()
    request.refuse(ProxyError(Problem.UPSTREAM_BROKEN, "why"))
    assert line.written.endswith(b"\r\nContent-Length: 5\r\n\r\n")
    assert line.browser.wire.was_reset
    assert not line.house.desk.refused
    assert request.note == "why"


def test_interim_answers_pass_before_the_answer(line: Line) -> None:
    request = line.ask()
    request.interim(100, b"Continue", b"")
    request.interim(103, b"Early Hints", b"Link: </a>\r\n")
    request.respond(200, b"OK", [], b"")
    request.interim(103, b"Too late", b"")
    assert line.written == (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    )


def test_http_1_0_knows_no_interim_answers(line: Line) -> None:
    line.ask(minor=0).interim(100, b"Continue", b"")
    assert line.written == b""


def test_bytes_of_the_body_are_counted(line: Line) -> None:
    request = line.ask()
    request.begin(200, b"OK", b"", None)
    request.write(b"hello")
    request.write(b"world!")
    request.finish()
    assert request.body_bytes_sent == 11
