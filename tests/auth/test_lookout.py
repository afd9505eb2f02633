"""A file on a slow disk: who needs it waits, for so long and no longer, and nobody else does."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from ipyproxy.auth.lookout import FRESH_FOR, PATIENCE, Lookout
from ipyproxy.auth.watchedfile import UnusableFileError
from ipyproxy.errors import Problem, ProxyError


class Disk:
    """A file whose look the test ends."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.looks: list[Deferred[str]] = []
        self.file = Lookout(self.clock, self._run, lambda: "")

    def _run(self, work: Any) -> Any:
        self.looks.append(Deferred())
        return self.looks[-1]

    def ask(self) -> list[Any]:
        """What somebody is told, once it is there."""
        told: list[Any] = []
        self.file.content().addBoth(told.append)
        return told


def refusal(told: list[Any]) -> str:
    (failure,) = told
    assert isinstance(failure, Failure)
    error = failure.value
    assert isinstance(error, ProxyError)
    assert error.problem is Problem.AUTH_UNAVAILABLE
    return error.detail


def test_all_who_come_meanwhile_wait_for_one_look() -> None:
    disk = Disk()
    told = [disk.ask() for _ in range(3)]
    assert told == [[], [], []]
    disk.looks[0].callback("users")
    assert told == [["users"]] * 3
    assert len(disk.looks) == 1


def test_it_is_looked_at_once_a_second_at_most() -> None:
    disk = Disk()
    disk.ask()
    disk.clock.advance(3)
    disk.looks[0].callback("old")
    disk.clock.advance(FRESH_FOR - 0.1)
    assert disk.ask() == ["old"]
    disk.clock.advance(0.1)
    # What was there before counts no more, however long the next look takes.
    told = disk.ask()
    assert told == []
    disk.looks[1].callback("new")
    assert told == ["new"]


def test_one_that_cannot_be_used_lets_nobody_in_until_it_can() -> None:
    disk = Disk()
    told = disk.ask()
    disk.looks[0].errback(UnusableFileError("it is gone"))
    assert refusal(told) == refusal(disk.ask()) == "it is gone"
    disk.clock.advance(FRESH_FOR)
    told = disk.ask()
    disk.looks[1].callback("back")
    assert told == ["back"]


def test_what_should_not_happen_lets_nobody_in_either_and_is_told_to_the_log() -> None:
    disk = Disk()
    told = disk.ask()
    with capturedLogs() as events:
        disk.looks[0].errback(ZeroDivisionError("oh"))
    assert refusal(told) == "oh"
    assert "please report this" in events[0]["log_format"]


def test_nobody_waits_for_ever() -> None:
    disk = Disk()
    first = disk.ask()
    disk.clock.advance(PATIENCE - 1)
    second = disk.ask()
    disk.clock.advance(1)
    assert "5 s" in refusal(first)
    assert second == []
    # However often somebody asks, the disk has one look to do.
    assert len(disk.looks) == 1
    disk.looks[0].callback("at last")
    assert second == ["at last"]
    assert disk.ask() == ["at last"]
    assert disk.clock.getDelayedCalls() == []


def test_who_leaves_is_told_nothing() -> None:
    disk = Disk()
    leaves = disk.file.content()
    told = disk.ask()
    leaves.addErrback(lambda _: None)
    leaves.cancel()
    disk.looks[0].callback("users")
    assert told == ["users"]
    assert disk.clock.getDelayedCalls() == []
