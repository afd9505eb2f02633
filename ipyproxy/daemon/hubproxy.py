"""The proxy of a JupyterHub as a program of its own, made from the same parts.

It has no configuration file and no notebooks: all routes come from the API. Knows every part's
constructor, and the order in which they start. Decides nothing about requests.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ipyproxy.clock import twisted_clock
from ipyproxy.config import Config
from ipyproxy.config.limits import Health, Limits, Timeouts
from ipyproxy.config.tables import Compression
from ipyproxy.daemon.components import Components, gateway_context, make_components
from ipyproxy.daemon.draining import Drain, Patience
from ipyproxy.daemon.hub import CONNECTIONS as API_CONNECTIONS
from ipyproxy.daemon.hub import make_error_pages
from ipyproxy.daemon.hubterms import Identity, ServerTerms, TermsOf
from ipyproxy.daemon.limits import channel_limits
from ipyproxy.daemon.routing import Fittings
from ipyproxy.daemon.service import MainReactor, guarded, make_descriptors
from ipyproxy.http.forwarding import Network, TrustedProxies
from ipyproxy.hub.api import ApiSite
from ipyproxy.hub.figures import Figures
from ipyproxy.hub.site import HubSite, MovedSite
from ipyproxy.hub.store import HubRoutes, Manner
from ipyproxy.net.endpoints import StartError, listen, listen_at_path, spoken
from ipyproxy.net.sockets import Accept, Listener, claim_descriptors
from ipyproxy.server.accepting import accept_client
from ipyproxy.server.clients import connections_within, descriptors_for
from ipyproxy.server.private import private_server
from ipyproxy.server.request import Request
from ipyproxy.server.server import HTTPServer
from ipyproxy.server.site import Site
from ipyproxy.status.metrics import Metrics
from ipyproxy.tls import ServerTLS
from ipyproxy.upstream.tenancy import Tenants, nobody
from ipyproxy.web.scraping import MetricsSite

_SWEEP = 0.5
_CONNECTIONS = 100_000
_BACKLOG = 1024


class Place(NamedTuple):
    """Where to listen: an address and a port, or the path of a UNIX socket.

    :ivar host: a literal address; empty: all addresses.
    """

    host: str = ""
    port: int = 0
    path: Path | None = None

    def __str__(self) -> str:
        return str(self.path) if self.path is not None else f"{self.host or '*'}:{self.port}"


@attrs.frozen
class HubProxySettings:
    """The settings of the program; ``ipyproxy-chp --help`` explains them."""

    public: Place
    api: Place
    token: bytes = attrs.field(repr=False)
    manner: Manner = attrs.field(factory=Manner)
    public_tls: Identity | None = None
    api_tls: Identity | None = None
    servers: ServerTerms = attrs.field(factory=ServerTerms)
    default_target: str = ""
    error_target: str = ""
    error_files: Mapping[int, bytes] = attrs.field(factory=dict)
    metrics: Place | None = None
    redirect: Place | None = None
    redirect_to: int = 443
    trusted: tuple[Network, ...] = ()
    body_timeout: float = 60.0
    keepalive_timeout: float = 75.0


def _config(settings: HubProxySettings) -> Config:
    """The limits of a hub's proxy.

    A thousand users may share one address, so there are no rate limits for an address, only a share
    of the connections. Servers are not probed, because the hub checks them itself.
    """
    have = claim_descriptors(descriptors_for(_CONNECTIONS))
    connections = min(_CONNECTIONS, connections_within(have))
    limits = Limits(connections=connections, connection_rate=0.0, request_rate=0.0)
    timeouts = Timeouts(
        body=settings.body_timeout, keepalive=settings.keepalive_timeout, response=0.0
    )
    return Config(
        limits=limits, timeouts=timeouts, health=Health(mode="off"), compression=Compression()
    )


class HubProxy(Service):
    """The daemon: its listeners, its sweeps and its stop."""

    log = Logger(namespace="ipyproxy.hub")

    def __init__(self, reactor: MainReactor, settings: HubProxySettings) -> None:
        self._reactor = reactor
        self._settings = settings
        self._config = _config(settings)
        self._descriptors = make_descriptors(reactor)
        self._components = make_components(
            reactor, self._descriptors, self._config, Tenants(nobody)
        )
        self._figures = Figures()
        self._listeners: list[Listener] = []
        self._servers: list[HTTPServer] = []
        self._sweeping = LoopingCall(guarded(self._sweep, self.log))
        self._sweeping.clock = twisted_clock(reactor)
        live = self._components.live
        live.fit(make_fittings(self._components))
        calendar = self._components.condition.calendar
        terms = TermsOf(settings.servers)
        self._pages = make_error_pages(
            self._components, settings.error_target, terms, settings.error_files
        )
        self.routes = HubRoutes(live, settings.manner, calendar, terms)
        if settings.default_target:
            self.routes.add("/", {"target": settings.default_target})

    def startService(self) -> None:
        """Listen and serve."""
        super().startService()
        settings, components, figures = self._settings, self._components, self._figures
        secure = settings.public_tls is not None
        site = HubSite(
            components.live,
            self._pages,
            figures,
            host_routing=settings.manner.host_routing,
            secure=secure,
        )
        self._listen(settings.public, self._public(site), settings.public_tls)
        api = self._private(ApiSite(self._reactor, self.routes, settings.token, figures))
        self._listen(settings.api, api, settings.api_tls)
        if settings.metrics is not None:
            scraped = Metrics(components.sources)
            expose = lambda: scraped.exposed(b"")[1] + figures.exposed()  # noqa: E731
            metrics = self._private(MetricsSite(expose))
            self._listen(settings.metrics, metrics)
        if settings.redirect is not None:
            redirects = self._private(MovedSite(settings.redirect_to))
            self._listen(settings.redirect, redirects)
        self._sweeping.start(_SWEEP, now=False)
        self._tell()

    def _tell(self) -> None:
        settings = self._settings
        scheme = "http" if settings.public_tls is None else "https"
        target = settings.default_target or "(no default)"
        self.log.info(
            "Proxying {scheme}://{where} to {target}",
            scheme=scheme,
            where=str(settings.public),
            target=target,
        )
        scheme = "http" if settings.api_tls is None else "https"
        self.log.info(
            "Proxy API at {scheme}://{where}/api/routes", scheme=scheme, where=str(settings.api)
        )
        if settings.metrics is not None:
            self.log.info("Serve metrics at http://{where}/metrics", where=str(settings.metrics))
        if settings.redirect is not None:
            self.log.info(
                "Added HTTP to HTTPS redirection from {where} to {port}",
                where=str(settings.redirect),
                port=settings.redirect_to,
            )
        if not settings.token:
            self.log.warn("REST API is not authenticated.")

    def _private(self, site: Site) -> HTTPServer:
        """A server for programs."""
        limits = channel_limits(self._config)
        return private_server(self._reactor, site, limits, API_CONNECTIONS)

    def _public(self, site: Site) -> HTTPServer:
        """The server for browsers."""
        return HTTPServer(
            self._reactor,
            site,
            channel_limits(self._config),
            self._components.clients,
            TrustedProxies(self._settings.trusted),
            self._record,
        )

    def _record(self, request: Request, duration: float) -> None:
        """Count a request that has ended."""
        self._figures.proxied[request.status] += 1
        if request.status < 300:
            self._figures.noted += 1
        self._components.statistics.add(
            request.upstream,
            request.status,
            duration,
            request.body_bytes_received,
            request.body_bytes_sent,
        )
        if request.status >= 500 and request.note:
            path = request.target.partition(b"?")[0].decode("latin-1")
            self.log.error(
                "{status} {method} {path} {note}",
                status=request.status,
                method=request.method.decode("latin-1"),
                path=path,
                note=request.note,
            )

    def _listen(self, place: Place, server: HTTPServer, identity: Identity | None = None) -> None:
        """Let ``server`` serve whoever connects at ``place``."""
        self._servers.append(server)
        accept = self._taking(server, identity)
        if place.path is None:
            host = place.host.replace(":", r"\:")
            kind = "tcp6" if ":" in place.host else "tcp"
            where = f"{kind}:{place.port}:interface={host}" if host else place.port
            listener = listen(self._reactor, self._descriptors, where, _BACKLOG, accept)
        else:
            try:
                listener = listen_at_path(self._descriptors, place.path, _BACKLOG, accept)
            except OSError as error:
                reason = error.strerror or error
                raise StartError(f"ipyproxy-chp: cannot listen on {place.path}: {reason}") from None
        self._listeners.append(listener)
        self.log.debug("listening on {address}", address=spoken(listener.address))

    def _taking(self, server: HTTPServer, identity: Identity | None) -> Accept:
        """The function that accepts connections for ``server``."""
        tls = None
        if identity is not None:
            tls = ServerTLS((identity.certificate,), identity.terms, self._reactor.seconds)

        def accept(sock: socket.socket, peer: IAddress) -> None:
            accept_client(server, self._descriptors, sock, peer, tls)

        return accept

    def _sweep(self) -> None:
        components, now = self._components, self._reactor.seconds()
        for server in self._servers:
            server.sweep()
        components.pool.sweep()
        components.retirement.sweep()
        components.live.sweep(now)
        components.upstreams.sweep(now)
        components.bridges.sweep()
        components.statistics.tick(now)

    def stop(self) -> None:
        """End at once: the hub starts another one as soon as this one is gone."""
        self.log.warn("Terminated")
        self._reactor.stop()

    def stopService(self) -> Deferred[None]:
        """Stop listening, and end what is open."""
        super().stopService()
        for listener in self._listeners:
            listener.stop()
        drain = Drain(self._reactor, self._servers, self._components, Patience(0, 0))
        return drain.done.addCallback(lambda _: self._end())

    def _end(self) -> None:
        if self._sweeping.running:
            self._sweeping.stop()
        self._components.auth.threads.close()
        self._components.compression.close()


def make_fittings(components: Components) -> Fittings:
    """The fittings of routes without a configuration."""
    context = replace(gateway_context(components), compression=components.compression)
    return Fittings(components.upstreams, context, None, components.disks, ())
