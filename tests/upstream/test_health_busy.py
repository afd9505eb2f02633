"""A notebook that takes connections and answers nothing, and one whose queue is full."""

from __future__ import annotations

import pytest
from twisted.logger import capturedLogs, formatEvent

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.upstream.states import State
from ipyproxy.upstream.upstream import IN_USE_FOR, Traffic
from ipyproxy.upstream.watch import HASTE_GAP
from tests.upstream.playedhost import A_BRIDGE, Host, PlayedBridge, dead, up


class TestBusy:
    """It takes connections, and nobody answers."""

    @pytest.mark.parametrize("mode", ["tcp", "http"])
    def test_one_that_takes_connections_is_busy_and_gets_requests(self, mode: str) -> None:
        host = Host(mode=mode, timeout=1.0)
        host.answer = b"HTTP/1.1 200 OK\r\n\r\n"
        host.become("listen")
        host.request()
        host.become("stopped")
        host.wait(2.9)
        assert host.state is State.UP
        host.wait(0.1)
        assert (host.state, host.upstream.since) == (State.BUSY, 3)
        assert set(host.request_for(100)) == {504}
        assert (host.state, host.upstream.since) == (State.BUSY, 3)
        host.become("listen")
        host.wait(0)
        assert host.state is State.UP
        assert all(wire.is_closed for wire in host.wires)

    @pytest.mark.parametrize("mode", ["tcp", "http"])
    def test_however_long_it_is_busy_one_probe_waits_in_its_queue(self, mode: str) -> None:
        host = up(mode=mode)
        host.become("stopped")
        host.wait(3)
        host.dials.clear()
        for _ in range(3600):
            host.wait(1)
            host.checker.ask(host.upstream)
        assert host.dials == []
        assert [wire.is_closed for wire in host.wires] == [False]
        assert host.timers == 1

    def test_the_one_that_waits_is_given_up_with_the_notebook(self) -> None:
        host = up()
        host.become("stopped")
        host.wait(IN_USE_FOR + 13)
        assert (host.state, host.timers) == (State.UNKNOWN, 0)
        assert all(wire.is_closed and not wire.was_reset for wire in host.wires)

    def test_whoever_waited_in_vain_is_told_for_how_long_it_has_been_busy(self) -> None:
        host = up()
        host.become("stopped")
        host.wait(63)
        assert host.request() == 504
        assert host.refusals.pop().busy_for == 60
        host.become("hang")
        assert host.request() == 503
        assert host.refusals.pop().busy_for == 60

    def test_a_slow_answer_of_one_that_answers_others_is_nothing_of_the_kind(self) -> None:
        host = up()
        error = ProxyError(Problem.UPSTREAM_TIMEOUT)
        assert host.checker.failed(host.upstream, error).busy_for is None

    def test_an_answer_ends_it_and_the_probe_that_waits_is_no_more(self) -> None:
        host = up()
        host.become("stopped")
        host.wait(3)
        assert host.state is State.BUSY
        host.checker.answered(host.upstream)
        assert host.word == "up"
        host.wait(2.4)
        assert [wire.is_closed for wire in host.wires] == [True, False]

    def test_one_that_is_killed_while_it_is_busy_is_found_out_within_a_second(self) -> None:
        host = up()
        host.become("stopped")
        host.wait(100)
        host.become("refuse")
        host.wires[-1].reset()
        host.wait(HASTE_GAP)
        assert host.state is State.DEAD

    def test_one_that_never_answered_is_busy_too_and_then_up(self) -> None:
        host = Host()
        host.become("stopped")
        host.checker.ask(host.upstream)
        host.wait(1.3)
        assert host.state is State.BUSY
        host.become("listen")
        host.wait(3)
        assert host.word == "up"

    def test_one_that_has_died_and_takes_connections_again_gets_requests(self) -> None:
        host = dead()
        host.become("stopped")
        host.wait(10)
        assert host.state is State.BUSY
        assert host.request() == 504

    def test_an_administrator_may_say_how_long_is_too_long(self) -> None:
        host = Host(mode="http", dead_after=60)
        host.answer = b"HTTP/1.1 200 OK\r\n\r\n"
        host.become("listen")
        host.request()
        host.become("stopped")
        host.request_for(60, every=1)
        assert host.state is State.BUSY
        host.request_for(6, every=1)
        assert (host.state, host.request()) == (State.DEAD, 503)
        host.wait(1000)
        host.become("listen")
        host.request()
        host.wait(1)
        assert host.word == "up"

    @pytest.mark.parametrize(("mode", "state"), [("tcp", State.UP), ("http", State.BUSY)])
    def test_one_that_goes_on_to_speak_on_a_bridge_is_slow_and_not_busy(
        self, mode: str, state: State
    ) -> None:
        host = Host(mode=mode)
        host.answer = b"HTTP/1.1 200 OK\r\n\r\n"
        host.become("listen")
        host.request()
        bridge = PlayedBridge()
        host.upstream.bridges.add(bridge)
        host.become("stopped")
        for count in range(1, 400):
            host.wait(0.1)
            bridge.traffic = Traffic(bytes_down=count)
        assert host.state is state
        host.wait(9.5)
        assert host.state is State.BUSY

    def test_the_log_says_since_when_and_how_long(self) -> None:
        host = up()
        with capturedLogs() as events:
            host.become("stopped")
            host.wait(13)
            host.become("listen")
            host.wait(0)
        assert [formatEvent(event) for event in events] == [
            "port 10000: up -> busy (silent)",
            "port 10000: busy -> up (answered), busy for 10.0 s",
        ]


class TestHanging:
    """The queue of connections that wait to be accepted is full."""

    def test_so_many_misses_as_configured_make_it_dead(self) -> None:
        host = up(fall=3)
        host.become("hang")
        host.wait(11.9)
        assert host.state is State.UP
        host.wait(0.1)
        assert host.word == "dead"

    def test_but_not_while_it_keeps_what_is_open(self) -> None:
        host = up(fall=3)
        host.upstream.bridges.add(A_BRIDGE)
        host.become("hang")
        host.wait(12)
        assert (host.state, host.upstream.since) == (State.BUSY, 12)
        host.wait(100)
        assert host.state is State.BUSY
        assert host.request() == 503
        assert host.refusals.pop().problem is Problem.CONNECT_TIMEOUT

    def test_a_connection_may_take_as_long_as_one_for_a_request(self) -> None:
        host = up(fall=1, timeout=0.1)
        host.become("hang")
        host.checker.connect_timeout = 7.0
        host.wait(8.9)
        assert host.state is State.UP
        host.wait(0.1)
        assert host.word == "dead"

    def test_a_reset_is_no_answer(self) -> None:
        host = up()
        host.become("reset")
        host.wait(4)
        assert host.state is State.BUSY

    def test_requests_are_answered_at_once_while_it_hangs(self) -> None:
        host = up(fall=1)
        host.become("hang")
        host.wait(4)
        for _ in range(50):
            assert host.request() == 503
            assert host.refusals.pop().detail == "dead, so not tried"
            host.wait(0.1)

    def test_a_request_that_got_no_connection_is_no_proof(self) -> None:
        host = up()
        host.become("hang")
        for _ in range(10):
            host.request()
        assert host.refusals.pop().problem is Problem.CONNECT_TIMEOUT
        assert host.state is State.UP

    def test_under_traffic_it_is_found_within_a_second_of_being_back(self) -> None:
        host = up(fall=1)
        host.become("hang")
        host.wait(60)
        assert set(host.request_for(10)) == {503}
        host.become("listen")
        statuses = host.request_for(2.1)
        # The probe that was under way may have to run into its time-out first.
        assert statuses[-1] == 200

    def test_traffic_makes_it_no_target(self) -> None:
        host = up(fall=1)
        host.become("hang")
        host.wait(60)
        host.dials.clear()
        host.request_for(30)
        assert 10 <= len(host.dials) <= 30
