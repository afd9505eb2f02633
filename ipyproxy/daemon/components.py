"""The components of the daemon, and what each configuration makes around them.

The components are made once and outlive every reload: they own open connections, states and
counters. Everything else is made anew from each configuration and put in place by plain
assignments. Opens, reads and binds nothing; decides nothing about requests.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from ipyproxy.access.cors import TrustedPages
from ipyproxy.access.origins import Policy
from ipyproxy.access.sessions import OWN_COOKIES
from ipyproxy.auth.attempts import LoginAttempts
from ipyproxy.auth.login import PasswordLogin
from ipyproxy.auth.revocations import Revocations
from ipyproxy.auth.sessions import Sessions
from ipyproxy.auth.threads import WorkThreads
from ipyproxy.clock import Calendar
from ipyproxy.config import Config
from ipyproxy.daemon.galaxy import GalaxyTools, make_mounts
from ipyproxy.daemon.gate import AuthContext, make_gate, make_methods, reserved_fields
from ipyproxy.daemon.hosts import answered_hosts
from ipyproxy.daemon.limits import clients_limits, upstream_limits
from ipyproxy.daemon.live import LiveRoutes
from ipyproxy.daemon.retirement import Memories, Retirement
from ipyproxy.daemon.routing import Fittings, make_routes
from ipyproxy.daemon.settings import Settings
from ipyproxy.encoding.compression import Compression, Dynamic
from ipyproxy.encoding.store import Store
from ipyproxy.encoding.worker import Worker
from ipyproxy.files.disk import Disks
from ipyproxy.gateway.exchange import GatewayContext
from ipyproxy.gateway.preloads import Preloads
from ipyproxy.gateway.resource import Notebooks
from ipyproxy.net.address import ClientTLS
from ipyproxy.net.descriptors import Descriptors, Reactor
from ipyproxy.net.hosts import parse_address
from ipyproxy.net.names import Names, system_look_up
from ipyproxy.net.sockets import Dial, Dialling
from ipyproxy.records.statistics import Histogram, Statistics
from ipyproxy.routes.notebooks import STATE_PATH, NotebookHosts, ServedPorts, StatePaths
from ipyproxy.routes.route import Server
from ipyproxy.routes.table import RouteTable
from ipyproxy.server.clients import Clients
from ipyproxy.server.refusals import Audit
from ipyproxy.status.condition import Condition
from ipyproxy.status.facts import Sources
from ipyproxy.status.lag import LoopLag
from ipyproxy.status.site import Sights, StatusSite, health_resources, make_sights
from ipyproxy.threads import PatientThreads
from ipyproxy.tls import client_subject
from ipyproxy.upstream.advice import Adviser
from ipyproxy.upstream.health import HealthChecker
from ipyproxy.upstream.pool import Pool
from ipyproxy.upstream.tenancy import Tenants
from ipyproxy.upstream.upstream import Upstream, UpstreamTable
from ipyproxy.web.acme import Challenges
from ipyproxy.web.login import LoginPages
from ipyproxy.web.site import Mount, PublicSite, RedirectSite, Root
from ipyproxy.web.waiting import States
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
    revocations = Revocations(PatientThreads(reactor, 1, "revocations").run)
    tenants.leaving.append(lambda name, ago: pool.part(name))
    tenants.leaving.append(lambda name, ago: revocations.revoke(name, time.time() - ago))
    compression = make_compression(reactor, config)
    tenants.leaving.append(lambda name, ago: compression.store.drop(upstreams.notebook(int(name))))
    preloads = Preloads()
    tenants.leaving.append(lambda name, ago: preloads.drop(upstreams.notebook(int(name))))
    tenants.strict = bool(config.auth.methods)
    health = HealthChecker(
        reactor,
        config.health,
        config.notebooks.prefix,
        upstreams,
        may_probe=tenants.may_probe,
        dial=dials.probes,
    )
    health.connect_timeout = config.timeouts.connect
    asking = PatientThreads(reactor, 4, "names")
    pool.names = health.names = Names(
        lambda name: asking.run(partial(system_look_up, name)), reactor
    )
    sources = Sources(
        upstreams=upstreams,
        health=health,
        statistics=Statistics(reactor.seconds()),
        bridges=Bridges(reactor, config.limits.message_bytes),
        clients=clients,
        condition=Condition(Calendar(reactor.seconds, time.time)),
        lag=LoopLag(reactor),
        sweeps=Histogram(),
        compressed=compression.store,
    )
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
        auth=AuthContext(
            reactor,
            time.time,
            # One lookout for each file.
            PatientThreads(reactor, 2, "users and keys").run,
            WorkThreads(reactor),
            LoginAttempts(clients, reactor, Audit(clients)),
            revocations,
            Sessions(PatientThreads(reactor, 1, "sessions").run, time.time),
            lambda connection: client_subject(connection.tls),
        ),
        compression=compression,
        preloads=preloads,
        challenges=PatientThreads(reactor, 1, "ACME challenges"),
        disks=Disks(reactor),
        live=LiveRoutes(upstreams, retirement),
        retirement=retirement,
        listed={},
        galaxy=galaxy,
    )
    _list_applications(made, config)
    return made


def _list_applications(components: Components, config: Config) -> None:
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


def make_compression(reactor: Reactor, config: Config) -> Compression:
    """Make the compression of answers that ``config`` describes."""
    worker, idler = Worker(reactor, "compression", 0), Worker(reactor, "better compression", 19)
    compression = Compression(Store(config.compression.cache_bytes), worker, idler)
    _configure(compression, config)
    return compression


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


class Sites(NamedTuple):
    """The sites: ``public`` on HTTPS, ``redirects`` on plain HTTP, ``status`` on its own listener.

    Live routes use ``fittings`` once these sites are in place.
    """

    public: PublicSite
    redirects: RedirectSite
    status: StatusSite
    fittings: Fittings


def make_sites(components: Components, settings: Settings, https_port: int) -> Sites:
    """The sites that ``settings`` describe, around ``components``.

    :param https_port: the public port of HTTPS.
    """
    config = settings.config
    names = answered_hosts(config, settings.certificates)
    hosts = None
    if domain := config.site.notebook_domain:
        hosts = NotebookHosts(domain, config.notebooks.prefix)
    trusted_pages = (
        TrustedPages(config.site.trusted_origins) if config.site.trusted_origins else None
    )
    policy = Policy(names, config.site.trusted_origins)
    methods = make_methods(config.auth, settings.auth_files, components.auth, config.galaxy.path)
    gate = make_gate(config.auth, methods, config.notebooks.prefix, components.auth)
    passwords = methods.get("htpasswd")
    login = None
    if {"htpasswd", "link"} & set(methods):
        typed = passwords if isinstance(passwords, PasswordLogin) else None
        login = LoginPages(typed, components.auth.sessions, _operator(settings))
    routes, fittings = _routes(components, config, trusted_pages, login=login is not None)
    return Sites(
        PublicSite(
            routes,
            policy,
            gate,
            trusted_pages,
            hosts,
            states=StatePaths(config.notebooks.prefix),
            error_pages=settings.error_pages,
            login=login,
            hsts=hsts(settings),
            live=components.live,
        ),
        RedirectSite(policy, https_port, _challenges(components, settings)),
        _status(components, names),
        fittings,
    )


def _challenges(components: Components, settings: Settings) -> Challenges | None:
    """The answers to ACME's http-01 challenges on plain HTTP, if there are any."""
    acme, own = settings.config.listen.acme_directory, settings.acme
    directories = [*([acme] if acme else []), *([own.store.http] if own else [])]
    if not directories:
        return None
    return Challenges(directories, components.auth.reactor, components.challenges.run)


def hsts(settings: Settings) -> int:
    """The max-age of HSTS in seconds, which depends on the certificates.

    With a self-signed certificate it is 0: with HSTS, browsers let nobody pass the warning.
    """
    vouched_for = not any(each.is_self_signed for each in settings.certificates)
    return settings.config.tls.hsts if vouched_for else 0


def _operator(settings: Settings) -> str:
    """The operator to name on pages: the configured one, or a name of this host."""
    site = settings.config.site
    names = [*site.hosts, *(name for each in settings.certificates for name in each.names)]
    hosts = [name for name in names if name[:2] != "*." and parse_address(name) is None]
    return site.operator or min(hosts, key=lambda name: name == "localhost", default="ipyproxy")


def _routes(
    components: Components, config: Config, trusted_pages: TrustedPages | None, *, login: bool
) -> tuple[RouteTable[Mount], Fittings]:
    prefix = config.notebooks.prefix
    ports = ServedPorts(config.notebooks.ports, components.own_ports)
    context = GatewayContext(
        components.pool,
        components.health,
        components.bridges,
        components.tenants,
        components.adviser,
        frozenset(origin.encode("ascii") for origin in config.site.trusted_origins),
        trusted_pages,
        components.compression if config.compression.codings else None,
        components.preloads if config.compression.codings else None,
    )
    # Also without a login in this configuration: a browser keeps cookies from an earlier one.
    own = OWN_COOKIES
    cookies = tuple(name.encode("ascii") for name in config.notebooks.site_cookies) + own
    reserved = reserved_fields(config.auth)
    applications = config.notebooks.applications
    notebooks = Notebooks(
        ports, prefix, cookies, components.upstreams, context, reserved, applications
    )
    root = Root(prefix, notebooks, login=login)
    root.put(STATE_PATH, States(ports, components.upstreams, components.health))
    pages = health_resources(components.condition)
    if config.status.public:
        pages = {**pages, **components.sights.resources}
    for path, resource in pages.items():
        root.put(path, resource)
    _list_applications(components, config)
    fittings = Fittings(components.upstreams, context, reserved, components.disks, own)
    tools = make_mounts(config.galaxy, components.galaxy, context, reserved, cookies)
    return make_routes(config, root, notebooks, fittings, tools), fittings


def _status(components: Components, names: Iterable[str]) -> StatusSite:
    resources = {**health_resources(components.condition), **components.sights.resources}
    # Through a tunnel, the address on the other machine is localhost too.
    return StatusSite(resources, Policy(("localhost", "127.0.0.1", "::1", *names), ()))
