"""Probes that ask for a path by HTTP: what they send, and which answers count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ipyproxy.upstream.states import State
from tests.upstream.playedhost import Host
from tests.wires import Wire


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
