"""The clients: who has how much, who comes too fast, who may guess no more, in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyproxy.http.forwarding import NAMELESS
from ipyproxy.server.clients import (
    _MOST_REMEMBERED,
    Bucket,
    Clients,
    ClientsLimits,
    Rate,
    connections_within,
    descriptors_for,
    excess_beside,
)

ALICE, BOB = "192.0.2.7", "192.0.2.8"


class TestBucket:
    @given(
        st.floats(0.01, 1000),
        st.integers(1, 50),
        st.lists(st.floats(0, 30), max_size=200),
        st.floats(0, 1e7),
    )
    def test_never_more_than_the_burst_and_what_time_has_brought(
        self, per_second: float, burst: int, pauses: list[float], began: float
    ) -> None:
        rate, bucket, now, taken = Rate(per_second, burst), Bucket(), began, 0
        for pause in pauses:
            now += pause
            wait = bucket.take(rate, now)
            assert 0 <= wait <= 1.001 / per_second
            taken += not wait
            assert taken <= burst + (now - began) * per_second + 0.01

    @given(st.floats(0.1, 1000), st.integers(1, 200), st.floats(0, 1e6))
    def test_a_full_one_gives_the_whole_burst_at_once(
        self, per_second: float, burst: int, now: float
    ) -> None:
        rate, bucket = Rate(per_second, burst), Bucket()
        assert [bucket.take(rate, now) for _ in range(burst)] == [0.0] * burst
        wait = bucket.take(rate, now)
        assert wait == pytest.approx(1 / per_second, rel=0.01)
        assert bucket.take(rate, now + wait * 1.001) == 0

    def test_whoever_is_refused_loses_nothing_by_asking(self) -> None:
        rate, bucket = Rate(1, 1), Bucket()
        bucket.take(rate, 0)
        for tenth in range(1, 10):
            assert bucket.take(rate, tenth / 10) == pytest.approx(1 - tenth / 10, abs=0.01)
        assert bucket.take(rate, 1) == 0


class TestClients:
    def test_one_client_does_not_use_up_another_s(self) -> None:
        clients = Clients(ClientsLimits(10, 10, requests=Rate(1, 2), connecting=Rate(1, 1)))
        assert [clients.request_wait(ALICE, 0) > 0 for _ in range(3)] == [False, False, True]
        assert clients.request_wait(BOB, 0) == 0
        assert clients.connecting_wait(ALICE, 0) == 0
        assert clients.connecting_wait(ALICE, 0) > 0

    def test_an_ipv6_subscriber_is_one_client_with_all_its_addresses(self) -> None:
        clients = Clients(ClientsLimits(10, 10, requests=Rate(1, 2)))
        clients.request_wait("2001:db8:1:2::1", 0)
        clients.request_wait("2001:db8:1:2:ffff::2", 0)
        assert clients.request_wait("2001:db8:1:2::3", 0) > 0
        assert clients.request_wait("2001:db8:1:3::1", 0) == 0

    def test_without_a_rate_nobody_is_remembered_for_asking(self) -> None:
        clients = Clients(ClientsLimits(10, 10))
        assert clients.request_wait(ALICE, 0) == clients.connecting_wait(ALICE, 0) == 0
        assert len(clients) == 0


class TestNameless:
    """Who comes by a UNIX socket has no address. There one must not shut all others out."""

    LIMITS = ClientsLimits(10, 1, connecting=Rate(1, 1), requests=Rate(1, 1), login_failures=1)

    def test_no_limit_of_one_client_holds(self) -> None:
        clients = Clients(self.LIMITS)
        for _ in range(5):
            assert not clients.has_enough_of(NAMELESS, 0, 0)
            assert clients.connecting_wait(NAMELESS, 0) == clients.request_wait(NAMELESS, 0) == 0
            clients.join(NAMELESS, 0)

    def test_wrong_logins_of_one_do_not_lock_out_all(self) -> None:
        clients = Clients(self.LIMITS)
        for _ in range(50):
            clients.login_failed(NAMELESS, 0)
        assert clients.login_wait(NAMELESS, 0) == 0

    def test_nothing_is_remembered(self) -> None:
        clients = Clients(self.LIMITS)
        clients.login_failed(NAMELESS, 0)
        assert len(clients) == 0


class TestLogins:
    def fail(self, clients: Clients, count: int, now: float) -> None:
        for _ in range(count):
            clients.login_failed(ALICE, now)

    def test_some_failures_cost_nothing(self) -> None:
        clients = Clients(ClientsLimits(10, 10, login_failures=3))
        self.fail(clients, 3, 0)
        assert clients.login_wait(ALICE, 0) == 0

    def test_each_further_one_doubles_the_wait(self) -> None:
        clients = Clients(ClientsLimits(10, 10, login_failures=3))
        self.fail(clients, 3, 0)
        waits = []
        for _ in range(12):
            self.fail(clients, 1, 0)
            waits.append(clients.login_wait(ALICE, 0))
        assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]
        assert clients.login_wait(BOB, 0) == 0

    def test_they_are_forgiven_one_a_minute(self) -> None:
        clients = Clients(ClientsLimits(10, 10, login_failures=3))
        self.fail(clients, 5, 0)
        assert clients.login_wait(ALICE, 4) == 0
        self.fail(clients, 1, 180)
        assert clients.login_wait(ALICE, 180) == 0
        self.fail(clients, 1, 180)
        assert clients.login_wait(ALICE, 180) > 0

    def test_those_that_are_being_checked_count_as_failed_until_they_end(self) -> None:
        clients = Clients(ClientsLimits(10, 10, login_failures=3))
        begun = 0
        while not clients.login_wait(ALICE, 0):
            clients.login_begun(ALICE, 0)
            begun += 1
        assert begun == 4
        assert clients.login_wait(BOB, 0) == 0
        clients.login_ended(ALICE, 0)
        assert clients.login_wait(ALICE, 0) == 0
        for _ in range(3):
            clients.login_ended(ALICE, 0)
            clients.login_failed(ALICE, 0)
        # None is under way, and three failures cost nothing.
        assert clients.login_wait(ALICE, 0) == 0
        clients.login_begun(ALICE, 0)
        assert clients.login_wait(ALICE, 0) > 0

    def test_one_that_works_is_taken_back_and_forgives_nothing(self) -> None:
        clients = Clients(ClientsLimits(10, 10, login_failures=3))
        self.fail(clients, 4, 0)
        for _ in range(5):
            clients.login_begun(ALICE, 2)
            clients.login_ended(ALICE, 2)
        self.fail(clients, 1, 2)
        assert clients.login_wait(ALICE, 2) == pytest.approx(4, rel=0.1)

    def test_a_patient_guesser_has_about_one_guess_a_minute(self) -> None:
        clients, now, guesses = Clients(ClientsLimits(10, 10)), 0.0, 0
        while now < 86400:
            now += max(1.0, clients.login_wait(ALICE, now))
            clients.login_failed(ALICE, now)
            guesses += 1
        assert 1000 < guesses < 1600


class TestRoom:
    def test_whoever_has_gone_in_peace_is_forgotten(self) -> None:
        clients = Clients(ClientsLimits(10, 10, requests=Rate(1, 5)))
        for number in range(100_000):
            clients.request_wait(
                f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", number / 10
            )
        assert len(clients) < 3000

    def test_a_flood_from_everywhere_takes_bounded_room(self) -> None:
        clients = Clients(ClientsLimits(10, 10, requests=Rate(0.001, 1)))
        clients.join(ALICE, 0)
        for number in range(100_000):
            clients.login_failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0)
            assert len(clients) <= 2 * _MOST_REMEMBERED
        assert clients.client(ALICE, 0).connections == 1

    def test_whose_login_is_being_checked_is_never_forgotten(self) -> None:
        clients = Clients(ClientsLimits(10, 10))
        clients.login_begun(ALICE, 0)
        for number in range(100_000):
            clients.login_failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1e6)
        assert clients.client(ALICE, 1e6).checks == 1

    def test_whoever_is_connected_is_never_forgotten(self) -> None:
        clients = Clients(ClientsLimits(100_000, 10))
        addresses = [f"10.0.{number >> 8}.{number & 255}" for number in range(40_000)]
        for address in addresses:
            clients.join(address, 0)
        assert all(clients.client(address, 1e9).connections == 1 for address in addresses)
        for address in addresses:
            clients.leave(address, 1e9)
        for number in range(100_000):
            clients.client(f"11.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1e9)
        assert len(clients) < 3000


class TestDescriptors:
    @given(st.integers(1, 100_000))
    def test_as_many_as_are_needed_are_enough(self, connections: int) -> None:
        assert connections_within(descriptors_for(connections)) >= connections

    @given(st.integers(1, 300_000))
    def test_more_descriptors_are_never_worth_less_and_some_are_always_set_aside(
        self, descriptors: int
    ) -> None:
        fitting = connections_within(descriptors)
        assert 1 <= fitting <= connections_within(descriptors + 1)
        needed = 3 * fitting + excess_beside(fitting)
        assert fitting == 1 or descriptors - needed >= min(64, descriptors // 4)

    def test_a_default_soft_limit_is_worth_a_few_hundred(self) -> None:
        assert [connections_within(limit) for limit in (64, 128, 1024)] == [12, 24, 298]
