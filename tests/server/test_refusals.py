"""The audit: each refusal is one line in one form, whatever a client sends."""

from __future__ import annotations

import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel, capturedLogs, formatEvent, textFileLogObserver

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.server.clients import Clients, ClientsLimits
from ipyproxy.server.refusals import Audit, Untold

LINE = re.compile(
    r"\S+ \[ipyproxy\.audit#(?:info|warn)\] (refused|not served) "
    r'(\S+): ([0-9]{3}) ([a-z-]+) (".*")\n'
)


def told(error: ProxyError, client: str = "192.0.2.7") -> str:
    """What stands in the log."""
    with capturedLogs() as events:
        Audit(Clients(ClientsLimits(10, 10))).note(client, error, 0.0, port=10000)
    out = io.StringIO()
    observer = textFileLogObserver(out)
    for event in events:
        observer(event)
    return out.getvalue()


def test_a_refusal_is_one_line() -> None:
    line = told(ProxyError(Problem.ORIGIN_DENIED, "Origin https://evil.example is not ours"))
    match = LINE.fullmatch(line)
    assert match is not None
    assert match.groups() == (
        "refused", "192.0.2.7", "403", "origin-denied", '"Origin https://evil.example is not ours"',
    )  # fmt: skip


def test_it_is_one_event_with_fields() -> None:
    with capturedLogs() as events:
        error = ProxyError(Problem.NO_SUCH_PORT, "22")
        Audit(Clients(ClientsLimits(10, 10))).note("2001:db8::7", error, 0.0, user="alice")
    (event,) = events
    fields = ("client", "status", "reason", "detail", "port", "user", "log_namespace")
    assert [event[field] for field in fields] == [
        "2001:db8::7", 404, "no-such-port", "22", None, "alice", "ipyproxy.audit",
    ]  # fmt: skip


@given(st.text(max_size=50))
def test_nothing_that_a_client_sends_makes_a_second_line_or_another_client(detail: str) -> None:
    line = told(ProxyError(Problem.BAD_REQUEST, detail))
    match = LINE.fullmatch(line)
    assert match is not None, line
    assert match[2] == "192.0.2.7"
    assert line.isascii()
    assert line[:-1].isprintable()


@pytest.mark.parametrize("problem", list(Problem))
def test_every_refusal_is_told_and_what_is_none_is_not(problem: Problem) -> None:
    line = told(ProxyError(problem, "why"))
    missing = (Problem.NOT_FOUND, Problem.UPSTREAM_DEAD, Problem.UPSTREAM_STARTING)
    if problem in missing or problem is Problem.REQUEST_TIMEOUT:
        assert line == ""
    else:
        assert f"{problem.status} {problem.name.lower().replace('_', '-')}" in line
        assert ("refused" in line) == (problem.status < 500)


def test_one_client_does_not_fill_the_log_nor_hide_another() -> None:
    audit = Audit(Clients(ClientsLimits(10, 10)))
    error = ProxyError(Problem.BAD_REQUEST, "x")
    with capturedLogs() as events:
        for _ in range(1000):
            audit.note("192.0.2.7", error, 0.0)
        audit.note("192.0.2.8", error, 0.0)
        for now in range(120):
            audit.sweep(now)
    clients = [event["client"] for event in events]
    assert clients == ["192.0.2.7"] * 20 + ["192.0.2.8", "192.0.2.7"]
    assert events[-1]["count"] == 980


def test_neither_do_many_together() -> None:
    audit = Audit(Clients(ClientsLimits(10, 10)))
    with capturedLogs() as events:
        for number in range(5000):
            audit.note(f"10.0.{number >> 8}.{number & 255}", ProxyError(Problem.BAD_REQUEST), 0.0)
    assert len(events) == 1000


def test_how_many_were_not_told_is_a_line_for_each_of_a_hundred_clients() -> None:
    told: list[tuple[str, int]] = []
    untold = Untold(lambda client, count: told.append((client, count)))
    for number in range(1000):
        untold.add(f"192.0.2.{number % 250}")
    untold.sweep(5.0)
    untold.sweep(64.0)
    assert told == []
    untold.sweep(65.0)
    assert len(told) == Untold.MOST + 1
    assert told[0] == ("192.0.2.0", 4)
    assert told[-1] == ("others", 600)
    untold.sweep(500.0)
    assert len(told) == Untold.MOST + 1


def test_a_long_detail_is_cut() -> None:
    line = told(ProxyError(Problem.BAD_REQUEST, "\xff" * 10_000))
    assert line.endswith('[cut:9600]"\n')
    assert len(line) < 3000


def counts(problem: Problem, *, by_page: bool = False, error_by_page: bool = False) -> bool:
    """Whether a refusal counts towards a ban."""
    error = ProxyError(problem, "why", by_page=error_by_page)
    with capturedLogs() as events:
        Audit(Clients(ClientsLimits(10, 10))).note("192.0.2.7", error, 0.0, by_page=by_page)
    return events[-1]["log_level"] is LogLevel.warn


COUNTED = (Problem.BAD_REQUEST, Problem.LOGIN_FAILED, Problem.TOO_MANY_LOGINS)


@pytest.mark.parametrize("problem", COUNTED)
def test_what_counts_towards_a_ban_counts_only_if_no_page_can_be_behind_it(
    problem: Problem,
) -> None:
    assert counts(problem)
    assert not counts(problem, by_page=True)
    assert not counts(problem, error_by_page=True)


@pytest.mark.parametrize(
    "problem",
    [
        Problem.BAD_TARGET,
        Problem.ORIGIN_DENIED,
        Problem.UNAUTHENTICATED,
        Problem.ACCESS_DENIED,
        Problem.NO_SUCH_PORT,
        Problem.METHOD_NOT_ALLOWED,
        Problem.TARGET_TOO_LONG,
        Problem.HEAD_TOO_LARGE,
        Problem.MISDIRECTED,
        Problem.TOO_MANY_REQUESTS,
        Problem.TOO_MANY_CONNECTIONS,
    ],
)
def test_what_any_page_can_cause_never_does(problem: Problem) -> None:
    assert not counts(problem)


@given(
    st.text(max_size=50).filter(
        lambda text: not re.fullmatch(r"[0-9A-Za-z.]+|.*:.*", text, re.DOTALL)
    )
)
def test_a_client_that_is_no_address_is_quoted(client: str) -> None:
    line = told(ProxyError(Problem.BAD_REQUEST, "x"), client)
    start, end = "[ipyproxy.audit#warn] refused ", ': 400 bad-request "x"\n'
    assert line.endswith(end)
    spelled = line.partition(start)[2].removesuffix(end)
    assert json.loads(spelled) == client
    assert line.isascii()
    assert line[:-1].isprintable()


def test_a_handshake_that_failed_is_a_line_and_a_visit_that_was_none_is_not() -> None:
    audit = Audit(Clients(ClientsLimits(10, 10)))
    with capturedLogs() as events:
        audit.handshake_failed("192.0.2.7", "Connection lost: TLS: no shared cipher.", 0.0)
        audit.handshake_failed("192.0.2.7", "Connection was closed cleanly.", 0.0)
        for _ in range(100):
            audit.handshake_failed("192.0.2.8", "Connection lost: TLS: http request.", 0.0)
    lines = [formatEvent(event) for event in events]
    assert lines[0] == 'no TLS with 192.0.2.7: "no shared cipher"'
    assert 1 < len(lines) < 50
