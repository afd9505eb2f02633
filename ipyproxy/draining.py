"""The orderly end: take nothing new, finish what is open, and give up after a while.

Knows whose work is open and how long it may take. Knows nothing of listeners, nor of what follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ipyproxy.server import HTTPServer
from ipyproxy.wiring import Rooms


class Drain:
    """The end of all connections, from the moment that this is made.

    :param within: seconds that open requests have.
    :ivar done: called back once nothing is left that a client waits for.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, servers: Sequence[HTTPServer], rooms: Rooms, within: float
    ) -> None:
        self.done: Deferred[None] = Deferred()
        self._reactor = reactor
        self._servers = servers
        self._rooms = rooms
        self._deadline = reactor.seconds() + within
        for server in servers:
            server.drain()
        rooms.pool.close()
        rooms.health.stopService()
        reactor.callLater(0, self.check)

    def check(self) -> None:
        """See how far it is; to be called every second or so."""
        if self.done.called:
            return
        self._rooms.bridges.drain()
        busy = [channel for s in self._servers for channel in s.channels if channel.is_busy]
        late = self._reactor.seconds() >= self._deadline
        if busy and late:
            self._log.warn("{count} connections did not end in time", count=len(busy))
            for channel in busy:
                channel.transport.abortConnection()
        if not busy or late:
            self.done.callback(None)
