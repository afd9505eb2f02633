"""Answers that cost something: asked for once, remembered, and carried through once begun."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from ipyproxy.auth.answers import SingleFlight
from ipyproxy.auth.turns import Turns
from ipyproxy.errors import Problem, ProxyError

LONGEST_WAIT = 5.0


class Desk:
    """Who is asked; the test answers."""

    def __init__(self, lasting: float = 10.0, most: int = 3) -> None:
        self.clock = Clock()
        self.asked: list[Deferred[str]] = []
        self.given_up = 0
        turns = Turns(2 * most - 1, 2 * most)
        self.answers: SingleFlight[str] = SingleFlight(
            self.clock, lambda _: lasting, turns, LONGEST_WAIT
        )
        self.unheard: list[str] = []

    def start(self) -> Deferred[str]:
        self.asked.append(Deferred(self._cancelled))
        return self.asked[-1]

    def _cancelled(self, _: Deferred[str]) -> None:
        self.given_up += 1

    def ask(self, key: str) -> tuple[Deferred[str], list[object]]:
        told: list[object] = []
        waiting = self.answers.ask("192.0.2.1", key, self.start, self.unheard.append)
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


def test_one_that_has_begun_is_carried_through_though_nobody_waits() -> None:
    desk = Desk()
    waiting = [desk.ask("a")[0], desk.ask("a")[0]]
    for one in waiting:
        one.cancel()
    assert desk.given_up == 0
    # Whoever comes again hears the same answer.
    told = desk.ask("a")[1]
    assert len(desk.asked) == 1
    desk.asked[0].callback("yes")
    assert told == ["yes"]
    assert desk.unheard == []


def test_an_answer_that_nobody_hears_is_told_to_whoever_wants_to_know() -> None:
    desk = Desk()
    desk.ask("a")[0].cancel()
    desk.asked[0].callback("yes")
    assert desk.unheard == ["yes"]
    assert desk.answers.known("a") == "yes"


def test_one_whose_turn_has_not_come_is_given_up() -> None:
    desk = Desk(most=1)
    desk.ask("a")
    waiting, _ = desk.ask("b")
    waiting.cancel()
    assert desk.clock.getDelayedCalls() == []
    desk.asked[0].callback("yes")
    assert len(desk.asked) == 1
    assert desk.ask("b")[1] == []
    assert len(desk.asked) == 2


def test_what_is_too_much_waits_and_what_is_far_too_much_is_turned_away() -> None:
    desk = Desk(most=3)
    told = [desk.ask(key)[1] for key in "abcdef"]
    assert len(desk.asked) == 3
    with pytest.raises(ProxyError) as caught:
        desk.ask("g")
    assert caught.value.problem is Problem.OVERLOADED
    # What is being asked already, one more may wait for.
    told.append(desk.ask("a")[1])
    for number in range(6):
        desk.asked[number].callback("yes")
    assert told == [["yes"]] * 7
    desk.ask("g")


def test_one_whose_turn_does_not_come_in_time_is_refused() -> None:
    desk = Desk(most=1)
    slow = desk.ask("a")[1]
    told = [desk.ask("b")[1], desk.ask("b")[1]]
    desk.clock.advance(LONGEST_WAIT - 0.1)
    assert told == [[], []]
    desk.clock.advance(0.1)
    assert [refused(one) for one in told] == [Problem.OVERLOADED] * 2
    # It has left the queue, so its place in there is free and it never begins.
    later = desk.ask("c")[1]
    desk.asked[0].callback("yes")
    assert slow == ["yes"]
    assert len(desk.asked) == 2
    desk.asked[1].callback("late")
    assert later == ["late"]


def test_one_that_has_begun_in_time_takes_as_long_as_it_takes() -> None:
    desk = Desk(most=1)
    desk.ask("a")
    told = desk.ask("b")[1]
    desk.clock.advance(LONGEST_WAIT - 0.1)
    desk.asked[0].callback("yes")
    desk.clock.advance(10 * LONGEST_WAIT)
    assert told == []
    desk.asked[1].callback("at last")
    assert told == ["at last"]
    assert desk.clock.getDelayedCalls() == []


def refused(told: list[object]) -> Problem:
    (failure,) = told
    assert isinstance(failure, Failure)
    assert isinstance(failure.value, ProxyError)
    return failure.value.problem


def test_one_that_cannot_begin_fails_and_leaves_its_place() -> None:
    desk = Desk(most=1)

    def fail() -> Deferred[str]:
        raise ValueError("locked out")

    told: list[object] = []
    desk.answers.ask("192.0.2.1", "a", fail).addErrback(told.append)
    assert "locked out" in str(told)
    desk.ask("b")
    assert len(desk.asked) == 1


def test_an_answer_that_is_there_at_once() -> None:
    desk = Desk()
    told: list[str] = []
    started: Deferred[str] = Deferred()
    started.callback("yes")
    desk.answers.ask("192.0.2.1", "a", lambda: started).addCallback(told.append)
    assert told == ["yes"]


def test_memory_is_bounded() -> None:
    desk = Desk()
    keys = [str(number) for number in range(10_000)]
    for key in keys:
        desk.ask(key)
        desk.asked[-1].callback(key)
    known = [key for key in keys if desk.answers.known(key)]
    assert 1000 <= len(known) <= 5000
    assert known == keys[-len(known) :], "the latest are known"
