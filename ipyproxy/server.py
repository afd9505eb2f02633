"""All connections of one site: who may connect, what they have in common, and their sweeps.

Knows which connections are open and how many each client has. Knows nothing of what is said on
one: that is the channel's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from ipyproxy.audit import Audit
from ipyproxy.channel import ChannelLimits, Handshakes, HTTPChannel, Phase, Site
from ipyproxy.crowd import Crowd
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.forwarding import TrustedProxies
from ipyproxy.request import Request

Record = Callable[[Request, float], None]

_log = Logger(__name__)

_BEYOND = "more connections than the caps allow"


class HTTPServer:
    """All connections of one site.

    :param crowd: counts the connections; servers may share one.
    :param proxies: peers whose word on the client's address is taken.
    :param record: called with each answered request and its duration in seconds.
    :ivar site: may be replaced at any time, as ``limits`` and ``proxies`` may: requests that have
        begun stay with what they began with.
    """

    def __init__(
        self,
        reactor: Any,
        site: Site,
        limits: ChannelLimits,
        crowd: Crowd,
        proxies: TrustedProxies,
        record: Record,
    ) -> None:
        self.reactor = reactor
        self.site = site
        self.limits = limits
        self.draining = False
        self.requests = 0
        self.handshakes = Handshakes()
        self.channels: set[HTTPChannel] = set()
        self._crowd = crowd
        self.proxies = proxies
        self._record = record
        self._brought_by_proxies: set[Request] = set()
        self._audit = Audit(crowd)

    def open_channel(self, address: IAddress) -> HTTPChannel | None:
        """A channel for a connection from ``address``; None if there are far too many."""
        peer = getattr(address, "host", "unknown")
        # A proxy brings many clients: these are counted as their requests come.
        trusted = peer in self.proxies
        crowd, now = self._crowd, self.reactor.seconds()
        if not trusted and crowd.connecting_wait(peer, now):
            # Unheard, for its handshake is what would cost.
            error = ProxyError(Problem.TOO_MANY_CONNECTIONS, "too many in a short time")
            self._audit.note(peer, error, now)
            return None
        excess = None
        if crowd.is_full:
            excess = Problem.OVERLOADED
        elif not trusted and crowd.has_enough_of(peer, now):
            excess = Problem.TOO_MANY_CONNECTIONS
        if excess is None:
            crowd.connections += 1
            if not trusted:
                crowd.join(peer, now)
        elif crowd.excess < crowd.limits.excess:
            crowd.excess += 1
        else:
            self._audit.note(peer, ProxyError(excess, _BEYOND), now)
            return None
        channel = HTTPChannel(self, peer, trusted=trusted, excess=excess)
        self.channels.add(channel)
        return channel

    def forget(self, channel: HTTPChannel) -> None:
        """A connection has ended."""
        if channel.phase is Phase.HANDSHAKE:
            self.handshakes.failed += 1
        self.channels.discard(channel)
        if channel.excess is not None:
            self._crowd.excess -= 1
            return
        self._crowd.connections -= 1
        if not channel.trusted:
            self._crowd.leave(channel.peer, self.reactor.seconds())

    def admit(self, request: Request) -> None:
        """A request begins. Raises :class:`ProxyError` if there are too many."""
        self.requests += 1
        connection = request.connection
        if connection.excess is not None:
            connection.persistent = False
            raise ProxyError(connection.excess, _BEYOND)
        if connection.trusted:
            self._admit_brought(request)
        wait = self._crowd.request_wait(request.client, request.started)
        if wait:
            raise ProxyError(
                Problem.TOO_MANY_REQUESTS, "too many in a short time", retry_after=wait
            )

    def _admit_brought(self, request: Request) -> None:
        """A proxy brings a request: its client is who the proxy says."""
        crowd, now = self._crowd, request.started
        said = request.head.fields.values(b"x-forwarded-for")
        client = request.client = self.proxies.client_behind(request.client, said)
        enough = crowd.has_enough_of(client, now)
        crowd.join(client, now)
        self._brought_by_proxies.add(request)
        if enough:
            raise ProxyError(Problem.TOO_MANY_CONNECTIONS, "too many requests at once")

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Let the site say what went wrong, and tell the log."""
        now = self.reactor.seconds()
        self._audit.note(request.client, error, now, port=request.port, user=request.user)
        self.site.refuse(request, error)

    def make_room(self, port: int, asker: HTTPChannel) -> bool:
        """End another slow client's exchange with the notebook on ``port``, if there is one.

        Else a few slow clients could keep everybody from a notebook.
        """
        others = [channel for channel in self.channels if channel is not asker]
        return any(channel.give_way(port) for channel in others)

    def record(self, request: Request) -> None:
        """A request has been answered, or never will be. Called once for each."""
        if self._brought_by_proxies and request in self._brought_by_proxies:
            self._brought_by_proxies.discard(request)
            self._crowd.leave(request.client, self.reactor.seconds())
        try:
            self._record(request, self.reactor.seconds() - request.started)
        except Exception:
            # Whoever waits for an answer is not to suffer for the log.
            _log.failure("a request could not be recorded; please report this")

    def sweep(self) -> None:
        """Check every connection's deadlines; to be called about once a second."""
        now = self.reactor.seconds()
        for channel in list(self.channels):
            channel.check(now)
        self._audit.sweep(now)

    def drain(self) -> None:
        """Keep no connection: those that are idle close now, the others after their answer."""
        self.draining = True
        for channel in list(self.channels):
            channel.close_if_idle()
