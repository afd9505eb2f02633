"""Probes by the health checker: of which notebooks, how often, and at what cost."""

from __future__ import annotations

import itertools
import random

import pytest

from ipyproxy.config import Health
from ipyproxy.config.values import Ports
from ipyproxy.errors import Problem
from ipyproxy.upstream import probes
from ipyproxy.upstream.states import Outcome, State
from ipyproxy.upstream.upstream import IN_USE_FOR, STARTING_FOR
from tests.upstream.playedhost import A_BRIDGE, HALF, MOST, PORT, Host, dead, up


class TestProbing:
    def test_nobody_is_probed_who_is_not_asked_for(self) -> None:
        host = Host()
        host.table.notebook(PORT)
        host.wait(3600)
        assert not host.dials

    def test_a_probe_connects_and_closes_from_our_side(self) -> None:
        host = up()
        host.wait(2)
        [wire] = host.wires
        assert wire.is_shut
        assert wire.is_closed
        assert not wire.was_reset
        assert wire.hear() == b""

    def test_whoever_speaks_unasked_is_there_too(self) -> None:
        host = Host()
        host.become("stopped")
        host.checker.ask(host.upstream)
        host.wait(0)
        [wire] = host.wires
        wire.say(b"SSH-2.0-OpenSSH_9.2\r\n")
        host.wait(0)
        assert host.state is State.UP
        assert wire.is_closed
        assert host.timers == 1

    def test_an_upstream_that_was_just_asked_for_is_probed_at_the_interval(self) -> None:
        host = up(interval=2.0)
        host.wait(9)
        assert host.times == [2, 4, 6, 8]

    @pytest.mark.parametrize(("draw", "gap"), [(0.0, 1.6), (HALF, 2.0), (MOST, 2.4)])
    def test_intervals_vary_by_a_fifth(self, draw: float, gap: float) -> None:
        host = up(draw=lambda: draw)
        host.wait(20)
        gaps = {round(b - a, 6) for a, b in itertools.pairwise(host.times)}
        assert gaps == {gap}

    def test_one_that_answers_requests_needs_no_probe(self) -> None:
        host = up()
        assert host.request_for(60, every=1.0) == [200] * 60
        assert not host.dials

    def test_after_a_minute_without_a_request_it_is_probed_less_often(self) -> None:
        host = up()
        host.wait(60)
        host.dials.clear()
        host.wait(60)
        assert host.times == [70, 80, 90, 100, 110, 120]

    def test_a_request_makes_it_busy_again(self) -> None:
        host = up()
        host.wait(100)
        host.request()
        host.dials.clear()
        host.wait(9)
        assert len(host.dials) == 4

    def test_a_request_after_a_pause_makes_it_hurry_to_be_found(self) -> None:
        host = dead(draw=lambda: MOST)
        host.wait(100)
        host.request()
        host.dials.clear()
        host.wait(8)
        assert len(host.dials) == 3

    def test_one_that_nobody_wants_any_more_is_forgotten(self) -> None:
        host = up()
        host.wait(IN_USE_FOR + 12)
        assert host.timers == 0
        assert host.state is State.UNKNOWN
        host.dials.clear()
        host.wait(3600)
        assert not host.dials

    def test_a_dead_one_is_forgotten_too(self) -> None:
        host = dead()
        host.wait(IN_USE_FOR + 31)
        assert host.timers == 0
        assert host.state is State.UNKNOWN

    def test_an_open_bridge_keeps_it_in_mind(self) -> None:
        host = up()
        host.upstream.bridges.add(A_BRIDGE)
        host.wait(3600)
        host.dials.clear()
        host.wait(60)
        assert len(host.dials) == 6
        host.upstream.bridges.clear()
        host.wait(11)
        assert host.timers == 0

    def test_a_lack_of_descriptors_is_not_held_against_it(self) -> None:
        host = up()
        host.become("exhausted")
        host.wait(30)
        assert host.state is State.UP
        assert host.times == [2 * i for i in range(1, 16)]

    def test_whoever_turned_it_off_has_no_probes_and_no_states(self) -> None:
        host = Host(mode="off")
        assert host.request_for(2) == [503] * 20
        assert host.refusals.pop().problem is Problem.UPSTREAM_DEAD
        assert host.checker.ask(host.upstream) is State.UNKNOWN
        assert (host.dials, host.timers) == ([], 0)
        host.become("listen")
        assert host.request() == 200
        assert host.state is State.UNKNOWN


class TestBackoff:
    def test_the_wait_for_a_dead_one_doubles_up_to_its_limit(self) -> None:
        host = dead(draw=lambda: MOST)
        host.wait(150)
        gaps = [round(b - a, 3) for a, b in itertools.pairwise([0.0, *host.times])]
        assert gaps == [1, 2, 4, 8, 16, 30, 30, 30]

    def test_the_limit_can_be_set(self) -> None:
        host = dead(draw=lambda: MOST, backoff_max=3.0)
        host.wait(15)
        gaps = [round(b - a, 3) for a, b in itertools.pairwise([0.0, *host.times])]
        assert gaps == [1, 2, 3, 3, 3, 3]

    @pytest.mark.parametrize("seed", range(5))
    def test_the_jitter_is_full(self, seed: int) -> None:
        host = dead(draw=random.Random(seed).random)
        host.wait(290)
        gaps = [b - a for a, b in itertools.pairwise([0.0, *host.times])]
        ceilings = itertools.chain([1, 2, 4, 8, 16], itertools.repeat(30))
        assert len(gaps) > 8
        assert all(0 <= gap <= ceiling for gap, ceiling in zip(gaps, ceilings, strict=False))
        assert min(gaps[5:]) < 15 < max(gaps[5:])

    def test_ports_that_died_together_are_not_probed_together(self) -> None:
        host = Host(draw=random.Random(1).random)
        for port in range(10000, 10100):
            host.request(port)
        host.wait(10)
        moments = [round(time, 2) for time in host.times]
        assert max(moments.count(moment) for moment in moments) < 10

    def test_one_that_is_back_is_found_and_probed_at_the_interval_again(self) -> None:
        host = dead()
        host.wait(100)
        host.become("listen")
        host.wait(16)
        assert host.state is State.UP
        host.request()
        host.dials.clear()
        host.wait(10)
        assert len(host.dials) == 5

    def test_it_does_not_begin_anew_when_one_has_been_starting_for_too_long(self) -> None:
        host = Host(draw=lambda: MOST)
        host.request()
        host.wait(STARTING_FOR + 2)
        assert host.state is State.DEAD
        assert [round(time) for time in host.times] == [1, 3, 7, 15, 31, 61]
        host.dials.clear()
        host.wait(60)
        assert len(host.dials) == 2

    def test_it_begins_anew_with_each_death(self) -> None:
        host = dead(draw=lambda: MOST)
        host.wait(100)
        host.become("listen")
        host.wait(31)
        host.become("refuse")
        host.request()
        host.dials.clear()
        host.wait(8)
        assert host.state is State.DEAD
        assert len(host.dials) == 3

    def test_so_many_answers_as_configured_bring_it_back(self) -> None:
        host = dead(rise=3)
        host.become("listen")
        host.wait(0.9)
        assert (len(host.dials), host.state) == (1, State.DEAD)
        host.wait(1.4)
        assert (len(host.dials), host.state) == (3, State.UP)


class TestListed:
    """Ports that the configuration names."""

    def test_they_are_looked_after_from_the_start_and_for_ever(self) -> None:
        host = Host(ports=Ports.read(f"{PORT}-{PORT + 2}"))
        host.ports = {PORT: "listen", PORT + 1: "listen"}
        host.wait(120)
        states = [upstream.state for upstream in host.table.all()]
        assert states == [State.UP, State.UP, State.DEAD]
        host.wait(3600)
        assert host.timers == 3
        host.become("refuse")
        host.wait(11)
        assert host.state is State.DEAD

    def test_they_are_not_all_probed_at_once(self) -> None:
        host = Host(random.Random(3).random, ports=Ports.read("10000-10099"))
        host.wait(10)
        moments = [round(time, 1) for time, _ in host.dials]
        assert len({port for _, port in host.dials}) == 100
        assert max(moments.count(moment) for moment in moments) < 20

    def test_another_configuration_may_list_others(self) -> None:
        host = Host(ports=Ports.read(f"{PORT}"))
        host.wait(20)
        host.checker.configure(Health(ports=Ports.read(f"{PORT + 1}")), "/ipython")
        host.wait(60)
        assert host.timers == 1
        host.dials.clear()
        host.wait(60)
        assert {port for _, port in host.dials} == {PORT + 1}

    def test_whoever_turned_it_off_has_none(self) -> None:
        host = Host(mode="off", ports=Ports.read(f"{PORT}"))
        host.wait(60)
        assert (host.dials, host.timers) == ([], 0)


class TestAsking:
    def test_one_that_nobody_knows_is_probed_at_once(self) -> None:
        host = Host()
        host.become("listen")
        assert host.checker.ask(host.upstream) is State.UNKNOWN
        host.wait(probes.HOLD)
        assert host.checker.ask(host.upstream) is State.UP

    def test_whoever_waits_for_it_sees_it_a_second_later(self) -> None:
        host = dead()
        for _ in range(100):
            host.wait(1)
            assert host.checker.ask(host.upstream) is State.DEAD
        host.become("listen")
        host.wait(1)
        host.checker.ask(host.upstream)
        host.wait(1)
        assert host.checker.ask(host.upstream) is State.UP

    def test_however_many_ask_it_is_probed_once_a_second_at_most(self) -> None:
        host = dead(draw=lambda: MOST)
        for _ in range(600):
            host.wait(0.05)
            host.checker.ask(host.upstream)
        assert 25 <= len(host.dials) <= 30

    def test_one_that_is_up_is_left_alone(self) -> None:
        host = up()
        for _ in range(10):
            host.checker.ask(host.upstream)
        host.wait(1.9)
        assert not host.dials

    def test_asking_keeps_it_in_mind(self) -> None:
        host = up()
        for _ in range(10):
            host.wait(IN_USE_FOR / 2)
            host.checker.ask(host.upstream)
        assert host.timers == 1


class TestCost:
    def test_500_dead_ports_cost_less_than_a_probe_a_second_each_and_ever_less(self) -> None:
        host = Host(draw=random.Random(7).random)
        ports = range(10000, 10500)
        for port in ports:
            host.request(port)
        host.wait_roughly(10)
        assert len(host.dials) < 500 * 10
        assert 500 <= host.timers <= 2 * 500
        host.wait_roughly(110)
        host.dials.clear()
        host.wait_roughly(60)
        assert len(host.dials) < 500 * 60 / 10
        assert 500 <= host.timers <= 2 * 500

    def test_tabs_that_poll_a_dead_port_do_not_keep_it_busy(self) -> None:
        host = dead(draw=lambda: MOST)
        host.wait(100)
        host.dials.clear()
        host.request_for(300, every=10.0)
        assert len(host.dials) <= 15

    def test_stopping_leaves_nothing_behind(self) -> None:
        host = Host()
        host.ports = {10001: "listen", 10002: "hang"}
        for port in (10000, 10001, 10002):
            host.request(port)
        host.wait(2.5)
        host.checker.stopService()
        assert host.timers == 0

    def test_after_the_end_requests_still_find_out_for_themselves(self) -> None:
        host = dead()
        host.checker.stopService()
        host.become("listen")
        host.wait(1)
        assert host.request() == 200
        assert host.timers == 0


def test_probes_are_counted_by_what_came_of_them() -> None:
    host = up()
    request = len(host.dials)
    host.wait(7.0)
    answered = host.checker.probes[Outcome.ANSWERED]
    assert answered > 0
    host.become("refuse")
    host.wait(2.5)
    assert host.checker.probes[Outcome.ANSWERED] == answered
    assert host.checker.probes[Outcome.REFUSED] > 0
    assert host.checker.probes.total() == len(host.dials) - request
