"""Connections that are kept: which, for how long, and what becomes of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipyproxy.errors import Problem
from ipyproxy.upstream.pool import JUST_USED
from tests.upstream.town import GET, LIMITS, OK, Asker, Town
from tests.wires import Dialler


@pytest.fixture
def dialler() -> Dialler:
    return Dialler()


@pytest.fixture
def town(dialler: Dialler) -> Town:
    return Town(dialler)


class TestKeeping:
    def test_a_connection_is_used_again(self, town: Town) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        second = Asker()
        town.ask_again(second)
        town.tell(wire, OK)
        assert second.events == [200, "ended"]
        assert wire.hear() == GET + GET

    def test_it_is_kept_for_15_seconds(self, town: Town) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        town.wait(14)
        assert not wire.is_closed
        town.wait(1)
        assert wire.has_ended
        assert town.is_empty

    def test_use_starts_the_time_anew(self, town: Town) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        town.wait(14)
        town.ask_again(Asker())
        town.tell(wire, OK)
        town.wait(14)
        assert not wire.is_closed

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes",
            b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nyes",
            OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        ],
        ids=["close", "1.0", "bytes behind the answer"],
    )
    def test_it_is_closed_if_no_further_answer_can_be_trusted(
        self, town: Town, answer: bytes
    ) -> None:
        asker = Asker()
        wire = town.ask(asker)
        town.tell(wire, answer)
        assert (asker.events, asker.data) == ([200, "ended"], b"yes")
        assert wire.is_closed
        assert town.is_empty

    def test_bytes_that_nobody_asked_for_close_it(self, town: Town) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        town.tell(wire, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        assert wire.is_closed
        assert town.is_empty

    def test_a_connection_that_is_being_closed_is_given_to_nobody(self, town: Town) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        (connection,) = town.pool._connections
        connection.dataReceived(b"nobody asked")
        assert town.pool.connect(town.table.notebook(10000), Asker(), once=False) is not None

    def test_one_that_is_expiring_is_given_to_nobody(self, town: Town) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        town.loop.advance(15)
        town.pool.sweep()
        assert town.pool.connect(town.table.notebook(10000), Asker(), once=False) is not None

    def test_it_belongs_to_its_port(self, town: Town) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        assert town.pool.connect(town.table.notebook(10001), Asker(), once=False) is not None
        assert town.dialler.next().address == ("127.0.0.1", 10001)

    def test_an_answer_before_the_request_is_whole_closes_it(self, town: Town) -> None:
        asker = Asker(b"PUT", ended=False)
        wire = town.ask(asker)
        town.tell(wire, OK)
        assert asker.events == [200, "ended"]
        assert wire.is_closed
        assert town.is_empty

    @pytest.mark.parametrize("ended", [False, True])
    def test_unsent_bytes_do_not_hold_it_open(self, town: Town, ended: bool) -> None:
        asker = Asker(b"PUT", ended=ended)
        wire = town.ask(asker)
        wire.room = 0
        asker.transport.write(b"x" * 100000)
        town.tell(wire, OK)
        assert asker.events == [200, "ended"]
        assert wire.was_reset
        assert town.is_empty

    def test_closing_the_pool_closes_what_is_idle_and_nothing_else(self, town: Town) -> None:
        idle, busy = Asker(), Asker()
        first = town.ask(idle)
        second = town.ask(busy)
        town.tell(first, OK)
        town.pool.close()
        town.loop.settle()
        assert (first.is_closed, second.is_closed) == (True, False)
        town.tell(second, OK)
        assert busy.events == [200, "ended"]


def test_so_many_are_kept_and_no_more(dialler: Dialler) -> None:
    town = Town(dialler, replace(LIMITS, idle_connections=2))
    wires = [town.ask(Asker()) for _ in range(3)]
    for wire in wires:
        town.tell(wire, OK)
    assert [wire.is_closed for wire in wires] == [False, False, True]
    wires[0].hang_up()
    town.loop.settle()
    town.ask_again(Asker())
    town.tell(wires[1], OK)
    third = town.ask(Asker(), port=10001)
    town.tell(third, OK)
    assert [wires[1].is_closed, third.is_closed] == [False, False]
    town.wait(16)
    assert town.is_empty
    assert town.pool._kept == 0


class TestStale:
    def test_a_kept_connection_that_ends_before_any_answer_is_stale(self, town: Town) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        second = Asker()
        town.ask_again(second)
        wire.hang_up()
        town.loop.settle()
        assert second.events == ["stale"]

    @pytest.mark.parametrize("begun", [b"HTTP/1.1 2", b"HTTP/1.1 100 Continue\r\n\r\n"])
    def test_one_that_has_said_something_has_failed(self, town: Town, begun: bytes) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        second = Asker()
        town.ask_again(second)
        town.tell(wire, begun)
        wire.hang_up()
        town.loop.settle()
        assert second.events[-1] is Problem.UPSTREAM_BROKEN

    @pytest.mark.parametrize("ending", ["hang up", "reset", "say"])
    def test_what_cannot_be_sent_again_is_not_sent_where_it_would_be_lost(
        self, town: Town, ending: str
    ) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        match ending:
            case "hang up":
                wire.hang_up()
            case "reset":
                wire.reset()
            case "say":
                wire.say(b"nobody asked")
        asker = Asker(b"POST")
        fresh = town.ask(asker, once=True)
        town.tell(fresh, OK)
        assert asker.events == [200, "ended"]
        assert wire.is_closed

    def test_a_connection_that_was_just_used_serves_it_too(self, town: Town) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        town.loop.advance(JUST_USED)
        town.ask_again(Asker(b"POST"), once=True)

    def test_one_that_was_not_does_not_but_is_kept_for_others(self, town: Town) -> None:
        # The server may be about to close it: uvicorn after 5 s, gunicorn after 2.
        wire = town.ask(Asker())
        town.tell(wire, OK)
        town.loop.advance(JUST_USED + 0.1)
        fresh = town.ask(Asker(b"POST"), once=True)
        assert (fresh.hear(), wire.is_closed) == (GET, False)
        town.ask_again(Asker())
        assert wire.hear() == GET + GET

    def test_the_one_that_was_used_last_is_taken(self, town: Town) -> None:
        early, late = town.ask(Asker()), town.ask(Asker())
        town.tell(early, OK)
        town.loop.advance(JUST_USED)
        town.tell(late, OK)
        town.loop.advance(JUST_USED)
        town.ask_again(Asker(b"POST"), once=True)
        assert (early.hear(), late.hear()) == (GET, GET + GET)


class TestUnaskedAnswers:
    """What comes on a kept connection belongs to no request, and must never become an answer."""

    UNASKED = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

    @pytest.mark.parametrize("once", [False, True])
    def test_one_that_waits_unread_is_not_the_next_answer(self, town: Town, once: bool) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        wire.say(self.UNASKED)  # and the reactor has not turned since
        asker = Asker()
        fresh = town.ask(asker, once=once)
        town.tell(fresh, OK)
        assert (asker.events, asker.data) == ([200, "ended"], b"yes")
        assert wire.is_closed

    def test_all_that_are_kept_are_looked_at(self, town: Town) -> None:
        wires = [town.ask(Asker()) for _ in range(3)]
        for wire in wires:
            town.tell(wire, OK)
        for wire in wires[1:]:
            wire.say(self.UNASKED)
        asker = Asker()
        town.ask_again(asker)
        town.tell(wires[0], OK)
        assert asker.data == b"yes"
        assert [wire.is_closed for wire in wires] == [False, True, True]


class TestWhatTheServerSays:
    """``Keep-Alive: timeout=5``: it closes the connection after five idle seconds."""

    @staticmethod
    def answer(said: bytes) -> bytes:
        return b"HTTP/1.1 200 OK\r\nKeep-Alive: %b\r\nContent-Length: 3\r\n\r\nyes" % said

    @pytest.mark.parametrize(
        ("said", "seconds"),
        [
            (b"timeout=5", 4),
            (b"timeout=5, max=100", 4),
            (b"max=100, Timeout=3", 2),
            (b"timeout=600", 15),
            (b"timeout=-1", 15),
            (b"timeout=", 15),
            (b"timeout=99999999999999999999", 15),
        ],
    )
    def test_we_close_it_before_that(self, town: Town, said: bytes, seconds: int) -> None:
        wire = town.ask(Asker())
        town.tell(wire, self.answer(said))
        town.wait(seconds - 1)
        assert not wire.is_closed
        town.wait(1)
        assert wire.has_ended

    @pytest.mark.parametrize("said", [b"timeout=0", b"timeout=1"])
    def test_one_that_closes_at_once_is_not_kept(self, town: Town, said: bytes) -> None:
        wire = town.ask(Asker())
        town.tell(wire, self.answer(said))
        assert wire.has_ended
        assert town.is_empty

    def test_it_is_used_no_more_when_its_time_is_over_though_no_sweep_came(
        self, town: Town
    ) -> None:
        wire = town.ask(Asker())
        town.tell(wire, self.answer(b"timeout=5"))
        town.loop.advance(4)
        assert town.ask(Asker()) is not wire
