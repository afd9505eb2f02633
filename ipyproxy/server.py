"""All connections of one site: who may connect, what they have in common, and their sweeps.

Knows which connections are open and how many each client has. Knows nothing of what is said on
one: that is the channel's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from ipyproxy.channel import ChannelLimits, HTTPChannel, Site
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.forwarding import TrustedProxies
from ipyproxy.request import Request

Record = Callable[[Request, float], None]

MOST_TOLD = 64
"""Connections beyond the caps that are told so, by 503 or 429; others are closed unheard."""


class Crowd:
    """How many connections there are in all, and how many of each client.

    :param most: connections in all.
    :param most_of_one: connections of one client, or requests at once if proxies bring them.
    """

    def __init__(self, most: int, most_of_one: int) -> None:
        self.connections = 0
        self.told = 0
        """Connections beyond the caps."""
        self.most = most
        self.most_of_one = most_of_one
        self._clients: Counter[str] = Counter()

    @property
    def is_full(self) -> bool:
        """Whether there is no room for anybody."""
        return self.connections >= self.most

    def has_enough_of(self, client: str) -> bool:
        """Whether there is no room for another of ``client``."""
        return self._clients[_subscriber(client)] >= self.most_of_one

    def join(self, client: str) -> None:
        """Count another of ``client``."""
        self._clients[_subscriber(client)] += 1

    def leave(self, client: str) -> None:
        """Count one of ``client`` less."""
        subscriber = _subscriber(client)
        self._clients[subscriber] -= 1
        if not self._clients[subscriber]:
            del self._clients[subscriber]


def _subscriber(address: str) -> str:
    """What counts as one client: of IPv6 a whole /64, since every subscriber has one or more."""
    if ":" not in address:
        return address
    return IPv6Address(address).packed[:8].hex()


class HTTPServer:
    """All connections of one site.

    :param crowd: counts the connections; servers may share one.
    :param proxies: peers whose word on the client's address is taken.
    :param record: called with each answered request and its duration in seconds.
    :ivar site: may be replaced at any time, as ``limits`` and ``proxies`` may: requests that have
        begun stay with what they began with.
    """

    _log = Logger()

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
        self.channels: set[HTTPChannel] = set()
        self._crowd = crowd
        self.proxies = proxies
        self._record = record
        self._brought_by_proxies: set[Request] = set()
        self._turned_away = 0

    def open_channel(self, address: IAddress) -> HTTPChannel | None:
        """A channel for a connection from ``address``; None if there are far too many."""
        peer = getattr(address, "host", "unknown")
        # A proxy brings many clients: these are counted as their requests come.
        trusted = peer in self.proxies
        crowd = self._crowd
        excess = None
        if crowd.is_full:
            excess = Problem.OVERLOADED
        elif not trusted and crowd.has_enough_of(peer):
            excess = Problem.TOO_MANY_REQUESTS
        if excess is None:
            crowd.connections += 1
            if not trusted:
                crowd.join(peer)
        elif crowd.told < MOST_TOLD:
            crowd.told += 1
        else:
            self._turned_away += 1
            return None
        channel = HTTPChannel(self, peer, trusted=trusted, excess=excess)
        self.channels.add(channel)
        return channel

    def forget(self, channel: HTTPChannel) -> None:
        """A connection has ended."""
        self.channels.discard(channel)
        if channel.excess is not None:
            self._crowd.told -= 1
            return
        self._crowd.connections -= 1
        if not channel.trusted:
            self._crowd.leave(channel.peer)

    def admit(self, request: Request) -> None:
        """A request begins. Raises :class:`ProxyError` if there are too many."""
        self.requests += 1
        connection = request.connection
        if connection.excess is not None:
            connection.persistent = False
            raise ProxyError(connection.excess, "more connections than the caps allow")
        if not connection.trusted:
            return
        said = request.head.fields.values(b"x-forwarded-for")
        client = request.client = self.proxies.client_behind(request.client, said)
        enough = self._crowd.has_enough_of(client)
        self._crowd.join(client)
        self._brought_by_proxies.add(request)
        if enough:
            raise ProxyError(Problem.TOO_MANY_REQUESTS)

    def record(self, request: Request) -> None:
        """A request has been answered, or never will be. Called once for each."""
        if self._brought_by_proxies and request in self._brought_by_proxies:
            self._brought_by_proxies.discard(request)
            self._crowd.leave(request.client)
        try:
            self._record(request, self.reactor.seconds() - request.started)
        except Exception:
            # Whoever waits for an answer is not to suffer for the log.
            self._log.failure("a request could not be recorded; please report this")

    def sweep(self) -> None:
        """Check every connection's deadlines; to be called about once a second."""
        now = self.reactor.seconds()
        for channel in list(self.channels):
            channel.check(now)
        if self._turned_away:
            self._log.warn(
                "{count} connections turned away: too many are open, in all or of one client",
                count=self._turned_away,
            )
            self._turned_away = 0

    def drain(self) -> None:
        """Take nothing new: idle connections close now, the others after their answer."""
        self.draining = True
        for channel in list(self.channels):
            channel.close_if_idle()
