"""Refusals over HTTP and as WebSockets: none dials, and each check that is taken out shows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipyproxy.access.origins import Policy
from ipyproxy.errors import ProxyError
from ipyproxy.http1.head import RequestHead
from ipyproxy.http1.lines import SpecialFields
from tests.refusals import ALL, HOSTS, ORIGINS, PORTS, Case, spelled
from tests.web.gate import Gate

NAMES = {
    "port": 10000,
    "own": 14443,
    "unserved": 9000,
    "host": "hub.example:8443",
    "name": "hub.example",
}

Authorize = Callable[[Policy, RequestHead, bytes | None, bytes | None], bytes]
_authorize: Authorize = Policy.authorize


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate(monkeypatch)
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


def unchecked(
    policy: Policy, head: RequestHead, authority: bytes | None, server_name: bytes | None = None
) -> bytes:
    return b"https://hub.example:8443"


def checked_for_http_only(
    policy: Policy, head: RequestHead, authority: bytes | None, server_name: bytes | None = None
) -> bytes:
    check = unchecked if b"upgrade" in head.fields.special else _authorize
    return check(policy, head, authority, server_name)


def checked_for_websockets_only(
    policy: Policy, head: RequestHead, authority: bytes | None, server_name: bytes | None = None
) -> bytes:
    check = _authorize if b"upgrade" in head.fields.special else unchecked
    return check(policy, head, authority, server_name)


def checked_but_let_pass(
    policy: Policy, head: RequestHead, authority: bytes | None, server_name: bytes | None = None
) -> bytes:
    try:
        return _authorize(policy, head, authority, server_name)
    except ProxyError:
        return unchecked(policy, head, authority)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("mutant", "http", "websockets"),
    [
        (unchecked, True, True),
        (checked_for_http_only, False, True),
        (checked_for_websockets_only, True, False),
        (checked_but_let_pass, True, True),
    ],
)
def test_without_authorize_it_shows(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, mutant: Authorize, http: bool, websockets: bool
) -> None:
    monkeypatch.setattr(Policy, "authorize", mutant)
    for cases in (HOSTS, ORIGINS):
        assert bool(carried(gate, cases, websocket=False)) == http
        assert bool(carried(gate, cases, websocket=True)) == websockets


@pytest.mark.plain
def test_without_the_check_of_origins_it_shows(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    def passes(policy: Policy, special: SpecialFields, is_safe: bool, public: bytes) -> None:
        pass

    monkeypatch.setattr(Policy, "_check_origin", passes)
    for websocket in (False, True):
        assert len(carried(gate, ORIGINS, websocket=websocket)) >= len(ORIGINS) - 2
        assert carried(gate, [*PORTS, *HOSTS], websocket=websocket) == []


def test_without_the_list_of_ports_it_shows(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(gate.ports), "__contains__", lambda self, port: True)
    for websocket in (False, True):
        assert carried(gate, PORTS, websocket=websocket)
        assert carried(gate, [*HOSTS, *ORIGINS], websocket=websocket) == []
