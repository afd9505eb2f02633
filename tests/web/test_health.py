"""What a client gets while a notebook is not there, and what it costs the notebook's port."""

from __future__ import annotations

import errno
import json

import pytest
from twisted.logger import capturedLogs

from ipyproxy.config import Health
from ipyproxy.upstream.states import State
from ipyproxy.upstream.upstream import STARTING_FOR, TRIAL_GAP
from tests.front import Browser, status_of
from tests.gateway.hall import HANDSHAKE
from tests.web.absent import FOR_A_PERSON, FOR_A_SCRIPT, body, gone, refuse
from tests.web.gate import Gate, ask

STATE = b"GET /_ipyproxy/state/10000 HTTP/1.1"


@pytest.fixture
def gate() -> Gate:
    return Gate(health=Health())


def never_up(gate: Gate) -> Browser:
    """A browser that has just been told that nobody listens on 10000."""
    browser = gate.connect()
    assert ask(browser) == b""
    refuse(gate)
    assert status_of(browser.hear()) == 503
    return browser


class TestWhatAPersonGets:
    def test_a_page_that_says_it_is_starting_and_looks_by_itself(self, gate: Gate) -> None:
        answer = ask(never_up(gate), b"GET /ipython/10000/lab HTTP/1.1", FOR_A_PERSON)
        assert status_of(answer) == 503
        assert b"Retry-After: 1\r\n" in answer
        assert b"No notebook answers here yet" in body(answer)
        assert b'data-state="/_ipyproxy/state/10000"' in body(answer)
        assert b'http-equiv="refresh"' not in body(answer)

    def test_after_a_minute_a_page_that_says_it_is_not_running(self, gate: Gate) -> None:
        browser = never_up(gate)
        gate.loop.advance(STARTING_FOR)
        gate.prober.next().fail(errno.ECONNREFUSED)
        assert b"The notebook is not running" in ask(browser)

    def test_a_page_that_says_it_has_stopped(self, gate: Gate) -> None:
        answer = ask(gone(gate), b"GET /ipython/10000/lab HTTP/1.1", FOR_A_PERSON)
        assert status_of(answer) == 503
        assert b"Retry-After: 5\r\n" in answer
        assert b"The notebook is not running" in body(answer)

    def test_a_page_that_says_there_is_no_such_port(self, gate: Gate) -> None:
        answer = ask(gate.connect(), b"GET /ipython/99/ HTTP/1.1", FOR_A_PERSON)
        assert status_of(answer) == 404
        assert b"No such notebook" in body(answer)


class TestWhatAScriptGets:
    @pytest.mark.parametrize("state", ["starting", "dead"])
    def test_the_state_beside_the_problem(self, gate: Gate, state: str) -> None:
        browser = never_up(gate) if state == "starting" else gone(gate)
        answer = ask(browser, b"GET /ipython/10000/api HTTP/1.1", FOR_A_SCRIPT)
        assert status_of(answer) == 503
        assert b"Content-Type: application/problem+json\r\n" in answer
        assert json.loads(body(answer))["state"] == state

    def test_a_websocket_gets_its_status(self, gate: Gate) -> None:
        gone(gate)
        answer = ask(gate.connect(), b"GET /ipython/10000/ws HTTP/1.1", *HANDSHAKE)
        assert status_of(answer) == 503
        assert not gate.dialler.attempts


class TestTheStateResource:
    def test_it_tells_what_is_known(self, gate: Gate) -> None:
        browser = gate.connect()
        assert json.loads(body(ask(browser, STATE))) == {"state": "unknown"}
        never_up(gate)
        assert json.loads(body(ask(browser, STATE))) == {"state": "starting"}

    def test_it_may_be_kept_by_nobody(self, gate: Gate) -> None:
        assert b"Cache-Control: no-store\r\n" in ask(gate.connect(), STATE)

    def test_asking_sends_nothing_but_a_probe(self, gate: Gate) -> None:
        browser = gate.connect()
        for _ in range(10):
            ask(browser, STATE)
        gate.wait(1)
        assert not gate.dialler.attempts
        assert len(gate.prober.attempts) == 1
        assert gate.upstream().last_activity == 0

    def test_whoever_waits_sees_it_come_up(self, gate: Gate) -> None:
        browser = gate.connect()
        ask(browser, STATE)
        gate.loop.settle()
        wire = gate.prober.next().succeed()
        gate.wait(1)
        assert wire.is_shut
        wire.hang_up()
        gate.loop.settle()
        assert json.loads(body(ask(browser, STATE))) == {"state": "up"}

    @pytest.mark.parametrize("port", [b"99", b"010000", b"1e4", b""])
    def test_there_are_none_but_the_served_ports(self, gate: Gate, port: bytes) -> None:
        start = b"GET /_ipyproxy/state/%b HTTP/1.1" % port
        assert status_of(ask(gate.connect(), start)) == 404

    @pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE"])
    def test_it_is_for_reading(self, gate: Gate, method: bytes) -> None:
        start = method + b" /_ipyproxy/state/10000 HTTP/1.1"
        assert status_of(ask(gate.connect(), start)) == 405

    def test_a_foreign_page_is_told_nothing(self, gate: Gate) -> None:
        assert status_of(ask(gate.connect(), STATE, b"Origin: https://evil.example")) == 403


class TestWhatItCosts:
    def test_while_it_is_dead_nobody_dials(self, gate: Gate) -> None:
        browser = gone(gate)
        for _ in range(50):
            assert status_of(ask(browser)) == 503
        assert not gate.dialler.attempts

    def test_one_request_at_a_time_tries(self, gate: Gate) -> None:
        gone(gate)
        gate.loop.advance(TRIAL_GAP)
        browsers = [gate.connect() for _ in range(20)]
        answers = [ask(browser) for browser in browsers]
        assert [answer and status_of(answer) for answer in answers] == [b"", *[503] * 19]
        gate.loop.advance(TRIAL_GAP)
        assert status_of(ask(browsers[-1])) == 503
        assert len(gate.dialler.attempts) == 1

    def test_whoever_tries_is_served_if_it_is_back(self, gate: Gate) -> None:
        browser = gone(gate)
        gate.loop.advance(TRIAL_GAP)
        ask(browser)
        gate.tell(gate.notebook(), b"HTTP/1.1 204 No Content\r\n\r\n")
        assert status_of(browser.hear()) == 204
        assert gate.upstream().state is State.UP

    def test_a_hundred_tabs_that_poll_keep_no_socket_and_try_no_more_than_one(
        self, gate: Gate
    ) -> None:
        tabs = [gone(gate)]
        tabs += [gate.connect(f"192.0.2.{number}") for number in range(1, 100)]
        tried = 0
        for _ in range(30):
            gate.loop.advance(1)
            for tab in tabs:
                answer = ask(tab)
                if not answer:
                    tried += 1
                    refuse(gate)
                    answer = tab.hear()
                assert status_of(answer) == 503
            for probe in gate.prober.attempts:
                if not probe.cancelled:
                    probe.fail(errno.ECONNREFUSED)
            gate.prober.attempts.clear()
            assert gate.is_at_rest
        assert tried <= 30

    @pytest.mark.parametrize("code", [500, 502, 503, 504])
    def test_an_error_of_the_applications_own_marks_nothing(self, gate: Gate, code: int) -> None:
        browser = gate.connect()
        for _ in range(20):
            ask(browser)
            wire = gate.notebook()
            gate.tell(
                wire, b"HTTP/1.1 %d Own\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % code
            )
            assert status_of(browser.hear()) == code
        assert gate.upstream().state is State.UP


class TestNobody:
    """A stranger who asks for all ports leaves nothing behind."""

    def test_neither_records_nor_resources(self, gate: Gate) -> None:
        for port in range(10000, 10100):
            browser = gate.connect(f"192.0.2.{port - 10000}")
            ask(browser, b"GET /ipython/%d/ HTTP/1.1" % port)
            refuse(gate)
            assert status_of(browser.hear()) == 503
        assert not gate.notebooks.children
        for _ in range(340):
            gate.wait(1)
            for probe in gate.prober.attempts:
                if not probe.cancelled:
                    probe.fail(errno.ECONNREFUSED)
            gate.prober.attempts.clear()
        assert gate.table.all() == []

    def test_but_a_notebook_that_has_answered_is_kept(self, gate: Gate) -> None:
        browser = gone(gate)
        ask(browser)
        assert list(gate.notebooks.children) == [b"10000"]


class TestAdvice:
    """What the log is told about a notebook's answers."""

    def advice(self, gate: Gate, answer: bytes, start: bytes, *lines: bytes) -> list[str]:
        with capturedLogs() as events:
            ask(gate.connect(), start, *lines)
            head = b"HTTP/1.1 %b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            gate.tell(gate.notebook(), head % answer)
        return [event["advice"] for event in events if "advice" in event]

    def test_a_refused_websocket_is_told(self, gate: Gate) -> None:
        start = b"GET /ipython/10000/api/kernels/1/channels HTTP/1.1"
        assert self.advice(gate, b"403 Forbidden", start, *HANDSHAKE) == ["forbidden"]

    def test_a_refused_post_is_told(self, gate: Gate) -> None:
        start = b"POST /ipython/10000/api/kernels HTTP/1.1"
        assert self.advice(gate, b"403 Forbidden", start, b"Content-Length: 0") == ["forbidden"]

    def test_a_page_for_members_is_not(self, gate: Gate) -> None:
        assert self.advice(gate, b"403 No", b"GET /ipython/10000/api/status HTTP/1.1") == []

    def test_a_notebook_that_is_not_at_home_is_told(self, gate: Gate) -> None:
        start = b"GET /ipython/10000/?token=secret HTTP/1.1"
        assert self.advice(gate, b"404 No", start) == ["other-base-url"]
        assert self.advice(gate, b"404 No", b"GET /ipython/10000/x HTTP/1.1") == []

    def test_an_answer_that_is_no_http_is_told(self, gate: Gate) -> None:
        with capturedLogs() as events:
            ask(gate.connect())
            gate.tell(gate.notebook(), b"SSH-2.0-none\r\n")
        assert [event["advice"] for event in events if "advice" in event] == ["not-http"]
