"""Draining: take nothing new, finish what is open, and give up after a while.

Knows which requests and bridges are open, and how long they may take. Knows nothing of listeners,
or of what follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ipyproxy.clock import Clock
from ipyproxy.daemon.components import Components
from ipyproxy.server.channel import HTTPChannel
from ipyproxy.server.server import HTTPServer

_LOOK = 0.1


class Patience(NamedTuple):
    """How long open requests and bridges may go on, in seconds.

    :ivar requests: for a request to be answered, and for a bridge to close once it was told to.
    :ivar bridges: until the last bridge is told to close. The first is told ``requests`` seconds
        earlier, so that the browsers do not all come back at once.
    """

    requests: float
    bridges: float


class Drain:
    """The draining of all connections, which begins when this object is made.

    :ivar done: fires once no client waits for anything any more.
    """

    _log = Logger(namespace="ipyproxy.draining")

    def __init__(
        self,
        reactor: Clock,
        servers: Sequence[HTTPServer],
        components: Components,
        patience: Patience,
    ) -> None:
        self.done: Deferred[None] = Deferred()
        self._reactor = reactor
        self._servers = servers
        self._components = components
        self._began = reactor.seconds()
        self._patience = patience
        for server in servers:
            server.drain()
        components.pool.close()
        components.health.stopService()
        self._looking = reactor.callLater(0, self._look)

    def hasten(self, patience: Patience) -> None:
        """Use shorter times, counted from the beginning."""
        self._patience = patience
        if self._looking.active():
            self._looking.reset(0)

    def _look(self) -> None:
        patience, passed = self._patience, self._reactor.seconds() - self._began
        spread = min(patience.requests, patience.bridges)
        if passed >= patience.bridges - spread:
            self._components.bridges.drain(spread)
        busy = [channel for s in self._servers for channel in s.channels if channel.is_busy]
        requests = [channel for channel in busy if not channel.is_tunnel]
        bridges = [channel for channel in busy if channel.is_tunnel]
        if requests and passed >= patience.requests:
            self._cut(requests, "requests")
        if passed >= patience.bridges + patience.requests:
            if bridges:
                self._cut(bridges, "WebSockets")
            self._components.pool.end_tunnels()
        # A bridge whose browser is gone still waits for its notebook, and then for its line in the
        # log.
        if requests or bridges or self._components.bridges.open:
            self._looking = self._reactor.callLater(_LOOK, self._look)
        else:
            # Aborted requests get their line in the log first.
            self._looking = self._reactor.callLater(0, self.done.callback, None)

    def _cut(self, channels: list[HTTPChannel], what: str) -> None:
        self._log.warn("{count} {what} did not end in time", count=len(channels), what=what)
        for channel in channels:
            channel.transport.abortConnection()
        channels.clear()
