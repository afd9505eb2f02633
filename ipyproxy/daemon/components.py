"""What a configuration determines, and the rooms that it is wired around.

The rooms are made once and outlive every reload: open connections, and all that is known and
counted, are theirs. The rest is made anew from each configuration and then put in place by plain
assignments. Opens, reads and binds nothing; decides nothing about requests.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from ipyproxy.access.cors import Portal
from ipyproxy.access.origins import Policy
from ipyproxy.auth.attempts import LoginAttempts
from ipyproxy.auth.revocations import Revocations
from ipyproxy.auth.threads import WorkThreads
from ipyproxy.clock import Calendar
from ipyproxy.config import Config
from ipyproxy.daemon.gate import Surroundings, make_gate, own_cookies, withheld
from ipyproxy.daemon.settings import Settings
from ipyproxy.gateway.exchange import Carriage
from ipyproxy.gateway.resource import Notebooks
from ipyproxy.http1.head import HeadLimits
from ipyproxy.net.descriptors import Descriptors
from ipyproxy.net.tlsdial import ClientTLS
from ipyproxy.records.statistics import Histogram, Statistics
from ipyproxy.routes.notebooks import STATE_PATH, NotebookHosts, ServedPorts, StatePaths
from ipyproxy.server.clients import Crowd, CrowdLimits, Rate, excess_beside
from ipyproxy.server.http1 import ChannelLimits
from ipyproxy.server.refusals import Audit
from ipyproxy.status.condition import Condition
from ipyproxy.status.facts import Sources
from ipyproxy.status.lag import LoopLag
from ipyproxy.status.site import Sights, StatusSite, health_resources, make_sights
from ipyproxy.tls import client_subject
from ipyproxy.upstream.advice import Adviser
from ipyproxy.upstream.connection import ClientLimits
from ipyproxy.upstream.health import HealthChecker
from ipyproxy.upstream.places import PortPlaces
from ipyproxy.upstream.pool import Pool
from ipyproxy.upstream.tenancy import Tenants
from ipyproxy.upstream.upstream import UpstreamTable
from ipyproxy.web.acme import Challenges
from ipyproxy.web.site import PublicSite, RedirectSite, Root
from ipyproxy.web.waiting import States
from ipyproxy.websocket.bridge import Bridges


class Rooms(NamedTuple):
    """What outlives a reload.

    ``own_ports`` are those that the proxy itself listens on; ``sights`` show the administrator what
    goes on.
    """

    upstreams: UpstreamTable
    places: PortPlaces
    pool: Pool
    health: HealthChecker
    bridges: Bridges
    adviser: Adviser
    crowd: Crowd
    statistics: Statistics
    condition: Condition
    lag: LoopLag
    sweeps: Histogram
    sights: Sights
    tenants: Tenants
    own_ports: set[int]
    auth: Surroundings


def make_rooms(reactor: Any, descriptors: Descriptors, config: Config, tenants: Tenants) -> Rooms:
    """The rooms of one process, with the limits of ``config``."""
    upstreams = UpstreamTable()
    crowd = Crowd(crowd_limits(config))
    pool = Pool(reactor, descriptors, client_limits(config), tenants.confirm)
    revocations = Revocations()
    tenants.leaving.append(lambda port, ago: pool.part(port))
    tenants.leaving.append(lambda port, ago: revocations.revoke(port, time.time() - ago))
    tenants.strict = bool(config.auth.methods)
    health = HealthChecker(
        reactor,
        config.health,
        config.notebooks.prefix,
        upstreams,
        may_probe=tenants.may_probe,
    )
    health.connect_timeout = config.timeouts.connect
    sources = Sources(
        upstreams=upstreams,
        health=health,
        statistics=Statistics(reactor.seconds(), upstreams.knows),
        bridges=Bridges(reactor, config.limits.message_bytes),
        crowd=crowd,
        condition=Condition(Calendar(reactor.seconds, time.time)),
        lag=LoopLag(reactor),
        sweeps=Histogram(),
    )
    return Rooms(
        upstreams=upstreams,
        places=PortPlaces(config.limits.connections_per_port),
        pool=pool,
        health=health,
        bridges=sources.bridges,
        adviser=Adviser(reactor.seconds),
        crowd=crowd,
        statistics=sources.statistics,
        condition=sources.condition,
        lag=sources.lag,
        sweeps=sources.sweeps,
        sights=make_sights(sources, reactor),
        tenants=tenants,
        own_ports=set(),
        auth=Surroundings(
            reactor,
            time.time,
            WorkThreads(reactor),
            LoginAttempts(crowd, reactor, Audit(crowd)),
            revocations,
            lambda transport: client_subject(transport.tls),
        ),
    )


def refit(rooms: Rooms, config: Config) -> None:
    """Give the rooms the limits of another ``config``; what is open stays open."""
    rooms.tenants.strict = bool(config.auth.methods)
    rooms.places.resize(config.limits.connections_per_port)
    rooms.pool.limits = client_limits(config)
    rooms.health.configure(config.health, config.notebooks.prefix)
    rooms.health.connect_timeout = config.timeouts.connect
    rooms.bridges.message_limit = config.limits.message_bytes
    rooms.crowd.limits = crowd_limits(config)


def secure(rooms: Rooms, tls: ClientTLS | None) -> None:
    """Let connections to notebooks be made on the terms of ``tls``; None: plainly.

    On other terms than before, nothing begins any more on what is open.
    """
    if rooms.pool.tls != tls:
        rooms.pool.part()
    rooms.pool.tls = rooms.health.tls = tls


class Sites(NamedTuple):
    """What is served: ``public`` by HTTPS, ``redirects`` by plain HTTP, ``status`` on its own."""

    public: PublicSite
    redirects: RedirectSite
    status: StatusSite


def make_sites(rooms: Rooms, settings: Settings, https_port: int) -> Sites:
    """The sites that ``settings`` describe, around ``rooms``.

    :param https_port: the public port of HTTPS.
    :raises ConfigError: if a file of users or keys cannot be used.
    """
    config = settings.config
    names = {name for each in settings.certificates for name in each.names}
    names.update(config.site.hosts, config.certificate_names)
    hosts = None
    if domain := config.site.notebook_domain:
        names.add(f"*.{domain}")
        hosts = NotebookHosts(domain, config.notebooks.prefix)
    portal = Portal(config.site.trusted_origins) if config.site.trusted_origins else None
    policy = Policy(names, config.site.trusted_origins)
    gate = make_gate(config.auth, config.notebooks.prefix, rooms.auth)
    webroots = [config.listen.acme_directory] if config.listen.acme_directory else []
    if settings.acme is not None:
        webroots.append(settings.acme.store.http)
    return Sites(
        PublicSite(
            _root(rooms, config, portal),
            policy,
            gate,
            portal,
            hosts,
            states=StatePaths(config.notebooks.prefix),
            hsts=hsts(settings),
        ),
        RedirectSite(policy, https_port, Challenges(*webroots) if webroots else None),
        _status(rooms, names),
    )


def hsts(settings: Settings) -> int:
    """For how many seconds browsers are to insist on HTTPS, with the certificates that there are.

    Whoever has gone on past the warning of a self-signed one could never come back.
    """
    vouched_for = not any(each.is_self_signed for each in settings.certificates)
    return settings.config.tls.hsts if vouched_for else 0


def _root(rooms: Rooms, config: Config, portal: Portal | None) -> Root:
    prefix = config.notebooks.prefix
    ports = ServedPorts(config.notebooks.ports, rooms.own_ports)
    carriage = Carriage(
        rooms.pool,
        rooms.health,
        rooms.bridges,
        rooms.tenants,
        rooms.adviser,
        frozenset(origin.encode("ascii") for origin in config.site.trusted_origins),
        rooms.places,
        portal,
    )
    cookies = tuple(name.encode("ascii") for name in config.notebooks.site_cookies)
    cookies += own_cookies(config.auth)
    kept_back = withheld(config.auth)
    applications = config.notebooks.applications
    notebooks = Notebooks(
        ports, prefix, cookies, rooms.upstreams, carriage, kept_back, applications
    )
    root = Root(prefix, notebooks)
    root.put(STATE_PATH, States(ports, rooms.upstreams, rooms.health))
    own = health_resources(rooms.condition)
    if config.status.public:
        own = {**own, **rooms.sights.resources}
    for path, resource in own.items():
        root.put(path, resource)
    return root


def _status(rooms: Rooms, names: Iterable[str]) -> StatusSite:
    resources = {**health_resources(rooms.condition), **rooms.sights.resources}
    # By a tunnel, its end on another machine is localhost too.
    return StatusSite(resources, Policy(("localhost", "127.0.0.1", "::1", *names), ()))


def channel_limits(config: Config) -> ChannelLimits:
    """Bounds of a client's connection."""
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


def crowd_limits(config: Config) -> CrowdLimits:
    """What clients may do."""
    limits = config.limits
    return CrowdLimits(
        limits.connections,
        limits.connections_per_client,
        connecting=Rate.of(limits.connection_rate, limits.connection_burst),
        requests=Rate.of(limits.request_rate, limits.request_burst),
        login_failures=limits.login_failures,
        excess=excess_beside(limits.connections),
    )


def client_limits(config: Config) -> ClientLimits:
    """Bounds of connections to notebooks."""
    return ClientLimits(
        idle_connections=config.limits.connections,
        response_head_bytes=config.limits.response_head_bytes,
        buffer_bytes=config.limits.buffer_bytes,
        connect_timeout=config.timeouts.connect,
        response_timeout=config.timeouts.response,
        idle_timeout=config.timeouts.upstream_idle,
    )
