"""All connections of one site: who may connect, their limits, and the sweep over their deadlines.

Knows which connections are open and how many each client has. Knows nothing of what is said on one;
the channel does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipyproxy.access.origins import is_by_page
from ipyproxy.clock import Clock
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http.forwarding import NAMELESS, TrustedProxies, name_of
from ipyproxy.server.channel import HTTPChannel, Server
from ipyproxy.server.clients import Clients, subscriber
from ipyproxy.server.phases import Phase
from ipyproxy.server.refusals import Audit
from ipyproxy.server.request import Request
from ipyproxy.server.site import ChannelLimits, Handshakes, Site

Record = Callable[[Request, float], None]

_log: Final = Logger(namespace="ipyproxy.server")

_BEYOND: Final = "more connections than the caps allow"
_LOOKED_AT: Final = 4096
"""How many connections a second are searched for idle ones; each takes about 1 us."""


class _Idle(NamedTuple):
    """A connection that was idle at the last look.

    ``has`` is how many connections its client will still have when this one is due to be closed.
    """

    has: int
    until: float
    channel: HTTPChannel

    def close(self) -> bool:
        """Close it, unless it was used meanwhile. Returns whether it was closed."""
        return self.channel.idle_until == self.until and self.channel.give_way()


class Idlers:
    """The idle connections, which are closed to make room for new ones.

    The more connections there are, the longer a look at all of them takes, so the next look comes
    later: after a second if there are 4096. A connection that is used after a look stays open until
    the next one.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._next_look = -math.inf
        # The one to be closed first is last.
        self._of: dict[str, list[_Idle]] = {}
        self._all: list[_Idle] = []

    def close_one_of(self, client: str) -> bool:
        """Close the connection of ``client`` that has been idle longest.

        Returns whether there is one.
        """
        own = self._of.get(subscriber(client), [])
        while own:
            if own.pop().close():
                return True
        return False

    def close_one_for(self, held: int) -> bool:
        """Close one of the client that has most, if that is more than ``held``; likewise."""
        while self._all and self._all[-1].has > held:
            if self._all.pop().close():
                return True
        return False

    def look(self, channels: Collection[HTTPChannel], now: float) -> None:
        """Find the idle ones among ``channels``, unless the last look was just now."""
        if now < self._next_look:
            return
        self._next_look = now + len(channels) / _LOOKED_AT
        found: dict[str, list[tuple[float, HTTPChannel]]] = {}
        self._all = []
        for channel in channels:
            until = channel.idle_until
            if until is None:
                continue
            if channel.trusted or channel.peer == NAMELESS:
                # It belongs to no single client.
                self._all.append(_Idle(1, until, channel))
            else:
                found.setdefault(subscriber(channel.peer), []).append((until, channel))
        self._of = {client: self._in_turn(own, now) for client, own in found.items()}
        for own in self._of.values():
            self._all += own
        self._all.sort(key=lambda idle: (idle.has, -idle.until))

    def _in_turn(self, own: list[tuple[float, HTTPChannel]], now: float) -> list[_Idle]:
        has = self._clients.client(own[0][1].peer, now).connections
        own.sort(key=lambda one: one[0])
        turns = [_Idle(has - turn, until, channel) for turn, (until, channel) in enumerate(own)]
        return turns[::-1]


class HTTPServer(Server):
    """All connections of one site.

    :param clients: counts the connections; servers may share one.
    :param proxies: peers that are trusted to name the client's address.
    :param record: called with each answered request and its duration in seconds.
    :ivar site: may be replaced at any time, like ``limits`` and ``proxies``; requests that have
        begun keep the old ones.
    """

    def __init__(
        self,
        reactor: Clock,
        site: Site,
        limits: ChannelLimits,
        clients: Clients,
        proxies: TrustedProxies,
        record: Record,
    ) -> None:
        self.reactor = reactor
        self.site = site
        self.limits = limits
        self.draining = False
        self.handshakes = Handshakes()
        self.channels: set[HTTPChannel] = set()
        self._clients = clients
        self.proxies = proxies
        self._record = record
        self._brought_by_proxies: set[Request] = set()
        self._audit = Audit(clients)
        self._idlers = Idlers(clients)

    def open_channel(self, address: IAddress) -> HTTPChannel | None:
        """A channel for a connection from ``address``; None if there are far too many."""
        peer = name_of(address)
        # A proxy connects for many clients: they are counted as their requests come.
        trusted = peer in self.proxies
        clients, now = self._clients, self.reactor.seconds()
        if not trusted and clients.connecting_wait(peer, now):
            # Closed before the handshake, which is the expensive part.
            error = ProxyError(Problem.TOO_MANY_CONNECTIONS, "too many in a short time")
            self._audit.note(peer, error, now)
            return None
        excess = self._excess(peer, now, trusted=trusted)
        if excess is None:
            clients.connections += 1
            if not trusted:
                clients.join(peer, now)
        elif clients.excess < clients.limits.excess:
            clients.excess += 1
        else:
            self._audit.note(peer, ProxyError(excess, _BEYOND), now)
            return None
        channel = HTTPChannel(self, peer, trusted=trusted, excess=excess)
        self.channels.add(channel)
        return channel

    def _excess(self, peer: str, now: float, *, trusted: bool) -> Problem | None:
        """Why ``peer`` can have no further connection; None: it can.

        Before a connection is refused, an idle one is closed: if all places are taken, one of the
        client that has most; else one of this client.
        """
        clients, idlers = self._clients, self._idlers
        counted = not trusted and peer != NAMELESS
        if clients.is_full:
            idlers.look(self.channels, now)
            held = clients.client(peer, now).connections if counted else 0
            has_room = idlers.close_one_for(held) or idlers.close_one_of(peer)
            return None if has_room else Problem.OVERLOADED
        if counted and clients.has_enough_of(peer, clients.connections, now):
            idlers.look(self.channels, now)
            return None if idlers.close_one_of(peer) else Problem.TOO_MANY_CONNECTIONS
        return None

    def forget(self, channel: HTTPChannel, reason: Failure) -> None:
        """A connection has ended."""
        if channel.phase is Phase.HANDSHAKE:
            self.handshakes.failed += 1
            self._audit.handshake_failed(
                channel.peer, reason.getErrorMessage(), self.reactor.seconds()
            )
        self.channels.discard(channel)
        if channel.excess is not None:
            self._clients.excess -= 1
            return
        self._clients.connections -= 1
        if not channel.trusted:
            self._clients.leave(channel.peer, self.reactor.seconds())

    def admit(self, request: Request) -> None:
        """A request begins. Raises :class:`ProxyError` if there are too many."""
        connection = request.connection
        if connection.excess is not None:
            request.close_after()
            raise ProxyError(connection.excess, _BEYOND)
        if connection.trusted:
            self._admit_brought(request)
        wait = self._clients.request_wait(request.client, request.started)
        if wait:
            # A refusal costs as much as an answer, so the client has to connect again. Not so a
            # proxy: its connection carries others' requests too.
            if not connection.trusted:
                request.close_after()
            raise ProxyError(
                Problem.TOO_MANY_REQUESTS, "too many in a short time", retry_after=wait
            )

    def _admit_brought(self, request: Request) -> None:
        """A trusted proxy has sent a request: the client is the one that the proxy names."""
        clients, now = self._clients, request.started
        said = request.head.fields.values(b"x-forwarded-for")
        client = request.client = self.proxies.client_behind(request.client, said)
        # Counted against what the proxies' connections could carry; proxies choose their number.
        enough = clients.has_enough_of(client, len(self._brought_by_proxies), now)
        clients.join(client, now)
        self._brought_by_proxies.add(request)
        if enough:
            raise ProxyError(Problem.TOO_MANY_CONNECTIONS, "too many requests at once")

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Let the site answer with what went wrong, and log it."""
        now = self.reactor.seconds()
        by_page = is_by_page(request.head.fields.special)
        port = None if request.upstream is None else request.upstream.port
        self._audit.note(request.client, error, now, port=port, user=request.user, by_page=by_page)
        self.site.refuse(request, error)

    def record(self, request: Request) -> None:
        """A request has been answered, or never will be. Called once for each."""
        if self._brought_by_proxies and request in self._brought_by_proxies:
            self._brought_by_proxies.discard(request)
            self._clients.leave(request.client, self.reactor.seconds())
        try:
            self._record(request, self.reactor.seconds() - request.started)
        except Exception:
            # A problem with the log must not affect requests.
            _log.failure("a request could not be recorded; please report this")

    def sweep(self) -> None:
        """Check every connection's deadlines; to be called about once a second."""
        now = self.reactor.seconds()
        for channel in list(self.channels):
            channel.check(now)
            if channel.is_tunnel:
                self._check_right(channel)
        self._audit.sweep(now)

    def _check_right(self, channel: HTTPChannel) -> None:
        """End a WebSocket whose user has logged out or lost access."""
        request = channel.request
        if request is not None and request.holds is not None and not request.holds():
            channel.disconnect()

    def disconnect(self) -> None:
        """End all open connections: see :meth:`HTTPChannel.disconnect`."""
        for channel in list(self.channels):
            channel.disconnect()

    def drain(self) -> None:
        """Close all connections: idle ones now, others after their answer."""
        self.draining = True
        for channel in list(self.channels):
            channel.close_if_idle()
