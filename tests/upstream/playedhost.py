"""A host whose notebooks the test plays, with the health checker that looks after them.

Knows how ports take connections and what requests meet there. Knows nothing of what a test expects.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Callable
from typing import Any, Literal

from ipyproxy.config import Health
from ipyproxy.errors import HungUpError, Problem, ProxyError
from ipyproxy.upstream.health import HealthChecker
from ipyproxy.upstream.states import State
from ipyproxy.upstream.upstream import Traffic, Upstream, UpstreamTable
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
