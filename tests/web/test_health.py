"""What a client gets while a notebook is not there, and what it costs the notebook's port."""

from __future__ import annotations

import errno
import json
import re
from datetime import UTC, datetime

import pytest
from twisted.logger import capturedLogs

from ipyproxy.config import Health
from ipyproxy.upstream.states import State
from ipyproxy.upstream.upstream import STARTING_FOR, TRIAL_GAP
from tests.front import Browser
from tests.gateway.hall import HANDSHAKE, PORT, Hall, Notebook
from tests.gateway.hall import ask as ask_for_websocket
from tests.web.gate import HOST, Gate, ask, message
from tests.wsframes import TEXT, Frame

FOR_A_PERSON = b"Accept: text/html,application/xhtml+xml,*/*;q=0.8"
FOR_A_SCRIPT = b"Accept: application/json"
STATE = b"GET /_ipyproxy/state/10000 HTTP/1.1"


@pytest.fixture
def gate() -> Gate:
    return Gate(health=Health())


def refuse(gate: Gate) -> None:
    """The port that is being dialled has no listener."""
    gate.dialler.next().fail(errno.ECONNREFUSED)
    gate.loop.settle()


def never_up(gate: Gate) -> Browser:
    """A browser that has just been told that nobody listens on 10000."""
    browser = gate.connect()
    assert ask(browser) == b""
    refuse(gate)
    assert status(browser.hear()) == 503
    return browser


def gone(gate: Gate) -> Browser:
    """A browser that has seen the notebook on 10000 answer, and then refuse."""
    browser = gate.connect()
    ask(browser)
    wire = gate.notebook()
    gate.tell(wire, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    assert status(browser.hear()) == 200
    ask(browser)
    refuse(gate)
    assert status(browser.hear()) == 503
    return browser


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def body(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


class TestWhatAPersonGets:
    def test_a_page_that_says_it_is_starting_and_looks_by_itself(self, gate: Gate) -> None:
        answer = ask(never_up(gate), b"GET /ipython/10000/lab HTTP/1.1", FOR_A_PERSON)
        assert status(answer) == 503
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
        assert status(answer) == 503
        assert b"Retry-After: 5\r\n" in answer
        assert b"The notebook is not running" in body(answer)

    def test_a_page_that_says_there_is_no_such_port(self, gate: Gate) -> None:
        answer = ask(gate.connect(), b"GET /ipython/99/ HTTP/1.1", FOR_A_PERSON)
        assert status(answer) == 404
        assert b"No such notebook" in body(answer)


class TestWhatAScriptGets:
    @pytest.mark.parametrize("state", ["starting", "dead"])
    def test_the_state_beside_the_problem(self, gate: Gate, state: str) -> None:
        browser = never_up(gate) if state == "starting" else gone(gate)
        answer = ask(browser, b"GET /ipython/10000/api HTTP/1.1", FOR_A_SCRIPT)
        assert status(answer) == 503
        assert b"Content-Type: application/problem+json\r\n" in answer
        assert json.loads(body(answer))["state"] == state

    def test_a_websocket_gets_its_status(self, gate: Gate) -> None:
        gone(gate)
        answer = ask(gate.connect(), b"GET /ipython/10000/ws HTTP/1.1", *HANDSHAKE)
        assert status(answer) == 503
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
        assert status(ask(gate.connect(), start)) == 404

    @pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE"])
    def test_it_is_for_reading(self, gate: Gate, method: bytes) -> None:
        start = method + b" /_ipyproxy/state/10000 HTTP/1.1"
        assert status(ask(gate.connect(), start)) == 405

    def test_a_foreign_page_is_told_nothing(self, gate: Gate) -> None:
        assert status(ask(gate.connect(), STATE, b"Origin: https://evil.example")) == 403


class TestWhatItCosts:
    def test_while_it_is_dead_nobody_dials(self, gate: Gate) -> None:
        browser = gone(gate)
        for _ in range(50):
            assert status(ask(browser)) == 503
        assert not gate.dialler.attempts

    def test_one_request_at_a_time_tries(self, gate: Gate) -> None:
        gone(gate)
        gate.loop.advance(TRIAL_GAP)
        browsers = [gate.connect() for _ in range(20)]
        answers = [ask(browser) for browser in browsers]
        assert [answer and status(answer) for answer in answers] == [b"", *[503] * 19]
        gate.loop.advance(TRIAL_GAP)
        assert status(ask(browsers[-1])) == 503
        assert len(gate.dialler.attempts) == 1

    def test_whoever_tries_is_served_if_it_is_back(self, gate: Gate) -> None:
        browser = gone(gate)
        gate.loop.advance(TRIAL_GAP)
        ask(browser)
        gate.tell(gate.notebook(), b"HTTP/1.1 204 No Content\r\n\r\n")
        assert status(browser.hear()) == 204
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
                assert status(answer) == 503
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
            assert status(browser.hear()) == code
        assert gate.upstream().state is State.UP


class TestBridges:
    @pytest.fixture
    def hall(self) -> Hall:
        return Hall(health=Health(fall=1))

    def hang(self, hall: Hall) -> None:
        """A probe finds that the port takes no connections."""
        hall.loop.advance(3)
        hall.prober.next().fail(errno.ETIMEDOUT)

    def test_an_open_one_is_a_sign_of_life(self, hall: Hall) -> None:
        hall.open()
        assert hall.upstream(PORT).state is State.UP

    def test_they_go_on_though_the_port_refuses(self, hall: Hall) -> None:
        """A server that is being replaced stops listening, and goes on with what it has."""
        browser, notebook = hall.open()
        other = hall.connect()
        other.say(message(b"GET /ipython/10001/ HTTP/1.1", HOST))
        refuse(hall)
        assert status(other.hear()) == 503
        assert hall.upstream(PORT).state is State.DEAD
        assert self.are_carried(hall, browser, notebook)

    def test_they_go_on_though_it_takes_no_more(self, hall: Hall) -> None:
        browser, notebook = hall.open()
        self.hang(hall)
        assert hall.upstream(PORT).state is State.BUSY
        assert self.are_carried(hall, browser, notebook)

    def test_they_go_on_though_it_is_silent_for_hours(self, hall: Hall) -> None:
        browser, notebook = hall.open()
        hall.loop.advance(3)
        hall.prober.next().succeed()
        hall.loop.settle()
        for _ in range(1000):
            hall.loop.advance(10)
        assert hall.upstream(PORT).state is State.BUSY
        assert hall.prober.attempts == []
        assert self.are_carried(hall, browser, notebook)

    def are_carried(self, hall: Hall, browser: Browser, notebook: Notebook) -> bool:
        """Whether frames still pass."""
        hall.tell(notebook.wire, Frame(TEXT, b"still there").wire)
        return browser.hear().endswith(Frame(TEXT, b"still there").wire)

    def test_the_next_one_is_sent_on(self, hall: Hall) -> None:
        hall.open()
        self.hang(hall)
        assert ask_for_websocket(hall.connect(), *HANDSHAKE) == b""
        assert len(hall.dialler.attempts) == 1


class TestBusy:
    @pytest.fixture
    def busy(self, gate: Gate) -> Gate:
        """A notebook that has answered once, and answers nothing more."""
        browser = gate.connect()
        ask(browser)
        gate.tell(gate.notebook(), b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        gate.loop.advance(3)
        gate.prober.next().succeed()
        gate.loop.settle()
        gate.wait(2)
        assert gate.upstream().state is State.BUSY
        return gate

    @pytest.mark.parametrize("lines", [(), HANDSHAKE], ids=["HTTP", "WebSocket"])
    def test_a_request_is_sent_and_answered_when_it_is_awake(
        self, busy: Gate, lines: tuple[bytes, ...]
    ) -> None:
        browser = busy.connect()
        assert ask(browser, b"GET /ipython/10000/x HTTP/1.1", *lines) == b""
        wire = busy.notebook()
        busy.wait(55)
        assert browser.hear() == b""
        busy.tell(wire, b"HTTP/1.1 204 No Content\r\n\r\n")
        assert status(browser.hear()) == 204
        assert busy.upstream().state is State.UP

    def test_a_person_whose_request_timed_out_is_told_that_it_is_busy(self, busy: Gate) -> None:
        browser = busy.connect()
        ask(browser, b"GET /ipython/10000/lab HTTP/1.1", FOR_A_PERSON)
        busy.notebook()
        busy.wait(62)
        answer = browser.hear()
        assert status(answer) == 504
        assert b"The notebook is busy" in body(answer)
        assert re.search(rb"since \d\d:\d\d:\d\d UTC \(\d\d seconds\)", body(answer))
        assert b">Try again</a>" in body(answer)

    def test_a_script_is_told_since_when(self, busy: Gate) -> None:
        browser = busy.connect()
        ask(browser, b"GET /ipython/10000/lab HTTP/1.1", FOR_A_SCRIPT)
        busy.notebook()
        busy.wait(62)
        answer = browser.hear()
        assert status(answer) == 504
        assert b"Content-Type: application/problem+json\r\n" in answer
        told = json.loads(body(answer))
        assert (told["state"], told["status"]) == ("busy", 504)
        assert 59 <= told["busy_seconds"] <= 66
        since = datetime.fromisoformat(told["busy_since"])
        assert abs((datetime.now(UTC) - since).total_seconds() - told["busy_seconds"]) < 30

    def test_so_is_one_that_got_no_connection(self, busy: Gate) -> None:
        browser = busy.connect()
        ask(browser, b"GET /ipython/10000/lab HTTP/1.1", FOR_A_SCRIPT)
        busy.dialler.next().fail(errno.ETIMEDOUT)
        answer = browser.hear()
        assert status(answer) == 503
        assert b"Retry-After: 5\r\n" in answer
        assert json.loads(body(answer))["state"] == "busy"

    def test_whoever_takes_long_while_others_are_answered_is_told_so(self, gate: Gate) -> None:
        browser = gone(gate)
        gate.loop.advance(TRIAL_GAP)
        ask(browser)
        gate.notebook()
        gate.wait(62)
        assert b"The notebook took too long" in browser.hear()


class TestContainers:
    """Docker's proxy: it takes each connection, and closes it while the container has no server."""

    @pytest.mark.parametrize("how", ["hang up", "reset"])
    def test_a_person_gets_the_page_that_waits(self, gate: Gate, how: str) -> None:
        browser = gate.connect()
        ask(browser, b"GET /ipython/10000/lab HTTP/1.1", FOR_A_PERSON)
        gate.end(gate.notebook(), how)
        answer = browser.hear()
        assert status(answer) == 503
        assert b"No notebook answers here yet" in body(answer)
        assert b'data-state="/_ipyproxy/state/10000"' in body(answer)

    @pytest.mark.parametrize("how", ["hang up", "reset"])
    def test_a_script_is_told_too(self, gate: Gate, how: str) -> None:
        browser = gate.connect()
        ask(browser, b"GET /ipython/10000/api HTTP/1.1", FOR_A_SCRIPT)
        gate.end(gate.notebook(), how)
        assert json.loads(body(browser.hear()))["state"] == "starting"

    def test_a_websocket_gets_503(self, gate: Gate) -> None:
        browser = gate.connect()
        ask(browser, b"GET /ipython/10000/ws HTTP/1.1", *HANDSHAKE)
        gate.end(gate.notebook())
        assert status(browser.hear()) == 503

    def test_the_log_gives_no_advice_about_it(self, gate: Gate) -> None:
        with capturedLogs() as events:
            ask(gate.connect())
            gate.end(gate.notebook())
        assert not [event for event in events if "advice" in event]

    def test_one_that_has_answered_gets_502_as_ever(self, gate: Gate) -> None:
        browser = gate.connect()
        ask(browser)
        gate.tell(gate.notebook(), b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        browser.hear()
        ask(browser)
        gate.end(gate.notebook())
        assert status(browser.hear()) == 502
        assert gate.upstream().state is State.UP

    def test_a_beginning_of_an_answer_is_none_of_it(self, gate: Gate) -> None:
        browser = gate.connect()
        ask(browser)
        wire = gate.notebook()
        gate.tell(wire, b"HTTP/1.")
        gate.end(wire)
        assert status(browser.hear()) == 502


class TestNobody:
    """A stranger who asks for all ports leaves nothing behind."""

    def test_neither_records_nor_resources(self, gate: Gate) -> None:
        for port in range(10000, 10100):
            browser = gate.connect(f"192.0.2.{port - 10000}")
            ask(browser, b"GET /ipython/%d/ HTTP/1.1" % port)
            refuse(gate)
            assert status(browser.hear()) == 503
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
