"""Refusals over HTTP and as WebSockets: none dials, and each check that is taken out shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ipyproxy.access.origins import Policy
from ipyproxy.errors import ProxyError
from ipyproxy.http1.head import RequestHead
from ipyproxy.routes.notebooks import ServedPorts
from tests.refusals import ALL, HOSTS, ORIGINS, PORTS, Case, spelled
from tests.web.gate import Gate

NAMES = {
    "port": 10000,
    "own": 14443,
    "unserved": 9000,
    "host": "hub.example:8443",
    "name": "hub.example",
}

Check = Callable[..., Any]
_addressed: Check = Policy.addressed
_check_origin: Check = Policy.check_origin


@pytest.fixture
def gate() -> Gate:
    gate = Gate()
    gate.own_ports.add(NAMES["own"])  # type: ignore[arg-type]
    return gate


def carried(gate: Gate, cases: list[Case], *, websocket: bool) -> list[str]:
    """Those of ``cases`` that were not refused as they should be."""
    passed = []
    for case in cases:
        browser = gate.connect()
        heard = browser.say(spelled(case, websocket=websocket, **NAMES))
        dialled = bool(gate.dialler.attempts)
        browser.hang_up()
        gate.dialler.attempts.clear()
        if dialled or not heard.startswith(b"HTTP/1.1 %d " % case.status):
            passed.append(f"{case.what}: {heard[:40]!r}, dialled: {dialled}")
    return passed


@pytest.mark.parametrize("websocket", [False, True])
def test_nothing_of_the_matrix_reaches_a_notebook(gate: Gate, websocket: bool) -> None:
    assert carried(gate, ALL, websocket=websocket) == []
    assert gate.is_at_rest


# Now with one check or another taken out: what is above must show it.


def unchecked(policy: Policy, head: RequestHead, *rest: Any) -> tuple[bytes, bytes]:
    return b"hub.example", b"https://hub.example:8443"


def passes(policy: Policy, head: RequestHead, public: bytes) -> None:
    """Any Origin will do."""


def for_http_only(check: Check, otherwise: Check) -> Check:
    def mutant(policy: Policy, head: RequestHead, *rest: Any) -> Any:
        chosen = otherwise if b"upgrade" in head.fields.special else check
        return chosen(policy, head, *rest)

    return mutant


def for_websockets_only(check: Check, otherwise: Check) -> Check:
    return for_http_only(otherwise, check)


def but_let_pass(check: Check, otherwise: Check) -> Check:
    def mutant(policy: Policy, head: RequestHead, *rest: Any) -> Any:
        try:
            return check(policy, head, *rest)
        except ProxyError:
            return otherwise(policy, head, *rest)

    return mutant


@pytest.mark.plain
@pytest.mark.parametrize(
    ("mutate", "http", "websockets"),
    [
        (lambda check, otherwise: otherwise, True, True),
        (for_http_only, False, True),
        (for_websockets_only, True, False),
        (but_let_pass, True, True),
    ],
)
def test_without_a_check_it_shows(
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    mutate: Callable[[Check, Check], Check],
    http: bool,
    websockets: bool,
) -> None:
    monkeypatch.setattr(Policy, "addressed", mutate(_addressed, unchecked))
    monkeypatch.setattr(Policy, "check_origin", mutate(_check_origin, passes))
    for cases in (HOSTS, ORIGINS):
        assert bool(carried(gate, cases, websocket=False)) == http
        assert bool(carried(gate, cases, websocket=True)) == websockets


@pytest.mark.plain
def test_without_the_check_of_origins_it_shows(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Policy, "check_origin", passes)
    for websocket in (False, True):
        assert len(carried(gate, ORIGINS, websocket=websocket)) >= len(ORIGINS) - 2
        assert carried(gate, [*PORTS, *HOSTS], websocket=websocket) == []


def test_without_the_list_of_ports_it_shows(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ServedPorts, "__contains__", lambda self, port: True)
    for websocket in (False, True):
        assert carried(gate, PORTS, websocket=websocket)
        assert carried(gate, [*HOSTS, *ORIGINS], websocket=websocket) == []
