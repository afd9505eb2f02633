"""What a client gets when a notebook fails, before its answer and within it."""

from __future__ import annotations

import errno

import pytest

from ipyproxy.upstream.connection import ClientLimits
from tests.front import Browser, status_of
from tests.web.gate import HOST, Gate, ask, message

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def browser(gate: Gate) -> Browser:
    return gate.connect()


class TestFailures:
    @pytest.mark.parametrize(
        ("code", "status"),
        [(errno.ECONNREFUSED, 503), (errno.ETIMEDOUT, 503), (errno.EMFILE, 503)],
    )
    def test_a_notebook_that_cannot_be_reached(
        self, gate: Gate, browser: Browser, code: int, status: int
    ) -> None:
        ask(browser)
        gate.dialler.next().fail(code)
        assert status_of(browser.hear()) == status
        assert gate.is_at_rest
        # No record is kept of where nobody listens.
        assert gate.upstream().errors == (code != errno.ECONNREFUSED)
        # The connection stays good for another try.
        ask(browser)
        gate.tell(gate.notebook(), OK)
        assert browser.hear() == OK

    def test_a_client_that_is_gone_while_dialling(self, gate: Gate, browser: Browser) -> None:
        ask(browser)
        attempt = gate.dialler.next()
        browser.hang_up()
        assert attempt.cancelled
        assert gate.is_at_rest

    @pytest.mark.parametrize("ending", ["hang up", "reset"])
    def test_a_body_cut_short_is_cut_short(self, gate: Gate, browser: Browser, ending: str) -> None:
        ask(browser)
        notebook = gate.notebook()
        gate.tell(notebook, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        gate.end(notebook, ending)
        assert browser.hear() == b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
        assert browser.wire.was_reset
        assert gate.is_at_rest

    @pytest.mark.parametrize("ending", ["hang up", "reset"])
    def test_chunks_cut_short_have_no_last_chunk(
        self, gate: Gate, browser: Browser, ending: str
    ) -> None:
        ask(browser)
        notebook = gate.notebook()
        gate.tell(notebook, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        gate.end(notebook, ending)
        assert browser.hear().endswith(b"4\r\nhalf\r\n")
        assert browser.wire.was_reset

    def test_a_body_until_close_that_is_whole(self, gate: Gate, browser: Browser) -> None:
        ask(browser)
        notebook = gate.notebook()
        gate.tell(notebook, b"HTTP/1.0 200 OK\r\n\r\nall")
        gate.end(notebook)
        assert browser.hear().endswith(b"3\r\nall\r\n0\r\n\r\n")
        assert browser.is_connected

    @pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
    def test_a_body_until_close_that_is_reset(
        self, gate: Gate, browser: Browser, version: bytes
    ) -> None:
        ask(browser, b"GET /ipython/10000/ " + version)
        notebook = gate.notebook()
        gate.tell(notebook, b"HTTP/1.0 200 OK\r\n\r\nhalf")
        gate.end(notebook, "reset")
        assert b"half" in browser.hear()
        assert browser.wire.was_reset

    def test_an_answer_that_makes_no_sense(self, gate: Gate, browser: Browser) -> None:
        ask(browser)
        gate.tell(gate.notebook(), b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        assert status_of(browser.hear()) == 502
        assert gate.is_at_rest

    def test_a_switch_that_nobody_asked_for(self, gate: Gate, browser: Browser) -> None:
        ask(browser)
        notebook = gate.notebook()
        gate.tell(notebook, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nevil")
        assert status_of(browser.hear()) == 502
        ask(browser)
        assert notebook.was_reset
        gate.tell(gate.notebook(), OK)
        assert browser.hear() == OK

    def test_a_notebook_that_takes_too_long(self, gate: Gate, browser: Browser) -> None:
        ask(browser)
        notebook = gate.notebook()
        gate.wait(59)
        assert browser.hear() == b""
        gate.wait(1)
        assert status_of(browser.hear()) == 504
        assert notebook.was_reset
        assert gate.is_at_rest

    def test_an_upload_that_the_notebook_does_not_take(self) -> None:
        gate = Gate(client_limits=ClientLimits(1000, 65536, 65536, 2.0, 20.0, 15.0))
        browser = gate.connect()
        browser.say(message(b"PUT /ipython/10000/f HTTP/1.1", HOST, b"Content-Length: 1000000"))
        notebook = gate.notebook()
        notebook.room = 0
        browser.wire.say(b"x" * 1000000)
        gate.wait(25)
        assert status_of(browser.hear()) == 504
        assert gate.is_at_rest

    def test_a_client_that_is_gone_while_answered(self, gate: Gate, browser: Browser) -> None:
        ask(browser)
        notebook = gate.notebook()
        gate.tell(notebook, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        browser.hang_up()
        assert notebook.was_reset
        assert gate.is_at_rest
        gate.wait(100)
        assert gate.loop.failures == []

    def test_a_client_that_does_not_read_frees_its_notebook(
        self, gate: Gate, browser: Browser
    ) -> None:
        ask(browser)
        notebook = gate.notebook()
        browser.wire.room = 1000
        gate.tell(notebook, b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
        notebook.say(b"x" * 10000000)
        gate.wait(62)
        assert browser.wire.was_reset
        assert notebook.was_reset
        assert gate.is_at_rest
