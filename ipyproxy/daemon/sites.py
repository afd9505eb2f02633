"""The sites: makes them from a configuration, around the present components.

They are made anew from each configuration, and then put in place by plain assignments. Opens, reads
and binds nothing; decides nothing about requests.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from ipyproxy.access.cors import TrustedPages
from ipyproxy.access.origins import Policy
from ipyproxy.access.sessions import OWN_COOKIES
from ipyproxy.auth.login import PasswordLogin
from ipyproxy.config import Config
from ipyproxy.daemon.components import Components, gateway_context, list_applications
from ipyproxy.daemon.galaxy import make_mounts
from ipyproxy.daemon.gate import make_gate, make_methods, reserved_fields
from ipyproxy.daemon.hosts import answered_hosts
from ipyproxy.daemon.routing import Fittings, make_routes
from ipyproxy.daemon.settings import Settings
from ipyproxy.gateway.resource import Notebooks
from ipyproxy.net.hosts import parse_address
from ipyproxy.routes.notebooks import STATE_PATH, NotebookHosts, ServedPorts, StatePaths
from ipyproxy.routes.table import RouteTable
from ipyproxy.status.site import StatusSite, health_resources
from ipyproxy.web.acme import Challenges
from ipyproxy.web.login import LoginPages
from ipyproxy.web.site import Mount, PublicSite, RedirectSite, Root
from ipyproxy.web.waiting import States


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
    compresses = bool(config.compression.codings)
    context = replace(
        gateway_context(components),
        trusted_origins=frozenset(origin.encode("ascii") for origin in config.site.trusted_origins),
        trusted_pages=trusted_pages,
        compression=components.compression if compresses else None,
        preloads=components.preloads if compresses else None,
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
    list_applications(components, config)
    fittings = Fittings(components.upstreams, context, reserved, components.disks, own)
    tools = make_mounts(config.galaxy, components.galaxy, context, reserved, cookies)
    return make_routes(config, root, notebooks, fittings, tools), fittings


def _status(components: Components, names: Iterable[str]) -> StatusSite:
    resources = {**health_resources(components.condition), **components.sights.resources}
    # Through a tunnel, the address on the other machine is localhost too.
    return StatusSite(resources, Policy(("localhost", "127.0.0.1", "::1", *names), ()))
