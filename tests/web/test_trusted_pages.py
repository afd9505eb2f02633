"""Trusted pages at the gate: they read, they frame, and their preflights reach no notebook."""

from __future__ import annotations

import pytest

from tests.web.gate import Gate, ask, head_of, message

GALAXY = b"Origin: https://galaxy.example"
ALLOWED = b"Access-Control-Allow-Origin: https://galaxy.example"


@pytest.fixture
def gate() -> Gate:
    return Gate(trusted_origins=("https://galaxy.example",))


def answered(gate: Gate, *lines: bytes) -> set[bytes]:
    """The field lines of a notebook's answer to a request with these lines."""
    browser = gate.connect()
    assert ask(browser, b"GET /ipython/10000/ HTTP/1.1", *lines) == b""
    said = (b"X-Frame-Options: SAMEORIGIN", b"Access-Control-Allow-Origin: *")
    gate.tell(gate.notebook(), message(b"HTTP/1.1 200 OK", b"Content-Length: 0", *said))
    return head_of(browser.hear())[1]


def test_an_answer_names_the_page_that_asked(gate: Gate) -> None:
    lines = answered(gate, GALAXY)
    assert {ALLOWED, b"Access-Control-Allow-Credentials: true", b"Vary: Origin"} <= lines
    assert b"Content-Security-Policy: frame-ancestors 'self' https://galaxy.example" in lines
    assert not any(line.startswith(b"X-Frame-Options") for line in lines)


def test_our_own_page_is_told_of_nobody(gate: Gate) -> None:
    lines = answered(gate, b"Origin: https://hub.example")
    assert b"Vary: Origin" in lines
    assert not any(line.startswith(b"Access-Control-") for line in lines)


def test_a_page_that_is_not_trusted_gets_no_further_than_before(gate: Gate) -> None:
    answer = ask(gate.connect(), b"GET /ipython/10000/ HTTP/1.1", b"Origin: https://evil.example")
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"Access-Control-" not in answer


def test_a_preflight_is_answered_here(gate: Gate) -> None:
    answer = ask(
        gate.connect(),
        b"OPTIONS /ipython/10000/api/contents/x HTTP/1.1",
        GALAXY,
        b"Access-Control-Request-Method: PUT",
    )
    start, lines = head_of(answer)
    assert start == b"HTTP/1.1 204 No Content"
    assert {ALLOWED, b"Access-Control-Allow-Methods: PUT"} <= lines
    assert gate.dialler.attempts == []


def test_a_problem_can_be_read_too(gate: Gate) -> None:
    answer = ask(gate.connect(), b"GET /ipython/22/ HTTP/1.1", GALAXY)
    start, lines = head_of(answer)
    assert start.startswith(b"HTTP/1.1 404 ")
    assert ALLOWED in lines


def test_without_trusted_origins_nothing_of_this_is_said() -> None:
    lines = answered(Gate(), b"Origin: https://hub.example")
    assert b"X-Frame-Options: SAMEORIGIN" in lines
    assert b"Vary: Origin" not in lines
