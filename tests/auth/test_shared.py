"""Answers that cost something: asked for once, remembered, given up when nobody waits."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ipyproxy.auth import shared
from ipyproxy.auth.shared import SharedAnswers
from ipyproxy.errors import Problem, ProxyError


class Desk:
    """Who is asked; the test answers."""

    def __init__(self, lasting: float = 10.0, most: int = 3) -> None:
        self.clock = Clock()
        self.asked: list[Deferred[str]] = []
        self.given_up = 0
        self.answers: SharedAnswers[str] = SharedAnswers(self.clock, lambda _: lasting, most)

    def start(self) -> Deferred[str]:
        self.asked.append(Deferred(self._cancelled))
        return self.asked[-1]

    def _cancelled(self, _: Deferred[str]) -> None:
        self.given_up += 1

    def ask(self, key: str) -> tuple[Deferred[str], list[object]]:
        told: list[object] = []
        waiting = self.answers.ask(key, self.start)
        waiting.addBoth(told.append)
        return waiting, told


def test_who_comes_at_once_hears_one_answer() -> None:
    desk = Desk()
    told = [desk.ask("a")[1] for _ in range(3)]
    assert len(desk.asked) == 1
    desk.asked[0].callback("yes")
    assert told == [["yes"]] * 3


def test_it_is_remembered_and_then_not() -> None:
    desk = Desk(lasting=10.0)
    desk.ask("a")
    desk.asked[0].callback("yes")
    desk.clock.advance(9.9)
    assert desk.ask("a")[1] == ["yes"]
    desk.clock.advance(0.1)
    assert desk.ask("a")[1] == []
    assert len(desk.asked) == 2


def test_what_is_not_to_be_remembered_is_asked_again() -> None:
    desk = Desk(lasting=0.0)
    desk.ask("a")
    desk.asked[0].callback("no")
    assert desk.ask("a")[1] == []


def test_another_key_is_another_question() -> None:
    desk = Desk()
    desk.ask("a")
    desk.asked[0].callback("yes")
    assert desk.ask("b")[1] == []


def test_a_failure_is_told_to_all_and_not_remembered() -> None:
    desk = Desk()
    told = [desk.ask("a")[1], desk.ask("a")[1]]
    desk.asked[0].errback(ValueError("broken"))
    assert all("broken" in str(one) for one in told)
    assert desk.ask("a")[1] == []


def test_one_that_leaves_does_not_matter_to_the_others() -> None:
    desk = Desk()
    (first, _), (_, told) = desk.ask("a"), desk.ask("a")
    first.cancel()
    assert desk.given_up == 0
    desk.asked[0].callback("yes")
    assert told == ["yes"]


def test_when_the_last_one_leaves_it_is_given_up() -> None:
    desk = Desk()
    waiting = [desk.ask("a")[0], desk.ask("a")[0]]
    for one in waiting:
        one.cancel()
    assert desk.given_up == 1
    assert desk.ask("a")[1] == []
    desk.asked[1].callback("yes")
    assert desk.ask("a")[1] == ["yes"]


def test_only_so_many_at_once() -> None:
    desk = Desk(most=3)
    for key in "abc":
        desk.ask(key)
    with pytest.raises(ProxyError) as caught:
        desk.ask("d")
    assert caught.value.problem is Problem.OVERLOADED
    desk.ask("a")
    desk.asked[0].callback("yes")
    desk.ask("d")


def test_an_answer_that_is_there_at_once() -> None:
    desk = Desk()
    told: list[str] = []
    started: Deferred[str] = Deferred()
    started.callback("yes")
    desk.answers.ask("a", lambda: started).addCallback(told.append)
    assert told == ["yes"]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "_REMEMBERED", 4)
    desk = Desk()
    for key in "abcdef":
        desk.ask(key)
        desk.asked[-1].callback(key)
    assert [desk.answers.known(key) for key in "abcdef"] == [None, None, "c", "d", "e", "f"]
