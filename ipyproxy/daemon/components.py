"""The components of a process, and how they take another configuration.

They are made once and outlive every reload: open connections, and all that is known and counted,
are theirs. What is made anew each time is in :mod:`ipyproxy.daemon.sites`. Opens, reads and binds
nothing; decides nothing about requests.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from ipyproxy.clock import Calendar
from ipyproxy.config import Config
from ipyproxy.daemon.galaxy import GalaxyTools
from ipyproxy.daemon.gate import AuthContext, make_auth_context
from ipyproxy.daemon.limits import clients_limits, upstream_limits
from ipyproxy.daemon.live import LiveRoutes
from ipyproxy.daemon.retirement import Memories, Retirement
from ipyproxy.encoding.compression import Compression, Dynamic
from ipyproxy.encoding.store import Store
from ipyproxy.encoding.worker import Worker
from ipyproxy.files.disk import Disks
from ipyproxy.gateway.exchange import GatewayContext
from ipyproxy.gateway.preloads import Preloads
from ipyproxy.net.address import ClientTLS
from ipyproxy.net.descriptors import Descriptors, Reactor
from ipyproxy.net.names import Names, system_look_up
from ipyproxy.net.sockets import Dial, Dialling
from ipyproxy.records.statistics import Histogram, Statistics
from ipyproxy.routes.route import Server
from ipyproxy.server.clients import Clients
from ipyproxy.status.condition import Condition
from ipyproxy.status.facts import Sources
from ipyproxy.status.lag import LoopLag
from ipyproxy.status.site import Sights, make_sights
from ipyproxy.threads import PatientThreads
from ipyproxy.upstream.advice import Adviser
from ipyproxy.upstream.health import HealthChecker
from ipyproxy.upstream.pool import Pool
from ipyproxy.upstream.tenancy import Tenants
from ipyproxy.upstream.upstream import Upstream, UpstreamTable
from ipyproxy.websocket.bridge import Bridges


class Components(NamedTuple):
    """The components that outlive a reload.

    ``own_ports`` are those that the proxy itself listens on; ``sights`` has the status pages;
    ``listed`` are the servers of routes in the configuration.
    """

    upstreams: UpstreamTable
    pool: Pool
    health: HealthChecker
    bridges: Bridges
    adviser: Adviser
    clients: Clients
    statistics: Statistics
    condition: Condition
    lag: LoopLag
    sweeps: Histogram
    sources: Sources
    sights: Sights
    tenants: Tenants
    own_ports: set[int]
    auth: AuthContext
    compression: Compression
    preloads: Preloads
    challenges: PatientThreads
    disks: Disks
    live: LiveRoutes
    retirement: Retirement
    listed: dict[Server, Upstream]
    galaxy: GalaxyTools


class Dials(NamedTuple):
    """How connections to upstreams are dialled: for requests, and for probes."""

    requests: Dialling = Dial
    probes: Dialling = Dial


def make_components(
    reactor: Reactor,
    descriptors: Descriptors,
    config: Config,
    tenants: Tenants,
    dials: Dials = Dials(),  # noqa: B008 (a tuple)
) -> Components:
    """The components of one process, with the limits of ``config``."""
    upstreams = UpstreamTable(config.limits.connections_per_port)
    clients = Clients(clients_limits(config))
    pool = Pool(reactor, descriptors, upstream_limits(config), tenants.confirm, dials.requests)
    health = _make_health(reactor, config, upstreams, tenants, dials.probes)
    pool.names = health.names = _make_names(reactor)
    compression = _make_compression(reactor, config)
    preloads = Preloads()
    sources = _make_sources(reactor, config, upstreams, health, clients, compression.store)
    memories = Memories(upstreams, pool, health, sources.statistics, compression.store, preloads)
    retirement = Retirement(memories, reactor.seconds, config.timeouts.drain)
    own_ports: set[int] = set()
    galaxy = GalaxyTools(reactor, upstreams, retirement.let_go, own_ports)
    galaxy.configure(config.galaxy)
    made = Components(
        upstreams=upstreams,
        pool=pool,
        health=health,
        bridges=sources.bridges,
        adviser=Adviser(reactor.seconds),
        clients=clients,
        statistics=sources.statistics,
        condition=sources.condition,
        lag=sources.lag,
        sweeps=sources.sweeps,
        sources=sources,
        sights=make_sights(sources, reactor),
        tenants=tenants,
        own_ports=own_ports,
        auth=make_auth_context(reactor, clients),
        compression=compression,
        preloads=preloads,
        challenges=PatientThreads(reactor, 1, "ACME challenges"),
        disks=Disks(reactor),
        live=LiveRoutes(upstreams, retirement),
        retirement=retirement,
        listed={},
        galaxy=galaxy,
    )
    tenants.strict = bool(config.auth.methods)
    tenants.leaving.append(partial(_part_from_tenant, made))
    list_applications(made, config)
    return made


def _make_health(
    reactor: Reactor, config: Config, upstreams: UpstreamTable, tenants: Tenants, dial: Dialling
) -> HealthChecker:
    health = HealthChecker(
        reactor,
        config.health,
        config.notebooks.prefix,
        upstreams,
        may_probe=tenants.may_probe,
        dial=dial,
    )
    health.connect_timeout = config.timeouts.connect
    return health


def _make_names(reactor: Reactor) -> Names:
    asking = PatientThreads(reactor, 4, "names")
    return Names(lambda name: asking.run(partial(system_look_up, name)), reactor)


def _make_compression(reactor: Reactor, config: Config) -> Compression:
    worker, idler = Worker(reactor, "compression", 0), Worker(reactor, "better compression", 19)
    compression = Compression(Store(config.compression.cache_bytes), worker, idler)
    _configure(compression, config)
    return compression


def _make_sources(
    reactor: Reactor,
    config: Config,
    upstreams: UpstreamTable,
    health: HealthChecker,
    clients: Clients,
    compressed: Store,
) -> Sources:
    """What the status page and the metrics read."""
    return Sources(
        upstreams=upstreams,
        health=health,
        statistics=Statistics(reactor.seconds()),
        bridges=Bridges(reactor, config.limits.message_bytes),
        clients=clients,
        condition=Condition(Calendar(reactor.seconds, time.time)),
        lag=LoopLag(reactor),
        sweeps=Histogram(),
        compressed=compressed,
    )


def _part_from_tenant(components: Components, name: str, ago: float) -> None:
    """Forget all that is known of a notebook whose port has another tenant now.

    :param ago: how many seconds ago the former one was last seen.
    """
    components.pool.part(name)
    components.auth.revocations.revoke(name, time.time() - ago)
    notebook = components.upstreams.notebook(int(name))
    components.compression.store.drop(notebook)
    components.preloads.drop(notebook)


def list_applications(components: Components, config: Config) -> None:
    """Make a record for each server of the routes, with the configured number of places."""
    places: dict[Server, int] = {}
    for entry in config.routes:
        for server in entry.servers:
            places[server] = max(entry.connections, places.get(server, 0))
    listed = components.listed
    for server, most in places.items():
        if server not in listed:
            listed[server] = components.upstreams.acquire(server.name, server.address)
        listed[server].places.resize(most)


def _release_unlisted(components: Components, config: Config) -> None:
    """Let go of servers that the configuration does not name any more.

    Call it after the new routes are in place, since until then requests still go to these servers.
    """
    named = {server for entry in config.routes for server in entry.servers}
    for server in [server for server in components.listed if server not in named]:
        components.retirement.let_go(components.listed.pop(server))


def _configure(compression: Compression, config: Config) -> None:
    table = config.compression
    codings = tuple(name.encode("ascii") for name in table.codings)
    compression.configure(codings, table.cache_bytes, dynamic=Dynamic(table.dynamic))


def refit(components: Components, config: Config) -> None:
    """Give the components the limits of another ``config``; what is open stays open."""
    components.tenants.strict = bool(config.auth.methods)
    components.upstreams.resize(config.limits.connections_per_port)
    _release_unlisted(components, config)
    components.retirement.patience = config.timeouts.drain
    components.galaxy.configure(config.galaxy)
    components.pool.limits = upstream_limits(config)
    components.health.configure(config.health, config.notebooks.prefix)
    components.health.connect_timeout = config.timeouts.connect
    components.bridges.message_limit = config.limits.message_bytes
    components.clients.limits = clients_limits(config)
    _configure(components.compression, config)


def secure(
    components: Components,
    notebooks: ClientTLS | None,
    applications: Mapping[str, ClientTLS] = MappingProxyType({}),
) -> None:
    """Set the terms for TLS to upstreams; None, or not listed: no TLS.

    If the terms of an upstream change, no request is sent on its open connections any more.

    :param applications: the terms by names of servers.
    """
    components.upstreams.notebook_tls = notebooks
    for upstream in components.upstreams.all():
        is_notebook = upstream.port is not None
        # A live route has its own terms.
        tls = notebooks if is_notebook else applications.get(upstream.name, upstream.tls)
        if upstream.tls != tls:
            components.pool.part(upstream.name)
            upstream.tls = tls


def gateway_context(components: Components) -> GatewayContext:
    """What exchanges need, where no page is trusted and answers pass as they are."""
    return GatewayContext(
        components.pool,
        components.health,
        components.bridges,
        components.tenants,
        components.adviser,
    )
