"""Places that clients share: who takes one, who waits, who gives way; against a naive model too."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.upstream.places import LONGEST_WAIT, Places, Shares


class Guest:
    """Holds a place, or waits for one."""

    def __init__(self, places: Places, client: str, *, slow: bool = False) -> None:
        self.places, self.client, self.slow = places, client, slow
        self.events: list[str] = []

    @property
    def is_slow(self) -> bool:
        return self.slow

    def come(self, now: float = 0.0) -> bool:
        return self.places.ask(self.client, self, now)

    def go(self) -> None:
        self.places.leave(self.client, self)

    def place_given(self) -> None:
        self.events.append("given")

    def place_refused(self) -> None:
        self.events.append("refused")

    def give_way(self) -> None:
        self.events.append("gave way")
        self.go()


class TestShares:
    def test_alone_a_client_gets_half_and_of_two_each_a_third(self) -> None:
        shares = Shares(12)
        while shares.has_room_for("alice"):
            shares.take("alice")
        assert shares.held("alice") == 6
        while shares.has_room_for("bob"):
            shares.take("bob")
        assert (shares.held("bob"), shares.free) == (3, 3)

    def test_who_holds_none_finds_a_place_as_long_as_one_is_free(self) -> None:
        shares = Shares(64)
        for number in range(64):
            client = f"client {number}"
            assert shares.has_room_for(client)
            shares.take(client)
        assert not shares.has_room_for("one more")

    @given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=60))
    def test_it_counts_as_a_naive_model_does(self, moves: list[tuple[str, bool]]) -> None:
        shares, model = Shares(10), Counter[str]()
        for client, takes in moves:
            if takes:
                shares.take(client)
                model[client] += 1
            elif model[client]:
                shares.give_back(client)
                model[client] -= 1
            assert shares.taken == model.total()
            assert shares.most == max(model.values(), default=0)
            assert {client: shares.held(client) for client in "abcd"} == {
                client: model[client] for client in "abcd"
            }
            if shares.taken:
                assert model[shares.holds_most()] == shares.most
            assert shares.has_room_for(client) == (model[client] < 10 - model.total())


class TestPlaces:
    def test_a_place_that_gets_free_goes_to_the_client_that_holds_fewest(self) -> None:
        places = Places(3)
        alice = [Guest(places, "alice") for _ in range(3)]
        bob = [Guest(places, "bob") for _ in range(2)]
        assert [guest.come() for guest in (alice[0], alice[1], bob[0])] == [True] * 3
        assert not alice[2].come()
        assert not bob[1].come()
        alice[0].go()
        assert (alice[2].events, bob[1].events) == (["given"], []) or bob[1].events == ["given"]
        assert places.taken == 3

    def test_the_newest_that_is_slow_gives_way_or_else_the_newest(self) -> None:
        places = Places(3)
        first, second, third = (Guest(places, "alice", slow=slow) for slow in (True, True, False))
        for guest in (first, second, third):
            guest.come()
        assert Guest(places, "bob").come()
        assert (first.events, second.events, third.events) == ([], ["gave way"], [])

    def test_who_waits_is_refused_after_a_while_and_leaves_nothing(self) -> None:
        places = Places(1)
        Guest(places, "alice").come()
        late = Guest(places, "alice")
        assert not late.come(100.0)
        places.sweep(100.0 + LONGEST_WAIT - 0.1)
        assert late.events == []
        places.sweep(100.0 + LONGEST_WAIT)
        assert late.events == ["refused"]
        assert places.waiting == 0

    def test_so_many_wait_and_no_more(self) -> None:
        places = Places(4)
        for _ in range(4):
            Guest(places, "alice").come()
        assert [Guest(places, "alice").come() for _ in range(2)] == [False, False]
        with pytest.raises(ProxyError) as refused:
            Guest(places, "alice").come()
        assert refused.value.problem is Problem.OVERLOADED
        assert places.waiting == 2

    def test_while_somebody_waits_whoever_is_slow_gives_way(self) -> None:
        places = Places(1)
        slow, other = Guest(places, "alice", slow=True), Guest(places, "bob")
        slow.come()
        assert not other.come()
        places.sweep(1.0)
        assert (slow.events, other.events) == (["gave way"], ["given"])

    def test_more_places_are_given_at_once(self) -> None:
        places = Places(1)
        Guest(places, "alice").come()
        late = Guest(places, "alice")
        late.come()
        places.resize(2)
        places.sweep(1.0)
        assert late.events == ["given"]
