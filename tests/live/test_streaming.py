"""Bytes go on as they come, both ways, and whoever goes away is missed at once."""

from __future__ import annotations

import statistics
import time

import pytest

from .streams import Notebook, Stream, answer, request

pytestmark = pytest.mark.integration

CHUNKED = b"Transfer-Encoding: chunked"
#: What a closed connection may take until the other side knows.
SOON = 1.0


def get(notebook: Notebook, *lines: bytes) -> bytes:
    return request(b"GET " + notebook.path, *lines)


def put(notebook: Notebook, *lines: bytes) -> bytes:
    return request(b"PUT " + notebook.path, *lines)


class TestUploads:
    def test_the_first_byte_is_there_before_the_last_is_sent(
        self, browser: Stream, notebook: Notebook
    ) -> None:
        browser.say(put(notebook, b"Content-Length: 3"))
        upstream = notebook.take()
        assert upstream.hear_head().startswith(b"PUT " + notebook.path + b" HTTP/1.1\r\n")
        for byte in (b"a", b"b", b"c"):
            browser.say(byte)
            assert upstream.hear(1) == byte
        upstream.say(answer(b"Content-Length: 0"))
        assert browser.hear_status() == 200

    def test_chunks_go_up_one_by_one(self, browser: Stream, notebook: Notebook) -> None:
        browser.say(put(notebook, CHUNKED))
        upstream = notebook.take()
        upstream.hear_head()
        for word in (b"one", b"two"):
            browser.say(b"3\r\n%b\r\n" % word)
            assert upstream.hear(8) == b"3\r\n%b\r\n" % word
        browser.say(b"0\r\nX-Sum: 1\r\n\r\n")
        assert upstream.hear(5) == b"0\r\n\r\n"
        upstream.say(answer(b"Content-Length: 0"))
        assert browser.hear_status() == 200

    def test_continue_is_said_once_the_notebook_says_so(
        self, browser: Stream, notebook: Notebook
    ) -> None:
        browser.say(put(notebook, b"Content-Length: 2", b"Expect: 100-continue"))
        upstream = notebook.take()
        assert b"\r\nExpect: 100-continue\r\n" in upstream.hear_head()
        upstream.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert browser.hear_head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        browser.say(b"ok")
        assert upstream.hear(2) == b"ok"
        upstream.say(answer(b"Content-Length: 0"))
        assert browser.hear_status() == 200

    def test_continue_is_not_said_to_what_is_refused(
        self, browser: Stream, notebook: Notebook
    ) -> None:
        browser.say(
            put(
                notebook,
                b"Content-Length: 2",
                b"Expect: 100-continue",
                b"Origin: https://evil.example",
            )
        )
        assert browser.hear_status() == 403


class TestAnswers:
    def test_early_hints_come_before_the_answer(self, browser: Stream, notebook: Notebook) -> None:
        browser.say(get(notebook))
        upstream = notebook.take()
        upstream.hear_head()
        upstream.say(answer(b"Link: </a.css>", status=b"103 Early Hints"))
        assert browser.hear_head() == b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
        upstream.say(answer(b"Content-Length: 2", body=b"ok"))
        assert browser.hear_status() == 200

    def test_an_event_is_there_within_20_ms(self, browser: Stream, notebook: Notebook) -> None:
        browser.say(get(notebook, b"Accept: text/event-stream"))
        upstream = notebook.take()
        upstream.hear_head()
        upstream.say(answer(b"Content-Type: text/event-stream", CHUNKED))
        assert browser.hear_status() == 200
        took = []
        for number in range(40):
            event = b"data: %02d\n\n" % number
            upstream.say(b"a\r\n%b\r\n" % event)
            began = time.monotonic()
            assert browser.hear(15) == b"a\r\n%b\r\n" % event
            took.append(time.monotonic() - began)
            time.sleep(0.01)
        assert statistics.median(took) < 0.020

    @pytest.mark.parametrize(
        ("lines", "begun"),
        [
            ([b"Content-Length: 10"], b"12345"),
            ([CHUNKED], b"5\r\n12345\r\n"),
            ([CHUNKED], b"a\r\n12345"),
        ],
        ids=["of a length", "between chunks", "within a chunk"],
    )
    @pytest.mark.parametrize("ending", ["close", "reset"])
    def test_an_answer_cut_short_is_cut_short(
        self, browser: Stream, notebook: Notebook, lines: list[bytes], begun: bytes, ending: str
    ) -> None:
        browser.say(get(notebook))
        upstream = notebook.take()
        upstream.hear_head()
        upstream.say(answer(*lines, body=begun))
        assert browser.hear_status() == 200
        heard = browser.hear_until(b"12345")
        getattr(upstream, ending)()
        with pytest.raises(OSError):  # noqa: PT011 - a reset, or an end that TLS was not told of
            heard += browser.hear_rest()
        assert b"0\r\n\r\n" not in heard


class TestWhoGoesAway:
    """A client's end reaches the notebook within a second, whatever the exchange waits for."""

    @pytest.mark.parametrize("ending", ["close", "reset"])
    def test_while_the_answer_is_waited_for(
        self, browser: Stream, notebook: Notebook, ending: str
    ) -> None:
        browser.say(get(notebook))
        upstream = notebook.take()
        upstream.hear_head()
        getattr(browser, ending)()
        assert upstream.is_closed_within(SOON)

    @pytest.mark.parametrize("ending", ["close", "reset"])
    def test_within_the_answer(self, browser: Stream, notebook: Notebook, ending: str) -> None:
        browser.say(get(notebook))
        upstream = notebook.take()
        upstream.hear_head()
        upstream.say(answer(CHUNKED, body=b"1\r\na\r\n"))
        browser.hear_until(b"1\r\na\r\n")
        getattr(browser, ending)()
        assert upstream.is_closed_within(SOON)

    @pytest.mark.parametrize("ending", ["close", "reset"])
    def test_within_the_upload(self, browser: Stream, notebook: Notebook, ending: str) -> None:
        browser.say(put(notebook, b"Content-Length: 10"))
        upstream = notebook.take()
        upstream.hear_head()
        browser.say(b"12345")
        upstream.hear(5)
        getattr(browser, ending)()
        assert upstream.is_closed_within(SOON)

    @pytest.mark.parametrize("ending", ["close", "reset"])
    def test_within_an_upload_that_the_notebook_does_not_take(
        self, browser: Stream, notebook: Notebook, ending: str
    ) -> None:
        browser.say(put(notebook, b"Content-Length: %d" % 2**30))
        upstream = notebook.take()
        upstream.hear_head()
        stall(browser)
        getattr(browser, ending)()
        assert upstream.is_closed_within(SOON)

    def test_within_an_answer_that_it_does_not_read(
        self, browser: Stream, notebook: Notebook
    ) -> None:
        browser.say(get(notebook))
        upstream = notebook.take()
        upstream.hear_head()
        upstream.say(answer(b"Content-Length: %d" % 2**30))
        stall(upstream)
        browser.reset()
        assert upstream.is_closed_within(SOON)


def stall(sender: Stream) -> None:
    """Send until nobody takes more."""
    sender.socket.settimeout(0.5)
    with pytest.raises(TimeoutError):
        sender.pour(2**30)
