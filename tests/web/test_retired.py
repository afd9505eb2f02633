"""What is open when trust changes: it is carried to its end, and nothing more begins on it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ipyproxy.daemon.components import secure
from tests.front import House
from tests.gateway.hall import Hall
from tests.web.gate import Gate, ask, message

ANSWER = message(b"HTTP/1.1 200 OK", b"Content-Length: 2", body=b"hi")


class Terms:
    """Whom to expect at notebooks' ports; equal ones mean the same."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Terms) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


@pytest.fixture
def gate() -> Gate:
    return Gate()


def change(gate: Gate, terms: Terms | None) -> None:
    """A reload, and then the next sweep."""
    components: Any = SimpleNamespace(pool=gate.pool, upstreams=gate.table)
    tls: Any = terms
    secure(components, tls)
    gate.loop.settle()
    gate.wait(1)


class TestConnectionsToNotebooks:
    def test_one_that_is_kept_is_closed(self, gate: Gate) -> None:
        browser = gate.connect()
        ask(browser)
        wire = gate.notebook()
        gate.tell(wire, ANSWER)
        assert not wire.is_closed
        change(gate, Terms("a"))
        assert wire.is_closed

    def test_one_in_use_ends_after_its_answer(self, gate: Gate) -> None:
        browser = gate.connect()
        ask(browser)
        wire = gate.notebook()
        change(gate, Terms("a"))
        assert not wire.is_closed
        gate.tell(wire, ANSWER)
        assert browser.hear().endswith(b"hi")
        assert wire.is_closed

    def test_a_bridge_ends(self) -> None:
        hall = Hall()
        browser, notebook = hall.open()
        browser.hear()
        change(hall, Terms("a"))
        assert notebook.wire.is_closed
        assert browser.hear() == b""
        assert browser.wire.has_ended

    def test_so_does_one_that_opens_only_then(self) -> None:
        hall = Hall()
        browser, notebook, request = hall.ask()
        change(hall, Terms("a"))
        notebook.switch(request)
        hall.wait(1)
        assert notebook.wire.is_closed
        browser.hear()
        assert browser.wire.has_ended

    def test_one_that_is_being_made_is_sent_nothing(self, gate: Gate) -> None:
        browser = gate.connect()
        ask(browser)
        change(gate, Terms("a"))
        wire = gate.notebook()
        assert wire.hear() == b""
        assert wire.is_closed
        assert browser.hear().startswith(b"HTTP/1.1 503 ")
        assert gate.is_at_rest

    def test_if_nothing_has_changed_all_stays(self, gate: Gate) -> None:
        browser = gate.connect()
        ask(browser)
        wire = gate.notebook()
        gate.tell(wire, ANSWER)
        change(gate, None)
        assert not wire.is_closed
        gate.upstream().tls = Terms("a")  # type: ignore[assignment]
        change(gate, Terms("a"))
        assert not wire.is_closed


class TestConnectionsOfClients:
    def test_one_that_is_idle_is_closed(self) -> None:
        house = House()
        house.desk.answer = lambda request: request.respond(200, b"OK", [], b"")
        browser = house.connect()
        browser.get()
        house.server.disconnect()
        house.loop.settle()
        assert not browser.is_connected

    def test_one_that_has_only_begun_is_closed(self) -> None:
        house = House()
        shaking, fresh, asking = house.knock(), house.connect(), house.connect()
        asking.say(b"GET / HT")
        house.server.disconnect()
        house.loop.settle()
        assert not any(browser.is_connected for browser in (shaking, fresh, asking))
        assert house.desk.requests == []

    def test_a_request_is_answered_and_the_next_one_is_not_served(self) -> None:
        house = House()
        browser = house.connect()
        browser.get(b"/first")
        browser.get(b"/second")
        house.server.disconnect()
        house.desk.next().respond(200, b"OK", [], b"")
        heard = browser.hear()
        assert b"\r\nConnection: close\r\n" in heard
        assert heard.count(b"HTTP/1.1 ") == 1
        assert browser.get(b"/third") == b""
        assert house.desk.requests == []
        assert browser.wire.has_ended

    def test_one_whose_answer_has_begun_ends_after_it(self) -> None:
        house = House()
        browser = house.connect()
        browser.get()
        request = house.desk.next()
        request.begin(200, b"OK", b"", 2)
        request.write(b"h")
        house.server.disconnect()
        request.write(b"i")
        request.finish()
        assert browser.hear().endswith(b"hi")
        assert browser.get() == b""
        assert house.desk.requests == []
        assert browser.wire.has_ended

    def test_one_whose_client_has_yet_to_take_an_answer_ends_after_it(self) -> None:
        house = House()
        house.desk.answer = lambda request: request.respond(200, b"OK", [], b"x" * 200_000)
        browser = house.connect()
        browser.wire.room = 1000
        browser.get()
        house.server.disconnect()
        browser.wire.room = None
        assert browser.hear().endswith(b"x")
        assert browser.get() == b""
        assert browser.wire.has_ended

    def test_a_bridge_ends(self) -> None:
        hall = Hall()
        browser, notebook = hall.open()
        browser.hear()
        hall.server.disconnect()
        hall.loop.settle()
        assert not browser.is_connected
        hall.wait(30)
        assert notebook.wire.has_ended
        assert hall.loop.failures == []

    def test_so_does_one_that_opens_only_then(self) -> None:
        hall = Hall()
        browser, notebook, request = hall.ask()
        hall.server.disconnect()
        notebook.switch(request)
        hall.wait(30)
        assert not browser.is_connected
        assert notebook.wire.has_ended
        assert hall.loop.failures == []
