"""Requests carried to a notebook and answers carried back: all bytes on both sides."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from ipyproxy.http.forwarding import TrustedProxies
from tests.front import Browser, status_of
from tests.web.gate import HOST, Gate, ask, head_of, message

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def browser(gate: Gate) -> Browser:
    return gate.connect()


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
