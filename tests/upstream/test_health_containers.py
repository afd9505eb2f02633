"""Connections that are taken and closed again: a container without a server is no notebook."""

from __future__ import annotations

import pytest

from ipyproxy.config.values import Ports
from ipyproxy.errors import HungUpError, Problem
from ipyproxy.upstream.states import State
from ipyproxy.upstream.upstream import IN_USE_FOR, STARTING_FOR
from tests.upstream.playedhost import PORT, Host, Manner, dead, up


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
