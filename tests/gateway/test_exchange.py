"""Requests carried to a notebook and answers carried back: all bytes on both sides."""

from __future__ import annotations

import errno
import hashlib
from ipaddress import ip_network

import pytest

from ipyproxy.http.forwarding import TrustedProxies
from ipyproxy.upstream.connection import ClientLimits
from ipyproxy.upstream.places import LONGEST_WAIT
from tests.front import Browser
from tests.web.gate import HOST, Gate, ask, head_of, message

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"
PUT = message(b"PUT /ipython/10000/f HTTP/1.1", HOST, b"Content-Length: 10")
CHUNKED = message(b"PUT /ipython/10000/f HTTP/1.1", HOST, b"Transfer-Encoding: chunked")


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def browser(gate: Gate) -> Browser:
    return gate.connect()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


class TestTheWay:
    def test_a_request_there_and_its_answer_back(self, gate: Gate, browser: Browser) -> None:
        ask(browser, b"GET /ipython/10000/a%2Fb?c=%20d HTTP/1.1", b"Accept: */*")
        notebook = gate.notebook()
        assert head_of(notebook.hear()) == (
            b"GET /ipython/10000/a%2Fb?c=%20d HTTP/1.1",
            {
                b"Host: 127.0.0.1:10000",
                b"Accept: */*",
                b"X-Forwarded-For: 192.0.2.1",
                b"Via: 1.1 ipyproxy",
            },
        )
        gate.tell(notebook, OK)
        assert browser.hear() == OK
        assert gate.log == [(200, "192.0.2.1", "")]

    def test_an_application_is_asked_under_the_public_name(self) -> None:
        gate = Gate(applications=(10001,))
        lines = (b"Origin: https://hub.example", b"Referer: https://hub.example/ipython/10001/")
        ask(gate.connect(), b"GET /ipython/10001/ HTTP/1.1", *lines)
        assert head_of(gate.notebook().hear())[1] == {
            b"Host: hub.example",
            *lines,
            b"X-Forwarded-For: 192.0.2.1",
            b"X-Forwarded-Proto: https",
            b"X-Forwarded-Host: hub.example",
            b"X-Forwarded-Port: 443",
            b"Via: 1.1 ipyproxy",
        }
        ask(gate.connect(), b"GET /ipython/10000/ HTTP/1.1", *lines)
        assert b"Host: 127.0.0.1:10000" in head_of(gate.notebook().hear())[1]

    def test_a_foreign_page_reaches_no_application(self) -> None:
        gate = Gate(applications=(10001,))
        evil = b"Origin: https://evil.example"
        answer = ask(gate.connect(), b"POST /ipython/10001/ HTTP/1.1", evil)
        assert status_of(answer) == 403
        assert gate.dialler.attempts == []

    @pytest.mark.parametrize("accept", [b"text/html", b"application/json"])
    @pytest.mark.parametrize(
        ("answer", "rule"),
        [
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                b"several values",
            ),
            (b"HTTP/1.1 200 OK\nContent-Length: 1\n\nx", b"a bare LF ends a line"),
            (b"HTTP/2 200 OK\r\n\r\n", b"does not begin with HTTP/1.1"),
            (b"HTTP/1.1 200 OK\r\nX: secret\x01\r\n\r\n", b"a control character"),
        ],
        ids=["lengths", "bare LF", "HTTP/2", "control character"],
    )
    def test_log_and_page_name_the_rule_that_an_answer_breaks(
        self, gate: Gate, browser: Browser, accept: bytes, answer: bytes, rule: bytes
    ) -> None:
        ask(browser, b"GET /ipython/10000/ HTTP/1.1", b"Accept: " + accept)
        gate.tell(gate.notebook(), answer)
        page = browser.hear()
        assert status_of(page) == 502
        assert rule in page
        assert b"secret" not in page
        assert rule.decode() in gate.log[0][2]

    def test_a_length_said_twice_is_passed_on_once(self, gate: Gate, browser: Browser) -> None:
        ask(browser, b"GET /ipython/10000/ HTTP/1.1")
        length = b"Content-Length: 2\r\n"
        gate.tell(gate.notebook(), b"HTTP/1.1 200 OK\r\n%b%b\r\nok" % (length, length))
        assert browser.hear() == b"HTTP/1.1 200 OK\r\n%b\r\nok" % length

    def test_two_requests_one_connection(self, gate: Gate, browser: Browser) -> None:
        ask(browser)
        notebook = gate.notebook()
        for _ in range(3):
            gate.tell(notebook, OK)
            assert browser.hear() == OK
            ask(browser)
        assert gate.dialler.attempts == []
        assert gate.upstream().requests == 4

    def test_what_is_pipelined_far_ahead_waits_at_the_client(
        self, gate: Gate, browser: Browser
    ) -> None:
        request = message(b"GET /ipython/10000/ HTTP/1.1", HOST, b"X-Fill: " + b"x" * 4000)
        browser.say(request * 1000)
        taken = []
        notebook = gate.notebook()
        for _ in range(50):
            notebook.hear()
            gate.tell(notebook, message(b"HTTP/1.1 200 OK", b"Content-Length: 2", body=b"hi"))
            assert browser.hear().endswith(b"hi")
            taken.append(1000 * len(request) - browser.wire.unread)
        # With each answer another read would be added, megabytes for each client in the end.
        assert max(taken) < 50 * len(request) + 3 * 65536

    def test_a_thousand_pipelined_requests(self, gate: Gate, browser: Browser) -> None:
        browser.say(
            b"".join(
                message(b"GET /ipython/10000/%d HTTP/1.1" % number, HOST) for number in range(1000)
            )
        )
        notebook, heard = gate.notebook(), b""
        for number in range(1000):
            assert notebook.hear().startswith(b"GET /ipython/10000/%d " % number)
            gate.tell(notebook, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n%03d" % number)
            heard += browser.hear()
        bodies = [answer.split(b"\r\n\r\n")[1] for answer in heard.split(b"HTTP/1.1 200 OK")[1:]]
        assert bodies == [b"%03d" % number for number in range(1000)]
        assert gate.dialler.attempts == []

    def test_a_body_of_unknown_length_is_framed_anew(self, gate: Gate, browser: Browser) -> None:
        ask(browser)
        notebook = gate.notebook()
        gate.tell(
            notebook, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nyes\r\n"
        )
        gate.tell(notebook, b"2\r\n!!\r\n0\r\nTrailer: x\r\n\r\n")
        assert browser.hear() == (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n2\r\n!!\r\n0\r\n\r\n"
        )

    def test_a_head_without_a_body_yet_is_sent_at_once(self, gate: Gate, browser: Browser) -> None:
        ask(browser)
        notebook = gate.notebook()
        gate.tell(notebook, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert browser.hear() == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        gate.tell(notebook, b"6\r\nevent!\r\n")
        assert browser.hear() == b"6\r\nevent!\r\n"

    @pytest.mark.parametrize(
        ("method", "answer"),
        [
            (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
            (b"GET", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 1000\r\n\r\n"),
            (b"DELETE", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ],
    )
    def test_answers_without_a_body(
        self, gate: Gate, browser: Browser, method: bytes, answer: bytes
    ) -> None:
        ask(browser, method + b" /ipython/10000/ HTTP/1.1")
        notebook = gate.notebook()
        gate.tell(notebook, answer)
        assert browser.hear() == answer
        ask(browser)
        assert notebook.hear().count(b"HTTP/1.1\r\n") == 2

    def test_for_an_http_1_0_client(self, gate: Gate, browser: Browser) -> None:
        ask(browser, b"GET /ipython/10000/ HTTP/1.0")
        notebook = gate.notebook()
        assert notebook.hear().startswith(b"GET /ipython/10000/ HTTP/1.1\r\n")
        gate.tell(notebook, b"HTTP/1.1 100 Continue\r\n\r\n")
        gate.tell(notebook, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n")
        gate.tell(notebook, b"0\r\n\r\n")
        assert browser.hear() == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nyes"
        assert browser.wire.has_ended

    def test_a_post_without_a_body_says_so(self, gate: Gate, browser: Browser) -> None:
        ask(browser, b"POST /ipython/10000/ HTTP/1.1")
        assert b"\r\nContent-Length: 0\r\n" in gate.notebook().hear()

    def test_early_hints_pass(self, gate: Gate, browser: Browser) -> None:
        ask(browser)
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
        gate.tell(gate.notebook(), hints + OK)
        assert browser.hear() == hints + OK


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


class TestKeptConnections:
    def kept(self, gate: Gate, browser: Browser) -> None:
        ask(browser)
        self.notebook = gate.notebook()
        gate.tell(self.notebook, OK)
        assert browser.hear() == OK
        self.notebook.hear()

    def test_a_stale_one_is_replaced_unseen(self, gate: Gate, browser: Browser) -> None:
        self.kept(gate, browser)
        ask(browser, b"GET /ipython/10000/again HTTP/1.1")
        gate.end(self.notebook)
        assert browser.hear() == b""
        second = gate.notebook()
        assert second.hear().startswith(b"GET /ipython/10000/again ")
        gate.tell(second, OK)
        assert browser.hear() == OK
        assert gate.upstream().errors == 0

    def test_but_only_once(self, gate: Gate, browser: Browser) -> None:
        self.kept(gate, browser)
        ask(browser)
        gate.end(self.notebook)
        gate.end(gate.notebook())
        assert status_of(browser.hear()) == 502
        assert gate.is_at_rest

    @pytest.mark.parametrize(
        "request_bytes",
        [message(b"POST /ipython/10000/ HTTP/1.1", HOST), PUT, PUT + b"0123456789"],
        ids=["POST", "a body to come", "a body"],
    )
    def test_and_never_for_what_cannot_be_repeated(
        self, gate: Gate, browser: Browser, request_bytes: bytes
    ) -> None:
        self.kept(gate, browser)
        browser.say(request_bytes)
        gate.end(self.notebook)
        assert status_of(browser.hear()) == 502
        assert gate.is_at_rest

    def test_what_cannot_be_repeated_avoids_one_that_has_just_closed(
        self, gate: Gate, browser: Browser
    ) -> None:
        self.kept(gate, browser)
        self.notebook.hang_up()
        browser.say(message(b"POST /ipython/10000/ HTTP/1.1", HOST))
        gate.tell(gate.notebook(), OK)
        assert browser.hear() == OK

    def test_a_client_that_is_gone_while_a_stale_one_is_replaced(
        self, gate: Gate, browser: Browser
    ) -> None:
        self.kept(gate, browser)
        ask(browser)
        gate.end(self.notebook)
        attempt = gate.dialler.next()
        browser.hang_up()
        assert attempt.cancelled
        assert gate.is_at_rest


class TestPlaces:
    """A port has so many places, and clients share them."""

    ALICE, BOB = "192.0.2.1", "192.0.2.2"

    @pytest.fixture
    def narrow(self) -> Gate:
        return Gate(per_port=2)

    def test_who_finds_none_waits_for_the_next_that_is_free(self, narrow: Gate) -> None:
        first, second, third = (narrow.connect(self.ALICE) for _ in range(3))
        ask(first)
        notebook = narrow.notebook()
        ask(second)
        narrow.notebook()
        assert ask(third) == b""
        assert not narrow.dialler.attempts, "nothing is dialled for a request that waits"
        narrow.tell(notebook, OK)
        assert first.hear() == OK
        narrow.tell(notebook, OK)
        assert third.hear() == OK

    def test_who_waits_in_vain_gets_503(self, narrow: Gate) -> None:
        for _ in range(2):
            ask(narrow.connect(self.ALICE))
            narrow.notebook()
        late = narrow.connect(self.ALICE)
        assert ask(late) == b""
        narrow.wait(LONGEST_WAIT + 1)
        assert status_of(late.hear()) == 503

    def test_who_leaves_waits_no_more(self, narrow: Gate) -> None:
        first, _, late = (narrow.connect(self.ALICE) for _ in range(3))
        ask(first)
        notebook = narrow.notebook()
        ask(narrow.connect(self.ALICE))
        narrow.notebook()
        ask(late)
        late.hang_up()
        narrow.tell(notebook, OK)
        assert not narrow.dialler.attempts

    def test_other_ports_have_places_of_their_own(self, narrow: Gate) -> None:
        for _ in range(2):
            ask(narrow.connect(self.ALICE))
            narrow.notebook()
        other = narrow.connect(self.ALICE)
        ask(other, b"GET /ipython/10001/ HTTP/1.1")
        narrow.tell(narrow.notebook(), OK)
        assert other.hear() == OK

    def test_who_holds_all_gives_way_to_who_holds_none(self, narrow: Gate) -> None:
        """128 uploads just above the slowest pace took every place of a notebook once."""
        greedy = [narrow.connect(self.ALICE) for _ in range(2)]
        for browser in greedy:
            browser.say(PUT + b"0")
            narrow.notebook()
        own = narrow.connect(self.BOB)
        assert ask(own) == b""
        assert [status_of(answer) for browser in greedy if (answer := browser.hear())] == [503]
        narrow.tell(narrow.notebook(), OK)
        assert own.hear() == OK

    def test_who_is_slow_gives_way_first(self, narrow: Gate) -> None:
        slow, quick = narrow.connect(self.ALICE), narrow.connect(self.ALICE)
        slow.say(PUT + b"0")
        narrow.notebook()
        narrow.wait(3)
        ask(quick)
        narrow.notebook()
        ask(narrow.connect(self.BOB))
        assert status_of(slow.hear()) == 503
        assert quick.hear() == b""

    def test_two_with_equally_many_take_nothing_from_each_other(self, narrow: Gate) -> None:
        ask(narrow.connect(self.ALICE))
        narrow.notebook()
        ask(narrow.connect(self.BOB))
        narrow.notebook()
        assert ask(narrow.connect(self.BOB)) == b""
        assert not narrow.dialler.attempts


class TestTrustedProxies:
    def test_what_a_trusted_proxy_said_is_appended_to(self) -> None:
        gate = Gate(proxies=TrustedProxies([ip_network("10.0.0.0/8")]))
        browser = gate.connect("10.0.0.5")
        ask(
            browser,
            b"GET /ipython/10000/ HTTP/1.1",
            b"X-Forwarded-For: 198.51.100.1",
            b"Forwarded: for=198.51.100.1",
        )
        _, lines = head_of(gate.notebook().hear())
        assert b"X-Forwarded-For: 198.51.100.1, 10.0.0.5" in lines
        assert not any(line.startswith(b"Forwarded") for line in lines)

    def test_nobody_elses_word_goes_up(self, gate: Gate, browser: Browser) -> None:
        ask(
            browser,
            b"GET /ipython/10000/ HTTP/1.1",
            b"X-Forwarded-For: 198.51.100.1",
            b"Forwarded: for=198.51.100.1",
        )
        assert b"198.51.100.1" not in gate.notebook().hear()
