"""Whose turn it is: nobody waits because somebody else asks for much."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipyproxy.auth.turns import Turns
from ipyproxy.errors import Problem, ProxyError


class Office:
    """Work that the test ends.

    :ivar begun: whose work has begun, in order.
    """

    def __init__(self, at_once: int, waiting: int = 100) -> None:
        self.turns = Turns(at_once, waiting)
        self.begun: list[str] = []

    def ask(self, client: str) -> Callable[[], object]:
        def begin() -> None:
            self.begun.append(client)

        self.turns.ask(client, begin)
        return begin

    def end(self, client: str) -> None:
        self.turns.done(client)


def test_one_that_asks_for_much_leaves_room_for_whoever_comes() -> None:
    office = Office(at_once=8)
    for _ in range(50):
        office.ask("192.0.2.1")
    assert office.begun == ["192.0.2.1"] * 4
    for others in ("192.0.2.2", "192.0.2.3", "192.0.2.4"):
        office.ask(others)
    assert office.begun[4:] == ["192.0.2.2", "192.0.2.3", "192.0.2.4"]


def test_a_place_that_gets_free_goes_to_whoever_has_fewest() -> None:
    office = Office(at_once=2)
    for client in ("192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.1", "192.0.2.3"):
        office.ask(client)
    assert office.begun == ["192.0.2.1", "192.0.2.2"]
    office.end("192.0.2.2")
    assert office.begun[2:] == ["192.0.2.3"]
    office.end("192.0.2.1")
    assert office.begun[3:] == ["192.0.2.1"]


def test_of_those_that_have_equally_few_each_has_its_turn() -> None:
    office = Office(at_once=1)
    office.ask("192.0.2.9")
    for _ in range(3):
        for client in ("192.0.2.1", "192.0.2.2"):
            office.ask(client)
    for _ in range(6):
        office.end(office.begun[-1])
    assert office.begun[1:] == ["192.0.2.1", "192.0.2.2"] * 3


def test_the_queue_is_bounded_and_shared() -> None:
    office = Office(at_once=1, waiting=8)
    office.ask("192.0.2.1")
    for _ in range(4):
        office.ask("192.0.2.1")
    with pytest.raises(ProxyError) as caught:
        office.ask("192.0.2.1")
    assert caught.value.problem is Problem.OVERLOADED
    office.ask("192.0.2.2")


def test_one_network_of_ipv6_is_one_client() -> None:
    office = Office(at_once=4)
    for number in range(10):
        office.ask(f"2001:db8::{number:x}")
    assert len(office.begun) == 2
    office.ask("2001:db8:0:1::1")
    assert len(office.begun) == 3


def test_one_that_leaves_the_queue_never_begins() -> None:
    office = Office(at_once=1)
    begun = office.ask("192.0.2.1")
    waits = office.ask("192.0.2.1")
    assert not office.turns.leave("192.0.2.1", begun)
    assert office.turns.leave("192.0.2.1", waits)
    assert not office.turns.leave("192.0.2.1", waits)
    office.end("192.0.2.1")
    assert len(office.begun) == 1


def test_work_that_ends_as_it_begins_takes_no_stack() -> None:
    turns = Turns(1, 20_000)
    ended: list[int] = []
    turns.ask("192.0.2.1", lambda: None)

    def work(number: int) -> Callable[[], object]:
        def begin() -> None:
            ended.append(number)
            turns.done("192.0.2.1")

        return begin

    for number in range(10_000):
        turns.ask("192.0.2.1", work(number))
    turns.done("192.0.2.1")
    assert ended == list(range(10_000))
