"""Browsers that ask for a notebook which is not there."""

from __future__ import annotations

import errno

from tests.front import Browser, status_of
from tests.web.gate import Gate, ask

FOR_A_PERSON = b"Accept: text/html,application/xhtml+xml,*/*;q=0.8"
FOR_A_SCRIPT = b"Accept: application/json"


def refuse(gate: Gate) -> None:
    """The port that is being dialled has no listener."""
    gate.dialler.next().fail(errno.ECONNREFUSED)
    gate.loop.settle()


def gone(gate: Gate) -> Browser:
    """A browser that has seen the notebook on 10000 answer, and then refuse."""
    browser = gate.connect()
    ask(browser)
    wire = gate.notebook()
    gate.tell(wire, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    assert status_of(browser.hear()) == 200
    ask(browser)
    refuse(gate)
    assert status_of(browser.hear()) == 503
    return browser


def body(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]
