"""What the log is told of notebooks that are set up wrong: once, and with what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from twisted.logger import LogEvent, capturedLogs, formatEvent

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.upstream.advice import PAUSE, STATUSES, Adviser
from tests.upstreams import notebook

HOME = "/ipython/10000/"


class Study:
    """An adviser, its clock, and what it has said."""

    def __init__(self, events: Sequence[LogEvent]) -> None:
        self.now = 0.0
        self.adviser = Adviser(lambda: self.now)
        self.events = events

    def answer(self, status: int, *, port: int = 10000, **facts: Any) -> None:
        self.adviser.answered(
            notebook(port), status, **{"safe": False, "path": HOME, "home": HOME, **facts}
        )

    @property
    def said(self) -> list[str]:
        return [formatEvent(event) for event in self.events]


@pytest.fixture
def study() -> Iterator[Study]:
    with capturedLogs() as events:
        yield Study(events)


def test_a_403_to_what_changes_something_is_told_with_its_usual_reasons(study: Study) -> None:
    study.answer(403)
    [line] = study.said
    assert line.startswith("403 from the notebook on 10000: it refuses the login, ")
    assert "127.0.0.1:10000" in line
    assert line.endswith("; `ipyproxy doctor 10000` looks closer, see docs/troubleshooting.md")


def test_events_have_the_port_and_the_kind_as_fields(study: Study) -> None:
    study.answer(403)
    [event] = study.events
    assert (event["port"], event["advice"]) == (10000, "forbidden")


@pytest.mark.parametrize("status", STATUSES)
def test_a_page_that_may_not_be_read_or_is_not_there_is_nothing_new(
    study: Study, status: int
) -> None:
    study.answer(status, safe=True, path="/ipython/10000/api/status")
    assert study.said == []


def test_a_notebook_that_is_not_at_home_has_another_base_url(study: Study) -> None:
    study.answer(404, safe=True)
    [line] = study.said
    assert "--ServerApp.base_url=/ipython/10000/;" in line


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (Problem.UPSTREAM_BROKEN, "does not speak proper HTTP (it said SSH)"),
        (Problem.UPSTREAM_TIMEOUT, "timeouts.response"),
    ],
)
def test_failures_are_told_with_what_they_mean(study: Study, problem: Problem, words: str) -> None:
    study.adviser.failed(notebook(10000), ProxyError(problem, "it said SSH"))
    [line] = study.said
    assert words in line


@pytest.mark.parametrize("problem", [Problem.UPSTREAM_DEAD, Problem.OVERLOADED, Problem.INTERNAL])
def test_other_failures_have_their_own_lines(study: Study, problem: Problem) -> None:
    study.adviser.failed(notebook(10000), ProxyError(problem))
    assert study.said == []


def test_nothing_is_said_twice_before_a_pause(study: Study) -> None:
    for _ in range(1000):
        study.answer(403)
        study.now += PAUSE / 1000 - 0.001
    assert len(study.said) == 1
    study.now += PAUSE
    study.answer(403)
    assert len(study.said) == 2


def test_each_port_and_each_thing_has_its_own_pause(study: Study) -> None:
    study.answer(403)
    study.answer(404)
    study.answer(403, port=10001)
    assert len(study.said) == 3
