"""Ports that are somebody else's, and ports that change hands, at the gate."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from ipyproxy.net.sockdiag import Listener
from ipyproxy.upstream.owners import PATIENCE, Directory, KnownOwners, Owners
from tests.front import status_of
from tests.gateway.hall import Hall
from tests.web.gate import Gate, ask, message

ALICE, MALLORY = Listener(1000, 1), Listener(666, 2)
ANSWER = message(b"HTTP/1.1 200 OK", b"Content-Length: 2", body=b"hi")


class OnlyAlice:
    def __contains__(self, uid: object) -> bool:
        return uid == ALICE.uid

    def find(self, uid: int) -> None:
        """Nobody has to be asked."""


@pytest.fixture
def gate() -> Gate:
    gate = Gate()
    gate.listeners[10000] = ALICE
    return gate


def test_an_owner_s_notebook_is_served(gate: Gate) -> None:
    gate.tenants.owners = OnlyAlice()
    browser = gate.connect()
    assert ask(browser) == b""
    gate.tell(gate.notebook(), ANSWER)
    assert status_of(browser.hear()) == 200


@pytest.mark.parametrize("websocket", [False, True])
def test_somebody_else_s_port_is_not_dialled(gate: Gate, websocket: bool) -> None:
    gate.tenants.owners = OnlyAlice()
    gate.listeners[10000] = MALLORY
    lines = (
        [
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ]
        if websocket
        else []
    )
    answer = ask(gate.connect(), b"GET /ipython/10000/ HTTP/1.1", *lines)
    assert status_of(answer) == 403
    assert gate.dialler.attempts == []
    assert gate.is_at_rest


def test_whoever_takes_the_port_while_we_connect_is_sent_nothing(gate: Gate) -> None:
    gate.tenants.owners = OnlyAlice()
    browser = gate.connect()
    assert ask(browser) == b""
    gate.listeners[10000] = MALLORY
    wire = gate.notebook()
    assert wire.hear() == b""
    assert wire.is_closed
    assert status_of(browser.hear()) == 403
    assert gate.is_at_rest


def test_a_kept_connection_to_the_former_tenant_is_used_no_more(gate: Gate) -> None:
    browser = gate.connect()
    ask(browser)
    former = gate.notebook()
    gate.tell(former, ANSWER)
    browser.hear()
    gate.listeners[10000] = MALLORY
    gate.tenants.sweep(1)
    gate.loop.settle()
    assert former.is_closed
    ask(browser)
    assert gate.notebook() is not former


def test_neither_is_one_that_was_busy_at_that_moment(gate: Gate) -> None:
    browser = gate.connect()
    ask(browser)
    former = gate.notebook()
    gate.listeners[10000] = MALLORY
    gate.tenants.sweep(1)
    gate.tell(former, ANSWER)
    assert status_of(browser.hear()) == 200
    assert former.is_closed


def test_bridges_of_the_former_tenant_end() -> None:
    hall = Hall()
    hall.listeners[10001] = ALICE
    browser, notebook = hall.open()
    browser.hear()
    hall.listeners[10001] = MALLORY
    hall.tenants.sweep(1)
    hall.loop.settle()
    assert notebook.wire.is_closed
    assert browser.hear() == b""
    assert browser.wire.has_ended


def test_a_request_that_was_allowed_for_one_tenant_meets_no_other(gate: Gate) -> None:
    gate.tenants.strict = True
    browser = gate.connect()
    ask(browser)
    gate.tell(gate.notebook(), message(b"HTTP/1.1 200 OK", b"Connection: close", body=b"hi"))
    gate.listeners[10000] = MALLORY
    browser = gate.connect()
    ask(browser)
    wire = gate.notebook()
    assert wire.hear() == b""
    answer = browser.hear()
    assert status_of(answer) == 503
    assert b"Retry-After" in answer


STUDENTS = 5000


class SlowDirectory:
    """Alice is a student, if only one waits until the directory of users says so."""

    def __init__(self, gate: Gate) -> None:
        self.answers: list[Deferred[frozenset[int]]] = []
        directory = Directory(gate.loop, self._run, lambda uid: frozenset())
        owners = Owners(())
        owners.groups = frozenset([STUDENTS])
        gate.tenants.owners = KnownOwners(owners, directory)

    def _run(self, work: Any) -> Any:
        self.answers.append(Deferred())
        return self.answers[-1]

    def answer(self, *groups: int) -> None:
        self.answers.pop(0).callback(frozenset(groups))


UPLOAD = b"POST /ipython/10000/ HTTP/1.1", b"Content-Length: 5"


def test_a_request_waits_for_the_directory_and_its_body_with_it(gate: Gate) -> None:
    directory = SlowDirectory(gate)
    browser = gate.connect()
    assert ask(browser, *UPLOAD) == b""
    assert browser.say(b"hello") == b""
    assert gate.dialler.attempts == []
    # Whoever wants no such notebook does not wait.
    assert status_of(ask(gate.connect(), b"GET / HTTP/1.1")) == 200
    directory.answer(STUDENTS)
    notebook = gate.notebook()
    assert notebook.hear().endswith(b"\r\n\r\nhello")
    gate.tell(notebook, ANSWER)
    assert status_of(browser.hear()) == 200
    # From now on it is known.
    assert ask(browser) == b""
    assert directory.answers == []
    gate.tell(notebook, ANSWER)
    assert status_of(browser.hear()) == 200


def test_it_is_refused_if_the_directory_knows_better(gate: Gate) -> None:
    directory = SlowDirectory(gate)
    browser = gate.connect()
    ask(browser, *UPLOAD)
    directory.answer(STUDENTS + 1)
    assert status_of(browser.hear()) == 403
    assert gate.dialler.attempts == []
    assert gate.is_at_rest


def test_it_does_not_wait_for_ever(gate: Gate) -> None:
    SlowDirectory(gate)
    browser = gate.connect()
    ask(browser)
    gate.wait(PATIENCE + 1)
    assert status_of(browser.hear()) == 503
    assert gate.dialler.attempts == []
    assert gate.is_at_rest


def test_whoever_leaves_meanwhile_leaves_nothing_behind(gate: Gate) -> None:
    directory = SlowDirectory(gate)
    browser = gate.connect()
    ask(browser)
    browser.hang_up()
    directory.answer(STUDENTS)
    gate.loop.settle()
    assert gate.dialler.attempts == []
    assert gate.is_at_rest
