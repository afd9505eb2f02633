"""Uploads to a notebook: how bodies are framed, and that each side goes at the other's pace."""

from __future__ import annotations

import hashlib

import pytest

from tests.front import Browser, status_of
from tests.web.gate import HOST, Gate, ask, message

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"
PUT = message(b"PUT /ipython/10000/f HTTP/1.1", HOST, b"Content-Length: 10")
CHUNKED = message(b"PUT /ipython/10000/f HTTP/1.1", HOST, b"Transfer-Encoding: chunked")


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def browser(gate: Gate) -> Browser:
    return gate.connect()


class TestUploads:
    def test_bytes_go_up_as_they_come(self, gate: Gate, browser: Browser) -> None:
        browser.say(PUT)
        notebook = gate.notebook()
        head = notebook.hear()
        assert b"\r\nContent-Length: 10\r\n" in head
        assert head.endswith(b"\r\n\r\n")
        for piece in (b"0123", b"456", b"789"):
            browser.say(piece)
            assert notebook.hear() == piece
        gate.tell(notebook, OK)
        assert browser.hear() == OK

    def test_chunks_are_framed_anew(self, gate: Gate, browser: Browser) -> None:
        browser.say(CHUNKED)
        notebook = gate.notebook()
        assert b"\r\nTransfer-Encoding: chunked\r\n" in notebook.hear()
        browser.say(b"00003;x=y\r\nabc\r\n")
        assert notebook.hear() == b"3\r\nabc\r\n"
        browser.say(b"0\r\nTrailer: x\r\n\r\n")
        assert notebook.hear() == b"0\r\n\r\n"

    def test_what_comes_while_dialling_waits_and_is_bounded(
        self, gate: Gate, browser: Browser
    ) -> None:
        browser.say(message(b"PUT /ipython/10000/f HTTP/1.1", HOST, b"Content-Length: 1000000"))
        browser.say(b"x" * 1000000)
        assert not browser.channel.transport.is_reading
        notebook = gate.notebook()
        assert notebook.hear().partition(b"\r\n\r\n")[2] == b"x" * 1000000

    def test_a_whole_body_that_came_while_dialling(self, gate: Gate, browser: Browser) -> None:
        browser.say(PUT + b"0123456789")
        notebook = gate.notebook()
        assert notebook.hear().endswith(b"\r\n\r\n0123456789")
        gate.tell(notebook, OK)
        assert browser.hear() == OK
        assert ask(browser) == b""
        assert notebook.hear().startswith(b"GET ")

    def test_continue_is_the_notebooks_to_say(self, gate: Gate, browser: Browser) -> None:
        browser.say(PUT[:-2] + b"Expect: 100-continue\r\n\r\n")
        notebook = gate.notebook()
        assert b"\r\nExpect: 100-continue\r\n" in notebook.hear()
        assert browser.hear() == b""
        gate.tell(notebook, b"HTTP/1.1 100 Continue\r\n\r\n")
        assert browser.hear() == b"HTTP/1.1 100 Continue\r\n\r\n"
        browser.say(b"0123456789")
        assert notebook.hear() == b"0123456789"
        gate.tell(notebook, OK)
        assert browser.hear() == OK

    def test_instead_of_continue_the_notebook_may_refuse(
        self, gate: Gate, browser: Browser
    ) -> None:
        browser.say(PUT[:-2] + b"Expect: 100-continue\r\n\r\n")
        notebook = gate.notebook()
        gate.tell(notebook, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        assert browser.hear() == (
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
        )
        # If the client sends the body all the same, nobody takes it for a request.
        browser.say(b"GET / HTTP")
        assert browser.hear() == b""
        assert gate.log == [(403, "192.0.2.1", "")]

    def test_anything_else_expected_is_refused(self, gate: Gate, browser: Browser) -> None:
        assert status_of(browser.say(PUT[:-2] + b"Expect: the-unexpected\r\n\r\n")) == 417
        assert gate.dialler.attempts == []

    @pytest.mark.parametrize("ending", ["", "hang up", "reset"])
    def test_an_answer_before_the_body_is_whole_reaches_the_client(
        self, gate: Gate, browser: Browser, ending: str
    ) -> None:
        browser.say(message(b"PUT /ipython/10000/f HTTP/1.1", HOST, b"Content-Length: 1000000"))
        notebook = gate.notebook()
        browser.say(b"x" * 10000)
        notebook.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        if ending:
            gate.end(notebook, ending)
        heard = browser.say(b"x" * 10000)
        assert heard == (
            b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
        )
        browser.say(b"x" * 200000)
        assert browser.wire.is_shut
        assert not browser.wire.is_closed
        assert gate.is_at_rest

    def test_an_answer_is_read_though_the_notebook_takes_no_more(
        self, gate: Gate, browser: Browser
    ) -> None:
        # It answered and closed with our bytes unread: the reset meets our next write first.
        browser.say(message(b"PUT /ipython/10000/f HTTP/1.1", HOST, b"Content-Length: 1000000"))
        notebook = gate.notebook()
        body = b"n" * 200000
        notebook.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 200000\r\n\r\n" + body)
        notebook.reset()
        browser.wire.say(b"x" * 10000)
        heard = browser.hear()
        assert status_of(heard) == 413
        assert heard.endswith(b"\r\n\r\n" + body)

    def test_a_notebook_that_is_gone_while_uploading(self, gate: Gate, browser: Browser) -> None:
        browser.say(PUT)
        notebook = gate.notebook()
        gate.end(notebook)
        assert status_of(browser.hear()) == 502
        assert browser.wire.is_shut
        assert gate.is_at_rest

    def test_a_client_that_is_gone_while_uploading(self, gate: Gate, browser: Browser) -> None:
        browser.say(PUT + b"01234")
        notebook = gate.notebook()
        browser.hang_up()
        # Not a proper end: half a body must not pass for a whole one.
        assert notebook.was_reset
        assert gate.is_at_rest
        assert gate.statuses == [499]

    @pytest.mark.parametrize("ending", ["hang up", "reset"])
    def test_a_client_that_is_gone_is_missed_though_nothing_of_it_is_read(
        self, gate: Gate, browser: Browser, ending: str
    ) -> None:
        browser.say(message(b"PUT /ipython/10000/f HTTP/1.1", HOST, b"Content-Length: 1000000"))
        notebook = gate.notebook()
        notebook.room = 0
        browser.say(b"x" * 200000)
        assert browser.wire.unread
        gate.wait(30)
        assert not notebook.is_closed
        gate.end(browser.wire, ending)
        gate.wait(1)
        assert notebook.was_reset
        assert gate.is_at_rest
        assert gate.statuses == [499]

    def test_a_client_whose_last_bytes_still_wait_is_heard_again(
        self, gate: Gate, browser: Browser
    ) -> None:
        browser.say(message(b"PUT /ipython/10000/f HTTP/1.1", HOST, b"Content-Length: 100000"))
        notebook = gate.notebook()
        notebook.room = 0
        browser.say(b"x" * 100000)
        assert not notebook.is_closed
        browser.hang_up()
        assert notebook.was_reset

    def test_a_slow_notebook_makes_the_client_wait(self, gate: Gate, browser: Browser) -> None:
        size = 16 * 2**20
        sent, taken = hashlib.sha256(), hashlib.sha256()
        browser.say(message(b"PUT /ipython/10000/f HTTP/1.1", HOST, b"Content-Length: %d" % size))
        notebook = gate.notebook()
        (connection,) = gate.pool._connections
        notebook.hear()
        left, count, most = size, 0, 0
        while count < size:
            if left and not browser.wire.unread:
                piece = bytes([left % 251]) * min(left, 300000)
                sent.update(piece)
                left -= len(piece)
                browser.wire.say(piece)
            notebook.room = 50000
            gate.loop.settle()
            most = max(most, connection.transport.bytes_waiting)
            came = notebook.hear()
            taken.update(came)
            count += len(came)
        assert taken.digest() == sent.digest()
        assert 65536 < most <= 2 * 65536
        gate.tell(notebook, OK)
        assert browser.hear() == OK


class TestBackpressure:
    def test_a_slow_client_makes_the_notebook_wait(self, gate: Gate, browser: Browser) -> None:
        ask(browser)
        notebook = gate.notebook()
        browser.wire.room = 1000
        gate.tell(notebook, b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
        notebook.say(b"x" * 10000000)
        gate.loop.settle()
        (connection,) = gate.pool._connections
        assert not connection.transport.is_reading
        assert browser.channel.transport.bytes_waiting <= 2 * 65536
        heard = 0
        while heard < 10000000:
            browser.wire.room = 100000
            got = len(browser.hear())
            assert got
            heard += got
            assert browser.channel.transport.bytes_waiting <= 2 * 65536
        browser.wire.room = None
        browser.hear()
        assert connection.transport.is_reading
        assert gate.statuses == [200]

    def test_a_kept_connection_is_read_again_after_a_slow_client(
        self, gate: Gate, browser: Browser
    ) -> None:
        ask(browser)
        notebook = gate.notebook()
        browser.wire.room = 0
        gate.tell(notebook, b"HTTP/1.1 200 OK\r\nContent-Length: 120000\r\n\r\n")
        gate.tell(notebook, b"x" * 120000)
        browser.wire.room = None
        assert len(browser.hear()) > 120000
        other = gate.connect()
        ask(other)
        gate.tell(notebook, OK)
        assert other.hear() == OK

    def test_each_exchange_registers_its_own_producers(self, gate: Gate, browser: Browser) -> None:
        browser.say(
            b"".join(
                [
                    message(b"GET /ipython/10000/1 HTTP/1.1", HOST),
                    PUT,
                    b"0123456789",
                    message(b"GET /ipython/10000/2 HTTP/1.1", HOST),
                ]
            )
        )
        notebook = gate.notebook()
        for _ in range(3):
            notebook.hear()
            gate.tell(notebook, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
            gate.tell(notebook, b"abc")
            gate.tell(notebook, b"def")
        assert browser.hear().count(b"abcdef") == 3
        assert gate.loop.failures == []
