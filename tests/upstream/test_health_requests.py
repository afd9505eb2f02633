"""What the health checker learns of requests, and which of them it lets through."""

from __future__ import annotations

import pytest

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.upstream.states import State
from ipyproxy.upstream.upstream import STARTING_FOR, TRIAL_GAP
from tests.upstream.playedhost import MOST, Host, dead, up


class TestRequests:
    def test_the_first_refusal_is_known_at_once(self) -> None:
        host = Host()
        assert host.request() == 503
        assert host.refusals.pop().problem is Problem.UPSTREAM_STARTING
        assert host.state is State.STARTING

    def test_one_that_was_up_is_dead_at_once(self) -> None:
        host = dead()
        assert host.refusals.pop().problem is Problem.UPSTREAM_DEAD
        assert host.state is State.DEAD

    def test_starting_takes_so_long(self) -> None:
        host = Host()
        host.request_for(STARTING_FOR - 1, every=1.0)
        assert host.refusals.pop().problem is Problem.UPSTREAM_STARTING
        host.request_for(2, every=1.0)
        assert host.refusals.pop().problem is Problem.UPSTREAM_DEAD

    def test_while_it_refuses_one_request_at_a_time_tries(self) -> None:
        host = dead()
        tried = 0
        for _ in range(100):
            host.wait(0.1)
            host.request()
            tried += host.refusals.pop().detail != "dead, so not tried"
        assert 10 <= tried <= 20

    @pytest.mark.parametrize("phase", range(10))
    @pytest.mark.parametrize("rest", [0.3, 30.0, 200.0])
    def test_under_traffic_it_serves_within_a_second_of_being_back(
        self, rest: float, phase: int
    ) -> None:
        host = dead()
        host.request_for(rest)
        host.wait(phase / 100)
        host.become("listen")
        statuses = host.request_for(1.0)
        assert statuses.index(200) <= 6
        assert set(statuses[statuses.index(200) :]) == {200}

    def test_the_first_to_come_after_a_pause_tries(self) -> None:
        host = dead()
        host.wait(100)
        host.become("listen")
        assert host.request() == 200

    def test_an_error_of_the_application_is_an_answer(self) -> None:
        host = up()
        for problem in set(Problem) - {Problem.UPSTREAM_DEAD}:
            error = ProxyError(problem)
            assert host.checker.failed(host.upstream, error) is error
        assert host.state is State.UP

    def test_an_answer_clears_what_probes_have_missed(self) -> None:
        host = up(fall=2)
        host.become("hang")
        host.wait(4.5)
        assert host.upstream.misses == 1
        host.checker.answered(host.upstream)
        host.wait(4.5)
        assert host.state is State.UP

    def test_a_trial_that_hangs_stays_the_only_one(self) -> None:
        host = dead(draw=lambda: MOST)
        host.wait(TRIAL_GAP)
        assert host.upstream.admit(host.checker.now())
        host.become("hang")
        assert host.request_for(5) == [503] * 50
        assert {refusal.detail for refusal in host.refusals[1:]} == {"dead, so not tried"}

    def test_a_trial_that_is_given_up_leaves_the_way_to_the_next(self) -> None:
        host = dead(draw=lambda: MOST)
        host.wait(TRIAL_GAP)
        assert host.upstream.admit(host.checker.now())
        host.become("listen")
        assert host.request_for(1.2)[-1] == 200
