"""The listeners of HTTPS and plain HTTP, and the servers behind them.

Knows sockets, TLS and the PROXY protocol, and which server gets a connection. The sites are handed
in, and replaced at a reload.
"""

from __future__ import annotations

import socket

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress

from ipyproxy.config import Config
from ipyproxy.daemon.components import Components
from ipyproxy.daemon.limits import channel_limits
from ipyproxy.daemon.sites import Sites
from ipyproxy.http.forwarding import UNIX, TrustedProxies, name_of
from ipyproxy.net.descriptors import Descriptors, Reactor
from ipyproxy.net.endpoints import listen, spoken
from ipyproxy.net.sockets import Accept, Announcement, Listener
from ipyproxy.server.accepting import accept_client
from ipyproxy.server.server import HTTPServer, Record
from ipyproxy.server.site import Site
from ipyproxy.tls import ServerTLS


class Listeners:
    """The listeners of one process; reloads do not change them.

    Call :meth:`bind`, then :meth:`serve`; connections are accepted once the reactor runs.

    :ivar https_port: the public port of HTTPS.
    :ivar https: the server of HTTPS.
    :ivar http: the server of plain HTTP.
    """

    https_port: int
    https: HTTPServer
    http: HTTPServer

    def __init__(
        self,
        reactor: Reactor,
        descriptors: Descriptors,
        components: Components,
        tls: ServerTLS,
        config: Config,
    ) -> None:
        self._reactor = reactor
        self._descriptors = descriptors
        self._components = components
        self._tls = tls
        self._bound = config.listen
        self._config = config
        self._listeners: list[Listener] = []

    def bind(self) -> None:
        """Bind the ports. Raises :class:`~ipyproxy.net.endpoints.StartError`."""
        https = self._listen(self._bound.https, self._take_https)
        if self._bound.http is not None:
            self._listen(self._bound.http, self._take_http)
        self.https_port = getattr(https, "port", 443)

    def _listen(self, where: int | str, accept: Accept) -> IAddress:
        backlog = self._bound.backlog
        listener = listen(self._reactor, self._descriptors, where, backlog, accept)
        self._listeners.append(listener)
        self.note(listener.address)
        return listener.address

    def note(self, address: IAddress) -> None:
        """Record an address that the process listens on, so that no route leads there."""
        self._components.condition.listeners.append(spoken(address))
        own = getattr(address, "port", None)
        if own is not None:
            self._components.own_ports.add(own)

    def serve(self, sites: Sites, record: Record) -> None:
        """Serve ``sites``.

        :param record: called with each request when it is over.
        """
        self.https = self._make_server(sites.public, record)
        self.http = self._make_server(sites.redirects, record)
        self._components.condition.handshakes = self.https.handshakes

    def _make_server(self, site: Site, record: Record) -> HTTPServer:
        limits = channel_limits(self._config)
        proxies = TrustedProxies(self._config.listen.trusted_proxies)
        return HTTPServer(self._reactor, site, limits, self._components.clients, proxies, record)

    @property
    def servers(self) -> tuple[HTTPServer, HTTPServer]:
        """The servers of HTTPS and plain HTTP."""
        return self.https, self.http

    def put(self, config: Config, sites: Sites) -> tuple[str, ...]:
        """Serve ``sites`` with the limits of ``config``; open connections stay.

        :returns: the changed keys of ``listen`` that need a restart.
        """
        self._config = config
        for server, site in (self.https, sites.public), (self.http, sites.redirects):
            server.site = site
            server.limits = channel_limits(config)
            server.proxies = TrustedProxies(config.listen.trusted_proxies)
        fixed = "https", "http", "backlog"
        return tuple(
            key for key in fixed if getattr(config.listen, key) != getattr(self._bound, key)
        )

    @property
    def has_nameless_clients(self) -> bool:
        """Whether clients cannot be told apart."""
        by_path = any(isinstance(each.address, UNIXAddress) for each in self._listeners)
        return by_path and UNIX not in self._config.listen.trusted_proxies

    def _take_https(self, sock: socket.socket, peer: IAddress) -> None:
        config = self._config
        if not config.listen.proxy_protocol:
            self._accept_tls(sock, peer)
        elif name_of(peer) in self.https.proxies:
            Announcement(self._reactor, sock, peer, config.timeouts.head, self._accept_tls)
        else:
            # A client that is not a proxy could claim any address.
            sock.close()

    def _accept_tls(self, sock: socket.socket, peer: IAddress) -> None:
        accept_client(self.https, self._descriptors, sock, peer, self._tls)

    def _take_http(self, sock: socket.socket, peer: IAddress) -> None:
        accept_client(self.http, self._descriptors, sock, peer)

    def sweep(self) -> None:
        """Check the deadlines of all connections."""
        for server in self.servers:
            server.sweep()

    def stop(self) -> list[Deferred[None]]:
        """Accept nothing more; open connections stay."""
        stopped = [listener.stop() for listener in self._listeners]
        return [each for each in stopped if each is not None]
