"""Following a map: what is looked at when, what is kept, and what is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from ipyproxy.database.watch import LONGEST_BACKOFF, PATIENCE, AwayError
from ipyproxy.galaxy.entries import KEY_TYPE, Changes, Contents, Row
from ipyproxy.galaxy.following import Follower
from ipyproxy.galaxy.source import Part


def row(key: str, port: Any = 8000) -> Row:
    return Row(key, KEY_TYPE, "t0k3n", "127.0.0.1", port, None)


class Scripted:
    """A map that says what the test puts there."""

    pause = 1.0

    def __init__(self) -> None:
        self.says: Any = None
        self.looks = 0
        self.is_closed = False
        self.interrupted = 0

    def look(self) -> Any:
        self.looks += 1
        said, self.says = self.says, None
        if isinstance(said, Exception):
            self.says = said
            raise said
        return said

    def interrupt(self) -> None:
        self.interrupted += 1

    def close(self) -> None:
        self.is_closed = True


class Office:
    """A follower at work, with a clock and what it tells."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.map = Scripted()
        self.held: list[list[str]] = []
        self.changed: list[dict[str, int | None]] = []
        self.run: Callable[[Callable[[], Any]], Deferred[Any]] = maybeDeferred
        self.follower = Follower(self.clock, self.work, self.map, "m", self, lambda: 1.0)

    def work(self, look: Callable[[], Any]) -> Deferred[Any]:
        return self.run(look)

    def take(self, contents: Contents) -> None:
        self.held.append(sorted(contents.entries))

    def change(self, changes: Changes) -> None:
        self.changed.append({key: entry and entry.address.port for key, entry in changes.items()})

    def told(self, work: Callable[[], None]) -> list[str]:
        with capturedLogs() as events:
            work()
        return [str(formatEvent(event)) for event in events]

    def wait(self, seconds: float) -> None:
        self.clock.pump([0.25] * int(seconds * 4))


@pytest.fixture
def office() -> Office:
    return Office()


def test_a_map_that_changes_is_taken_each_time(office: Office) -> None:
    office.map.says = [row("a")]
    told = office.told(office.follower.start)
    assert told == ["the map m has 1 interactive tools"]
    office.wait(1)
    office.map.says = [row("a"), row("b")]
    office.wait(1)
    office.map.says = []
    office.wait(1)
    assert office.held == [["a"], ["a", "b"], []]


def test_of_a_part_only_that_is_told(office: Office) -> None:
    office.map.says = [row("a"), row("b")]
    office.follower.start()
    office.map.says = Part({"a", "b", "c", "d"}, [row("b", 9000), row("c"), row("d", port=0)])
    told = office.told(lambda: office.wait(1))
    assert told == ["left out of the map m: d has no port from 1 to 65535"]
    assert office.held == [["a", "b"]]
    assert office.changed == [{"a": None, "b": 9000, "c": 8000, "d": None}]


def test_what_says_the_same_changes_nothing(office: Office) -> None:
    office.map.says = [row("a")]
    office.follower.start()
    office.map.says = [row("a")]
    office.wait(1)
    assert office.held == [["a"]]


def test_a_map_that_is_away_is_told_once_and_what_it_held_counts(office: Office) -> None:
    office.map.says = [row("a")]
    office.follower.start()
    office.map.says = AwayError("it is locked")
    told = office.told(lambda: office.wait(300))
    assert told == [
        "the map m is away: it is locked; it is waited for, and what it held counts until then"
    ]
    assert office.held == [["a"]]
    office.map.says = [row("b")]
    told = office.told(lambda: office.wait(LONGEST_BACKOFF))
    assert told == ["the map m is there again"]
    assert office.held == [["a"], ["b"]]


def test_one_that_is_not_there_yet(office: Office) -> None:
    office.map.says = AwayError("no such file")
    (told,) = office.told(office.follower.start)
    assert told.endswith("there are no tools until then")
    assert office.held == []


def test_it_is_looked_for_ever_less_often(office: Office) -> None:
    office.map.says = AwayError("no route to host")
    office.follower.start()
    office.wait(60)
    assert 5 <= office.map.looks <= 8
    office.wait(600)
    assert office.map.looks <= 30


def test_what_is_wrong_with_a_row_is_told_once(office: Office) -> None:
    office.map.says = [row("a"), row("bad", port=0)]
    told = office.told(office.follower.start)
    assert told[1:] == ["left out of the map m: bad has no port from 1 to 65535"]
    office.map.says = [row("b"), row("bad", port=0)]
    assert office.told(lambda: office.wait(1)) == []
    office.map.says = [row(f"bad{number}", port=0) for number in range(1000)]
    assert len(office.told(lambda: office.wait(1))) == 11


def test_one_look_is_under_way_at_once(office: Office) -> None:
    hanging: list[Deferred[Any]] = []

    def hang(work: Callable[[], Any]) -> Deferred[Any]:
        hanging.append(Deferred())
        return hanging[-1]

    office.run = hang
    office.follower.start()
    office.wait(600)
    assert len(hanging) == 1


def test_a_look_that_does_not_end_is_told_once_and_interrupted(office: Office) -> None:
    office.map.says = [row("a")]
    office.follower.start()
    hanging: Deferred[Any] = Deferred()
    office.run = lambda work: hanging
    told = office.told(lambda: office.wait(10 * PATIENCE))
    assert told == [
        "the map m is away: no answer within 30 seconds; it is waited for, and what it held counts "
        "until then"
    ]
    assert office.map.interrupted == 9
    office.run = maybeDeferred
    # It fails since it was interrupted; that is nothing new.
    assert office.told(lambda: hanging.errback(AwayError("the connection is lost"))) == []
    office.map.says = [row("b")]
    assert office.told(lambda: office.wait(2)) == ["the map m is there again"]
    assert office.held == [["a"], ["b"]]


def test_a_look_that_ends_in_time_is_not_interrupted(office: Office) -> None:
    waiting: Deferred[Any] = Deferred()
    office.run = lambda work: waiting
    office.follower.start()
    office.wait(PATIENCE - 1)
    office.run = maybeDeferred
    waiting.callback(None)
    assert office.told(lambda: office.wait(10 * PATIENCE)) == []
    assert office.map.interrupted == 0


def test_nothing_is_taken_after_the_end(office: Office) -> None:
    waiting: Deferred[Any] = Deferred()
    office.run = lambda work: waiting
    office.follower.start()
    office.run = maybeDeferred
    office.follower.stop()
    assert office.map.interrupted == 1
    assert office.map.is_closed
    office.map.says = [row("a")]
    waiting.callback(office.follower._read())
    office.wait(60)
    assert office.held == []


def test_a_mistake_of_ours_is_not_the_end_of_looking(office: Office) -> None:
    office.run = lambda work: fail(ZeroDivisionError())
    told = office.told(office.follower.start)
    assert "please report this" in told[0]
    office.map.says = [row("a")]
    office.run = lambda work: succeed(work())
    office.wait(2)
    assert office.held == [["a"]]
