"""What clients get of a notebook that is busy, or hangs up, and how its WebSockets go on."""

from __future__ import annotations

import errno
import json
import re
from datetime import UTC, datetime

import pytest
from twisted.logger import capturedLogs

from ipyproxy.config import Health
from ipyproxy.upstream.states import State
from ipyproxy.upstream.upstream import TRIAL_GAP
from tests.front import Browser, status_of
from tests.gateway.hall import HANDSHAKE, PORT, Hall, Notebook
from tests.gateway.hall import ask as ask_for_websocket
from tests.web.absent import FOR_A_PERSON, FOR_A_SCRIPT, body, gone, refuse
from tests.web.gate import HOST, Gate, ask, message
from tests.wsframes import TEXT, Frame


@pytest.fixture
def gate() -> Gate:
    return Gate(health=Health())


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
        assert status_of(other.hear()) == 503
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
        assert status_of(browser.hear()) == 204
        assert busy.upstream().state is State.UP

    def test_a_person_whose_request_timed_out_is_told_that_it_is_busy(self, busy: Gate) -> None:
        browser = busy.connect()
        ask(browser, b"GET /ipython/10000/lab HTTP/1.1", FOR_A_PERSON)
        busy.notebook()
        busy.wait(62)
        answer = browser.hear()
        assert status_of(answer) == 504
        assert b"The notebook is busy" in body(answer)
        assert re.search(rb"since \d\d:\d\d:\d\d UTC \(\d\d seconds\)", body(answer))
        assert b">Try again</a>" in body(answer)

    def test_a_script_is_told_since_when(self, busy: Gate) -> None:
        browser = busy.connect()
        ask(browser, b"GET /ipython/10000/lab HTTP/1.1", FOR_A_SCRIPT)
        busy.notebook()
        busy.wait(62)
        answer = browser.hear()
        assert status_of(answer) == 504
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
        assert status_of(answer) == 503
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
        assert status_of(answer) == 503
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
        assert status_of(browser.hear()) == 503

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
        assert status_of(browser.hear()) == 502
        assert gate.upstream().state is State.UP

    def test_a_beginning_of_an_answer_is_none_of_it(self, gate: Gate) -> None:
        browser = gate.connect()
        ask(browser)
        wire = gate.notebook()
        gate.tell(wire, b"HTTP/1.")
        gate.end(wire)
        assert status_of(browser.hear()) == 502
