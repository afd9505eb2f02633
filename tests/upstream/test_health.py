"""The health checker on a host that the test plays: when it probes, what it finds, at what cost."""

from __future__ import annotations

import errno
import itertools
import math
import random
from collections.abc import Callable
from typing import Any, Literal, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import capturedLogs, formatEvent

from ipyproxy.config import Health
from ipyproxy.config.values import Ports
from ipyproxy.errors import HungUpError, Problem, ProxyError
from ipyproxy.upstream import probes
from ipyproxy.upstream.health import HealthChecker
from ipyproxy.upstream.states import Outcome, State
from ipyproxy.upstream.upstream import (
    IN_USE_FOR,
    STARTING_FOR,
    TRIAL_GAP,
    Traffic,
    Upstream,
    UpstreamTable,
)
from ipyproxy.upstream.watch import HASTE_GAP
from tests.wires import Loop, Wire

PORT = 10000
HALF = 0.5
"""In the middle of the jitter: intervals are as configured, backoff is half its ceiling."""
MOST = 1 - 2**-53

Manner = Literal["refuse", "listen", "stopped", "hang", "reset", "docker", "exhausted"]
"""``stopped`` is a process whose kernel takes connections; ``hang`` one whose queue is full too.

``docker`` takes connections and hangs up by itself.
"""
_ERRORS = {"refuse": errno.ECONNREFUSED, "reset": errno.ECONNRESET, "exhausted": errno.EMFILE}


class PlayedBridge:
    """An open bridge."""

    opened = last_activity = 0.0
    traffic = Traffic()

    def lose_route(self) -> None:
        """It goes on."""


A_BRIDGE = PlayedBridge()


class _Dial:
    """One attempt, as ``ipyproxy.net.sockets.Dial`` offers it."""

    def __init__(self, host: Host, port: int, timeout: float, connected: Any, failed: Any) -> None:
        self._host = host
        self._connected = connected
        self._failed = failed
        host.dials.append((host.loop.seconds(), port))
        manner = host.ports.get(port, "refuse")
        if manner in ("listen", "stopped", "docker"):
            self._call = host.loop.callLater(0, self._connect, port)
        elif manner == "hang":
            late = TimeoutError(errno.ETIMEDOUT, "timed out")
            self._call = host.loop.callLater(timeout, failed, late)
        else:
            self._call = host.loop.callLater(0, failed, OSError(_ERRORS[manner], manner))

    def _connect(self, port: int) -> None:
        wire = Wire()
        self._host.wires.append(wire)
        self._host.port_of[wire] = port
        self._connected(wire)
        if self._host.ports[port] == "docker":
            wire.hang_up()

    def cancel(self) -> None:
        self._call.cancel()


class Host:
    """A host, its notebooks, and the checker that looks after them.

    :ivar ports: how each port takes a connection; those that are not in it refuse.
    :ivar dials: time and port of every attempt.
    :ivar wires: the connections that ports took.
    :ivar refusals: why requests were not served.
    """

    def __init__(self, draw: Callable[[], float] = lambda: HALF, **health: Any) -> None:
        self.loop = Loop()
        self.ports: dict[int, Manner] = {}
        self.dials: list[tuple[float, int]] = []
        self.wires: list[Wire] = []
        self.port_of: dict[Wire, int] = {}
        self.refusals: list[ProxyError] = []
        self.answer: bytes | None = None
        self.table = UpstreamTable()
        config = Health(**health)
        self.checker = HealthChecker(
            self.loop, config, "/ipython", self.table, draw, dial=self._dial
        )
        self.checker.startService()

    def _dial(self, loop: Any, address: Any, *rest: Any) -> Any:
        assert address[0] == "127.0.0.1"
        return _Dial(self, address[1], *rest)

    @property
    def upstream(self) -> Upstream:
        return self.table.notebook(PORT)

    @property
    def state(self) -> State:
        return self.upstream.state

    @property
    def word(self) -> str:
        """What its state is called."""
        return self.state.value

    @property
    def times(self) -> list[float]:
        """When somebody dialled, to the microsecond."""
        return [round(time, 6) for time, _ in self.dials]

    def wait(self, seconds: float) -> None:
        """Let time pass, stopping wherever something is due."""
        end = self.loop.seconds() + seconds
        while True:
            due = min((call.getTime() for call in self.loop.getDelayedCalls()), default=math.inf)
            self.loop.advance(max(0.0, min(due, end) - self.loop.seconds()))
            self.loop.settle()
            self._reply()
            if due > end:
                return

    def _reply(self) -> None:
        for wire in self.wires:
            if wire.is_closed or self.ports.get(self.port_of[wire]) != "listen":
                continue
            if self.answer is not None and wire.hear():
                wire.say(self.answer)
            elif wire.is_shut:
                wire.hang_up()
        self.loop.settle()

    def wait_roughly(self, seconds: float) -> None:
        """The same where much is due, at the cost of a twentieth of a second."""
        for _ in range(round(seconds * 20)):
            self.loop.advance(0.05)

    def request(self, port: int = PORT) -> int:
        """Carry a request as an exchange does; gives the status that its client sees."""
        upstream = self.table.notebook(port)
        try:
            self.checker.admit(upstream, self.checker.now())
            manner = self.ports.get(port, "refuse")
            if manner == "refuse":
                error = ProxyError(Problem.UPSTREAM_DEAD)
                raise self.checker.failed(upstream, error)
            if manner == "stopped":
                self.checker.connected(upstream)
                raise self.checker.failed(upstream, ProxyError(Problem.UPSTREAM_TIMEOUT))
            if manner in ("docker", "reset"):
                self.checker.connected(upstream)
                raise self.checker.failed(upstream, HungUpError("hung up"))
            if manner != "listen":
                raise self.checker.failed(upstream, ProxyError(Problem.CONNECT_TIMEOUT))
            self.checker.connected(upstream)
            self.checker.answered(upstream)
        except ProxyError as error:
            self.refusals.append(error)
            return error.problem.status
        return 200

    def request_for(self, seconds: float, every: float = 0.1) -> list[int]:
        """Requests at an even pace; gives their statuses."""
        statuses = []
        for _ in range(round(seconds / every)):
            self.wait(every)
            statuses.append(self.request())
        return statuses

    def become(self, manner: Manner) -> None:
        self.ports[PORT] = manner

    @property
    def timers(self) -> int:
        return len(self.loop.getDelayedCalls())


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Callable[..., Host]:
    return Host


def up(**health: Any) -> Host:
    """A host whose notebook has just answered a request."""
    host = Host(**health)
    host.become("listen")
    assert host.request() == 200
    return host


def dead(**health: Any) -> Host:
    """A host whose notebook answered, and then was gone."""
    host = up(**health)
    host.become("refuse")
    assert host.request() == 503
    return host


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


class TestContainers:
    """Docker's proxy takes connections for a container, and hangs up if nobody listens there."""

    @pytest.mark.parametrize("manner", ["docker", "reset"])
    @pytest.mark.parametrize("mode", ["tcp", "http"])
    def test_one_that_is_not_up_yet_is_starting(self, mode: str, manner: Manner) -> None:
        host = Host(mode=mode)
        host.become(manner)
        for _ in range(50):
            assert host.request() == 503
            assert host.refusals.pop().problem is Problem.UPSTREAM_STARTING
            host.wait(1)
        assert host.state is State.STARTING

    def test_probes_alone_do_not_take_it_for_up(self) -> None:
        host = Host(ports=Ports.read(f"{PORT}"))
        host.become("docker")
        for _ in range(500):
            host.wait(0.1)
            assert host.state in (State.UNKNOWN, State.STARTING)

    def test_it_opens_once_the_server_listens(self) -> None:
        host = Host()
        host.become("docker")
        host.request()
        host.wait(20)
        host.become("listen")
        host.checker.ask(host.upstream)
        host.wait(1.5)
        assert host.checker.ask(host.upstream) is State.UP

    def test_after_a_minute_it_is_dead_and_stays_so(self) -> None:
        host = Host()
        host.become("docker")
        host.request_for(STARTING_FOR + 2, every=1)
        assert host.refusals.pop().problem is Problem.UPSTREAM_DEAD
        for _ in range(300):
            host.wait(1)
            host.request()
            assert host.state is State.DEAD
        host.become("listen")
        host.wait(0.5)
        assert host.request() == 200

    def test_one_that_has_answered_is_there_though_it_hangs_up_on_a_request(self) -> None:
        host = up()
        host.become("docker")
        assert host.request() == 502
        assert host.state is State.UP

    def test_one_that_hangs_up_on_requests_but_not_on_probes_is_broken_and_not_starting(
        self,
    ) -> None:
        """Such as one that expects TLS. A page that waits for it must not reload in a circle."""
        host = Host()
        host.become("listen")
        error = HungUpError("hung up")
        told = []
        for _ in range(20):
            host.checker.ask(host.upstream)
            host.wait(2)
            told.append(host.checker.failed(host.upstream, error).problem)
        assert told == [Problem.UPSTREAM_BROKEN] * 20
        assert host.state is State.UP

    def test_one_that_only_probes_know_is_looked_at_again_if_it_hangs_up(self) -> None:
        host = Host()
        host.become("listen")
        host.checker.ask(host.upstream)
        host.wait(1)
        assert host.state is State.UP
        host.become("docker")
        assert host.request() == 502
        host.wait(1)
        assert (host.state, host.request()) == (State.STARTING, 503)

    def test_one_whose_container_hangs_before_it_refuses_is_not_taken_for_up(self) -> None:
        """The proxy's own dial may take seconds to fail, so that it hangs up long after us."""
        host = Host()
        host.become("stopped")
        host.checker.ask(host.upstream)
        for _ in range(10):
            host.wait(3)
            host.wires[-1].hang_up()
            host.wait(0)
            assert host.state is State.BUSY
        assert host.checker.failed(host.upstream, HungUpError("")).problem.status == 503
        assert host.state is State.STARTING

    def test_a_probe_of_one_that_has_answered_hangs_up_at_once(self) -> None:
        host = up()
        host.become("stopped")
        host.wait(2)
        assert host.wires[-1].is_shut


class TestNoRecord:
    """Whoever asks for all ports, one after the other, leaves nothing behind."""

    def test_of_ports_where_nobody_listens(self) -> None:
        host = Host()
        for port in range(PORT, PORT + 500):
            assert host.request(port) == 503
        host.wait_roughly(IN_USE_FOR + 35)
        assert host.table.all() == []
        assert host.timers == 0

    def test_nor_where_nobody_looks(self) -> None:
        host = Host(mode="off")
        assert host.request() == 503
        assert host.table.all() == []

    def test_but_of_those_that_ever_answered(self) -> None:
        host = dead()
        host.wait(IN_USE_FOR + 35)
        assert [upstream.port for upstream in host.table.all()] == [PORT]


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


class TestHTTP:
    def host(self, answer: bytes | None, **health: Any) -> Host:
        host = Host(mode="http", **health)
        host.become("listen")
        host.answer = answer
        return host

    @pytest.mark.parametrize(
        ("path", "target"),
        [
            ("api", b"/ipython/10000/api?no_track_activity=1"),
            ("", b"/ipython/10000/?no_track_activity=1"),
            ("api/status?a=b", b"/ipython/10000/api/status?a=b&no_track_activity=1"),
        ],
    )
    def test_asks_for_the_configured_path_by_the_upstreams_own_name(
        self, path: str, target: bytes
    ) -> None:
        host = self.host(None, path=path)
        host.checker.ask(host.upstream)
        host.wait(0)
        [wire] = host.wires
        start, *lines = wire.hear().split(b"\r\n")
        assert start == b"GET " + target + b" HTTP/1.1"
        assert b"Host: 127.0.0.1:10000" in lines
        assert b"Connection: close" in lines
        assert lines[-2:] == [b"", b""]

    @pytest.mark.parametrize(
        "status", [b"101", b"200", b"204", b"302 Found", b"403", b"404", b"499 "]
    )
    @pytest.mark.parametrize("rest", [b"\r\n", b"\r\nServer: x\r\n\r\nbody"])
    def test_any_answer_below_500_will_do(self, status: bytes, rest: bytes) -> None:
        host = self.host(b"HTTP/1.1 " + status + rest)
        host.checker.ask(host.upstream)
        host.wait(0.1)
        assert host.state is State.UP
        [wire] = host.wires
        assert wire.is_closed
        assert host.timers == 1

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 500 Oops\r\n\r\n",
            b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
            b"HTTP/1.1 600 What\r\n",
            b"HTTP/2 200\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"\r\n",
            b"HTTP/1.1 200 " + b"O" * 2000,
            b"HTTP/1.1 200 OK",
        ],
    )
    def test_nothing_else_will(self, answer: bytes) -> None:
        host = self.host(answer, timeout=0.1)
        host.checker.ask(host.upstream)
        host.wait(0.1)
        assert host.state is State.BUSY
        [wire] = host.wires
        # It may still have more to say.
        assert wire.is_closed == (b"\r\n" in answer or len(answer) > 1024)

    def test_an_answer_may_come_in_pieces(self) -> None:
        host = self.host(None)
        host.checker.ask(host.upstream)
        host.wait(0)
        for byte in b"HTTP/1.0 200 OK\r\n":
            assert host.state is State.UNKNOWN
            host.wires[0].say(bytes([byte]))
            host.wait(0)
        assert host.state is State.UP

    def test_one_that_takes_connections_and_never_answers_is_found_out(self) -> None:
        host = self.host(b"HTTP/1.1 200 OK\r\n\r\n")
        host.request()
        host.wait(2)
        host.answer = None
        host.wait(9.1)
        assert host.state is State.BUSY
        host.answer = b"HTTP/1.1 200 OK\r\n\r\n"
        host.wait(10)
        assert host.word == "up"
        assert all(wire.is_closed for wire in host.wires)

    @pytest.mark.parametrize("how", [Wire.hang_up, Wire.reset])
    def test_one_that_hangs_up_is_no_answer(self, how: Callable[[Wire], None]) -> None:
        host = self.host(None, fall=1)
        host.checker.ask(host.upstream)
        host.wait(0)
        how(host.wires[0])
        host.wait(0)
        assert host.state is State.STARTING

    def test_a_connection_alone_proves_nothing(self) -> None:
        host = self.host(None)
        host.become("refuse")
        host.request()
        host.become("listen")
        host.wait(0.4)
        host.dials.clear()
        host.checker.connected(host.upstream)
        after_connecting = host.state
        host.answer = b"HTTP/1.1 200 OK\r\n\r\n"
        host.wait(1)
        assert (after_connecting, host.state) == (State.STARTING, State.UP)

    def test_a_connection_does_not_hide_that_it_hangs(self) -> None:
        host = self.host(b"HTTP/1.1 200 OK\r\n\r\n")
        host.request()
        host.answer = None
        for _ in range(100):
            host.wait(0.1)
            host.checker.connected(host.upstream)
        assert host.state is State.BUSY

    def test_a_refusal_needs_no_second_look(self) -> None:
        host = self.host(b"HTTP/1.1 200 OK\r\n\r\n")
        host.request()
        host.become("refuse")
        host.wait(2)
        assert host.state is State.DEAD

    def test_stopping_ends_a_probe_that_waits(self) -> None:
        host = self.host(None)
        host.checker.ask(host.upstream)
        host.wait(0)
        host.checker.stopService()
        host.loop.settle()
        [wire] = host.wires
        assert wire.is_closed
        assert host.timers == 0


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


_Step = tuple[str, int, float]


@settings(max_examples=50)
@given(
    mode=st.sampled_from(["tcp", "http"]),
    fall=st.integers(1, 3),
    rise=st.integers(1, 3),
    seed=st.integers(0, 100),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["request", "ask", "bridge", *get_args(Manner)]),
            st.integers(PORT, PORT + 2),
            st.sampled_from([0.0, 0.01, 0.3, 1.0, 5.0, 40.0, 400.0]),
        ),
        max_size=25,
    ),
)
def test_in_any_order_of_events_there_is_one_timer_for_each_and_the_truth_is_found(
    mode: str, fall: int, rise: int, seed: int, steps: list[_Step]
) -> None:
    host = Host(random.Random(seed).random, mode=mode, fall=fall, rise=rise)
    host.answer = b"HTTP/1.1 200 OK\r\n\r\n"
    manners: dict[str, Manner] = {manner: manner for manner in get_args(Manner)}
    for what, port, seconds in steps:
        if what == "request":
            host.request(port)
        elif what == "ask":
            host.checker.ask(host.table.notebook(port))
        elif what == "bridge":
            host.table.notebook(port).bridges ^= {A_BRIDGE}
        else:
            host.ports[port] = manners[what]
        host.wait(seconds)
        # Each of the three has a timer, or a probe's deadline and that of its dial.
        known = [each for each in host.table.all() if each.state is not State.UNKNOWN]
        assert len(known) <= host.timers <= 2 * 3
    for port, manner in itertools.product(
        range(PORT, PORT + 3), ["refuse", "listen", "stopped", "hang"]
    ):
        host.ports[port] = manners[manner]
        for _ in range(15):
            host.checker.ask(host.table.notebook(port))
            host.wait(1)
        assert (host.table.notebook(port).state is State.UP) == (manner == "listen")
    for port in range(PORT, PORT + 3):
        # One that is busy and in use has a probe that waits.
        host.table.notebook(port).bridges.clear()
    host.wait(IN_USE_FOR + 13)
    assert all(wire.is_closed for wire in host.wires)
    assert not host.loop.failures
    host.checker.stopService()
    host.loop.settle()
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
