"""Makes the table of routes that a configuration describes, with the resource of each.

Knows the kinds of destinations. Opens, reads and dials nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote_from_bytes

from twisted.web.resource import Resource

from ipyproxy.access.reserved import ReservedFields, dropping_reserved
from ipyproxy.config import Config
from ipyproxy.config.routes import OWN_PATH
from ipyproxy.files.disk import Disks
from ipyproxy.files.named import NamedFiles
from ipyproxy.files.resource import Files
from ipyproxy.gateway.application import ApplicationResource
from ipyproxy.gateway.exchange import GatewayContext, RouteWork
from ipyproxy.http.rewriting import Rewriting
from ipyproxy.net.hosts import as_in_field
from ipyproxy.routes.route import Application, Notebooks, Redirect, Route, StaticFiles
from ipyproxy.routes.table import RouteTable
from ipyproxy.upstream.upstream import Upstream, UpstreamTable
from ipyproxy.web.resources import RedirectResource
from ipyproxy.web.site import PREVAILS, YIELDS, Mount, Root

# Characters that a path may contain unencoded (RFC 3986 section 3.3).
_PLAIN = "/~!$&'()*+,;=:@"


class Fittings(NamedTuple):
    """What routes to applications share.

    :ivar reserved: fields that a client may not send to an upstream.
    :ivar disks: the disks of directories with files.
    :ivar cookies: names of the proxy's own cookies, which are never sent upstream.
    """

    upstreams: UpstreamTable
    context: GatewayContext
    reserved: ReservedFields | None
    disks: Disks
    cookies: tuple[bytes, ...]


def make_routes(
    config: Config,
    root: Root,
    notebooks: Resource,
    fittings: Fittings,
    tools: Iterable[tuple[str, str, Mount]] = (),
) -> RouteTable[Mount]:
    """The table: the proxy's own pages and the notebooks, then the routes in the configuration.

    The proxy's own pages are at every host; a live route replaces the front page. Below
    ``site.notebook_domain`` there are only notebooks.

    :param tools: the mounts of interactive tools, by host and path; an empty host stands for all.
    """
    table: RouteTable[Mount] = RouteTable()
    prefix = config.notebooks.prefix
    own = root.children.get(OWN_PATH[1:].encode("ascii"))
    domain = config.site.notebook_domain
    for name in ("", "*." + domain) if domain else ("",):
        of_notebooks = Mount(notebooks, Route(Notebooks(), name, prefix))
        of_root = Mount(root, Route(Notebooks()), rank=PREVAILS if name else YIELDS)
        table.put(name.encode("ascii"), b"/", of_root)
        table.put(name.encode("ascii"), prefix.encode("ascii"), of_notebooks)
    hosts = {b"", *(as_in_field(entry.host) for entry in config.routes)}
    if own is not None:
        of_own = Mount(own, Route(Notebooks(), path=OWN_PATH), rank=PREVAILS)
        for host in hosts:
            table.put(host, OWN_PATH.encode("ascii"), of_own)
    for entry in config.routes:
        route = entry.route
        mount = Mount(_resource(route, fittings), route)
        table.put(as_in_field(route.host), route.path.encode("ascii"), mount)
    for name, path, mount in tools:
        for host in [name.encode("ascii")] if name else hosts:
            table.put(host, path.encode("ascii"), mount)
    return table


def _resource(route: Route, fittings: Fittings) -> Resource:
    destination = route.destination
    if isinstance(destination, Redirect):
        return RedirectResource(destination.to.encode("ascii"), destination.status)
    if isinstance(destination, StaticFiles):
        return Files(
            Path(destination.directory),
            fittings.disks,
            prefix=route.path,
            max_age=destination.max_age,
            immutable=destination.immutable,
            compression=fittings.context.compression,
        )
    assert isinstance(destination, Application)
    # The servers of the configuration have their records by now.
    upstreams = [fittings.upstreams.server(server.name) for server in destination.servers]
    return make_application(route, destination, upstreams, fittings)


def make_application(
    route: Route,
    application: Application,
    upstreams: Sequence[Upstream],
    fittings: Fittings,
    work: RouteWork | None = None,
) -> Resource:
    """The resource of a route to an application on ``upstreams``.

    :param work: the route's open work, if the route can be removed.
    """
    server = application.servers[0]
    rewriting = Rewriting(
        authority=str(server.address).encode("ascii", "backslashreplace"),
        prefix=quote_from_bytes(route.prefix, _PLAIN).encode("ascii") + b"/",
        port=0,
        site_cookies=fittings.cookies,
        drop_reserved=dropping_reserved(
            fittings.reserved,
            [line.partition(b":")[0].decode("ascii") for line in route.sent],
        ),
        scheme=b"https" if server.tls_name else b"http",
        manners=route.manners,
        confined=False,
        stripped=route.strip and route.path != "/",
        sent=route.sent,
        prepended=application.below,
        tells=route.tells,
        redirects=route.redirects,
    )
    context = fittings.context
    if application.sendfile:
        named_files = NamedFiles(map(Path, application.sendfile), fittings.disks)
        context = replace(context, named_files=named_files)
    return ApplicationResource(upstreams, rewriting, context, route.timeout, work)
