"""The one place where everything is made and wired: a configuration becomes a running service.

Knows every room's constructor. Decides nothing about requests.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import IService, Service
from twisted.internet import error
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, serverFromString
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipyproxy.access import Policy
from ipyproxy.channel import ChannelLimits, Site
from ipyproxy.client import ClientLimits, Pool
from ipyproxy.config import Config
from ipyproxy.epoll import Descriptors, EpollSet
from ipyproxy.forwarding import TrustedProxies
from ipyproxy.health import HealthChecker
from ipyproxy.http1.head import HeadLimits
from ipyproxy.logs import AccessLog, Entry, LogWriter
from ipyproxy.request import Request
from ipyproxy.routes import ServedPorts
from ipyproxy.server import Crowd, HTTPServer
from ipyproxy.sockets import Accept, Announcement, Listener, claim_descriptors
from ipyproxy.tls import Certificate, ServerTLS, development_certificate, load_certificate
from ipyproxy.tlstransport import TLSTransport
from ipyproxy.transport import TCPTransport
from ipyproxy.upstreams import UpstreamTable
from ipyproxy.web.exchange import Carriage
from ipyproxy.web.notebook import Notebooks
from ipyproxy.web.pages import STATE_PATH
from ipyproxy.web.root import PublicSite, RedirectSite, Root
from ipyproxy.web.state import States
from ipyproxy.websocket import Bridges

_SWEEP = 1.0
_STANDARD_OUTPUT = 1
# A client's connection, the one to its notebook, and one that is kept for the next.
_DESCRIPTORS_EACH = 3
_OTHER_DESCRIPTORS = 64
_VERSIONS = (b"HTTP/1.0", b"HTTP/1.1")


class ProxyService(Service):
    """The daemon: its listeners, its sweeps, and its orderly end."""

    log = Logger()

    def __init__(self, reactor: Any, config: Config, certificate: Certificate) -> None:
        self._reactor = reactor
        self._config = config
        self._tls = ServerTLS(certificate)
        self._listeners: list[Listener] = []
        self._writer = _log_writer(config.log.access)
        self._access_log = AccessLog(self._writer, config.log.format, time.time)
        self._ports = ServedPorts(config.notebooks.ports)
        self._descriptors = _descriptors(reactor)
        self._pool = Pool(reactor, self._descriptors, _client_limits(config))
        self._health = HealthChecker(
            reactor, config.health, config.notebooks.prefix, self._pool.end_tunnels
        )
        self._bridges = Bridges(reactor, config.limits.message_bytes)
        self._policy = Policy((*certificate.names, *config.site.hosts), config.site.trusted_origins)
        self._proxies = TrustedProxies(config.listen.trusted_proxies)
        self._crowd = Crowd(config.limits.connections, config.limits.connections_per_client)
        self._server = self._make_server(PublicSite(self._make_root(), self._policy))
        self._sweeping = LoopingCall(_guarded(self._sweep, self.log))
        self._sweeping.clock = reactor
        self._stopping: Deferred[None] | None = None
        self._stop_deadline = 0.0

    def _make_root(self) -> Root:
        config = self._config
        carriage = Carriage(
            self._pool,
            self._health,
            self._bridges,
            frozenset(origin.encode("ascii") for origin in config.site.trusted_origins),
            config.limits.connections_per_port,
        )
        table = UpstreamTable()
        notebooks = Notebooks(
            self._ports,
            config.notebooks.prefix,
            tuple(name.encode("ascii") for name in config.notebooks.site_cookies),
            table,
            carriage,
        )
        root = Root(config.notebooks.prefix, notebooks)
        root.put(STATE_PATH, States(self._ports, table, self._health))
        return root

    def _make_server(self, site: Site) -> HTTPServer:
        return HTTPServer(
            self._reactor,
            site,
            _channel_limits(self._config),
            self._crowd,
            self._proxies,
            self._record,
        )

    # Starting.

    def privilegedStartService(self) -> None:
        """Bind the ports, while the process may still have the rights to."""
        config = self._config.listen
        accept = self._await_announcement if config.proxy_protocol else self._accept_tls
        https = self._listen(config.https, accept)
        self._servers = [self._server]
        if config.http is not None:
            site = RedirectSite(self._policy, getattr(https, "port", 443))
            redirects = self._make_server(site)
            self._servers.append(redirects)
            self._listen(config.http, lambda sock, peer: self._accept_plain(redirects, sock, peer))

    def _listen(self, where: int | str, accept: Accept) -> IAddress:
        port = _bind(self._reactor, where, self._config.listen.backlog)
        listener = Listener(self._reactor, port, accept)
        self._listeners.append(listener)
        own = getattr(listener.address, "port", None)
        if own is not None:
            self._ports.exclude(own)
        return listener.address

    def startService(self) -> None:
        """Begin to serve."""
        super().startService()
        self._writer.start()
        self._sweeping.start(_SWEEP, now=False)
        self._health.startService()
        certificate = self._tls.certificate
        kind = (
            "a development certificate, which no browser trusts"
            if (certificate.is_development)
            else "the certificate"
        )
        self.log.info(
            "certificate: {kind}, {path}, for {names}, until {end:%Y-%m-%d}",
            kind=kind,
            path=str(certificate.certificate),
            names=", ".join(certificate.names),
            end=certificate.not_after,
        )
        for listener in self._listeners:
            self.log.info("listening on {address}", address=_spoken(listener.address))
        self.log.info(
            "{prefix}/<port>/ leads to http://127.0.0.1:<port>{prefix}/<port>/ for ports {ports}",
            prefix=self._config.notebooks.prefix,
            ports=str(self._config.notebooks.ports),
        )

    def _await_announcement(self, sock: socket.socket, peer: IAddress) -> None:
        if getattr(peer, "host", "") in self._proxies:
            timeout = self._config.timeouts.head
            Announcement(self._reactor, sock, peer, timeout, self._accept_tls)
        else:
            # Whoever is not a proxy could say it is anybody.
            sock.close()

    def _accept_tls(self, sock: socket.socket, peer: IAddress) -> None:
        channel = self._server.open_channel(peer)
        if channel is None:
            sock.close()
            return
        tls, high_water = self._tls.connection(), self._config.limits.buffer_bytes
        TLSTransport(self._descriptors, sock, channel, peer, tls, high_water=high_water).start()

    def _accept_plain(self, server: HTTPServer, sock: socket.socket, peer: IAddress) -> None:
        channel = server.open_channel(peer)
        if channel is None:
            sock.close()
            return
        high_water = self._config.limits.buffer_bytes
        TCPTransport(self._descriptors, sock, channel, peer, high_water=high_water).start()

    # Running.

    def _sweep(self) -> None:
        for server in self._servers:
            server.sweep()
        self._pool.sweep()
        self._bridges.sweep()
        self._writer.flush()
        if self._stopping is not None:
            self._go_on_stopping(self._stopping)

    def _record(self, request: Request, duration: float) -> None:
        head = request.head
        special = head.fields.special
        self._access_log.record(
            Entry(
                request.client,
                request.user,
                head.method,
                head.target,
                _VERSIONS[head.minor],
                request.status,
                request.body_bytes_sent,
                special.first(b"referer"),
                special.first(b"user-agent"),
                duration,
                request.port,
                request.note,
            )
        )

    # Stopping.

    def stopService(self) -> Any:
        """Take nothing new, finish what is open within the drain time, then end."""
        super().stopService()
        stopped = [listener.stop() for listener in self._listeners]
        for server in self._servers:
            server.drain()
        self._pool.close()
        self._health.stopService()
        self._stop_deadline = self._reactor.seconds() + self._config.timeouts.drain
        self._stopping = Deferred()
        self._stopping.addCallback(lambda _: self._end())
        self._reactor.callLater(0, self._go_on_stopping, self._stopping)
        return DeferredList([self._stopping, *[d for d in stopped if d is not None]])

    def _go_on_stopping(self, stopping: Deferred[None]) -> None:
        self._bridges.drain()
        busy = [channel for s in self._servers for channel in s.channels if channel.is_busy]
        late = self._reactor.seconds() >= self._stop_deadline
        if busy and late:
            self.log.warn("{count} connections did not end in time", count=len(busy))
            for channel in busy:
                channel.transport.abortConnection()
        if (not busy or late) and not stopping.called:
            stopping.callback(None)

    def _end(self) -> None:
        self._sweeping.stop()
        self._writer.close()


def make_service(config: Config, reactor: Any, *, state_directory: Path) -> IService:
    """The service that ``config`` describes; nothing is bound yet.

    :param state_directory: where the development certificate is kept, if none is configured.
    :raises CertificateError: if there is no certificate to serve with.
    """
    tls = config.tls
    if tls.certificate is not None and tls.key is not None:
        certificate = load_certificate(tls.certificate, tls.key)
    else:
        now = datetime.now(UTC)
        certificate = development_certificate(state_directory, socket.gethostname(), now)
    return ProxyService(reactor, _within_descriptors(config), certificate)


def _within_descriptors(config: Config) -> Config:
    """``config`` with no more connections than there are descriptors for.

    Whoever comes when all are in use is turned away at once, instead of waiting unheard.
    """
    wanted = config.limits.connections
    have = claim_descriptors(_OTHER_DESCRIPTORS + wanted * _DESCRIPTORS_EACH)
    fitting = max(1, (have - _OTHER_DESCRIPTORS) // _DESCRIPTORS_EACH)
    if fitting >= wanted:
        return config
    ProxyService.log.warn(
        "only {fitting} connections at once instead of {wanted}: this process may have no more "
        "than {have} descriptors; raise its LimitNOFILE",
        fitting=fitting,
        wanted=wanted,
        have=have,
    )
    return attrs.evolve(config, limits=attrs.evolve(config.limits, connections=fitting))


def _descriptors(reactor: Any) -> Descriptors:
    """Where the transports wait: the cheaper set where there is one, else the reactor."""
    return EpollSet(reactor) if hasattr(select, "epoll") else reactor


def _channel_limits(config: Config) -> ChannelLimits:
    limits, timeouts = config.limits, config.timeouts
    return ChannelLimits(
        head=HeadLimits(limits.head_bytes, limits.head_fields, limits.target_bytes),
        body_bytes=limits.body_bytes,
        body_rate=limits.body_rate,
        buffer_bytes=limits.buffer_bytes,
        handshake_timeout=timeouts.handshake,
        head_timeout=timeouts.head,
        body_timeout=timeouts.body,
        keepalive_timeout=timeouts.keepalive,
    )


def _client_limits(config: Config) -> ClientLimits:
    return ClientLimits(
        idle_connections=config.limits.connections,
        response_head_bytes=config.limits.response_head_bytes,
        buffer_bytes=config.limits.buffer_bytes,
        connect_timeout=config.timeouts.connect,
        response_timeout=config.timeouts.response,
        idle_timeout=config.timeouts.upstream_idle,
    )


def _log_writer(access: str) -> LogWriter:
    if access == "-":
        return LogWriter(_STANDARD_OUTPUT)
    return LogWriter(Path(access or "/dev/null"))


def _bind(reactor: Any, where: int | str, backlog: int) -> Any:
    """Bind a port number (on IPv6 and IPv4 both) or a Twisted endpoint; what fails is fatal."""
    if isinstance(where, str):
        endpoint = _endpoint(reactor, where)
    elif socket.has_ipv6 and _can_ipv6():
        endpoint = TCP6ServerEndpoint(reactor, where, backlog, "::")
    else:
        endpoint = TCP4ServerEndpoint(reactor, where, backlog)
    outcome: list[Any] = []
    endpoint.listen(Factory()).addBoth(outcome.append)
    if outcome and not isinstance(outcome[0], Failure):
        return outcome[0]
    reason = outcome[0].value if outcome else "the endpoint did not bind at once"
    if isinstance(reason, error.CannotListenError):
        reason = getattr(reason.socketError, "strerror", None) or reason.socketError
    raise SystemExit(f"ipyproxy: cannot listen on {where}: {reason}")


def _endpoint(reactor: Any, description: str) -> Any:
    try:
        return serverFromString(reactor, description)
    except (LookupError, ValueError) as caught:
        # An index or a name among the sockets that systemd hands over, and it has handed over none.
        raise SystemExit(
            f"ipyproxy: cannot listen on {description}: there is no such socket ({caught}); "
            "start ipyproxy by its systemd socket unit"
        ) from None


def _can_ipv6() -> bool:
    try:
        socket.socket(socket.AF_INET6).close()
    except OSError:
        return False
    return True


def _spoken(address: IAddress) -> str:
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    return str(address) if port is None else f"{host} port {port}"


def _guarded(call: Callable[[], None], log: Logger) -> Callable[[], None]:
    """``call``, but an exception is logged instead of stopping the LoopingCall for good."""

    def guarded() -> None:
        try:
            call()
        except Exception:
            log.failure("a periodic check failed; please report this")

    return guarded
