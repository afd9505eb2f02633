"""Live routes, which come and go while the proxy runs: JupyterHub's, those of containers.

They outlive a reload of the configuration. Knows how to make a resource for a route. It is made at
the first request, so an unused route takes little more memory than its text. Knows nothing of the
sources of routes, or of how these show them.
"""

from __future__ import annotations

from collections.abc import Sequence

from ipyproxy.config.routes import OWN_PATH
from ipyproxy.daemon.retirement import Retirement
from ipyproxy.daemon.routing import Fittings, make_application
from ipyproxy.gateway.exchange import RouteWork
from ipyproxy.net.address import ClientTLS
from ipyproxy.routes.route import Application, Route
from ipyproxy.routes.table import RouteTable
from ipyproxy.server.request import Unserved
from ipyproxy.upstream.upstream import Upstream, UpstreamTable
from ipyproxy.web.site import Mount


class RouteRefusedError(ValueError):
    """A route is not allowed; the message says why."""


class LiveRoute:
    """One route, and its resource if it has been made.

    :ivar work: its open work; None: there was no request yet.
    """

    __slots__ = ("mount", "places", "route", "tls", "unserved", "upstreams", "work")

    def __init__(
        self, route: Route, tls: ClientTLS | None, places: int, unserved: Unserved | None
    ) -> None:
        self.route = route
        self.tls = tls
        self.places = places
        self.unserved = unserved
        self.mount: Mount | None = None
        self.upstreams: Sequence[Upstream] = ()
        self.work: RouteWork | None = None


class LiveRoutes:
    """The live routes; see :class:`ipyproxy.web.site.LiveMounts`.

    Paths are stored decoded, and compared with a request's decoded path. The request goes upstream
    with the path as it was sent.
    """

    def __init__(self, upstreams: UpstreamTable, retirement: Retirement) -> None:
        self._upstreams = upstreams
        self._retirement = retirement
        self._table: RouteTable[LiveRoute] = RouteTable()
        self.count = 0
        """The number of routes."""
        self._fittings: Fittings | None = None
        self._used: dict[LiveRoute, None] = {}
        self._bridged: set[RouteWork] = set()

    def fit(self, fittings: Fittings) -> None:
        """Use the fittings of another configuration."""
        self._fittings = fittings
        for live in self._used:
            live.mount = None

    def put(
        self,
        host: bytes,
        path: bytes,
        route: Route,
        *,
        tls: ClientTLS | None = None,
        places: int = 1024,
        unserved: Unserved | None = None,
    ) -> LiveRoute:
        """Set ``route``, whose destination is an application, at ``host`` and ``path``.

        It replaces a former route there. If the former one leads to the same place, that one stays
        instead, and so do its WebSockets. Returns the route that is there then.

        :param host: lower-case; empty: any.
        :param path: decoded; begins with a slash, ends without one.
        :param tls: returns the terms for TLS to its servers; None: no TLS.
        :param places: most exchanges and bridges for each server.
        :param unserved: answers a request if its server does not; None: the site does.
        :raises RouteRefusedError: at the paths of the proxy's own pages.
        """
        self.check(path)
        assert isinstance(route.destination, Application)
        former = self._table.at(host, path)
        if former is not None:
            if former.tls == tls and former.route.leads_as(route):
                return former
            self._end(former)
        else:
            self.count += 1
        live = LiveRoute(route, tls, places, unserved)
        self._table.put(host, path, live)
        return live

    def check(self, path: bytes) -> None:
        """Raise :class:`RouteRefusedError` at the paths of the proxy's own pages."""
        own = OWN_PATH.encode("ascii")
        if path == own or path.startswith(own + b"/"):
            raise RouteRefusedError(f"{OWN_PATH} is the proxy's own")

    def at(self, host: bytes, path: bytes) -> LiveRoute | None:
        """The route exactly at ``host`` and ``path``, from any source."""
        return self._table.at(host, path)

    def remove(self, host: bytes, path: bytes) -> None:
        """Remove the route there, and end its WebSockets.

        Raises KeyError if there is none.
        """
        former = self._table.at(host, path)
        self._table.remove(host, path)
        self.count -= 1
        if former is not None:
            self._end(former)

    def _end(self, live: LiveRoute) -> None:
        self._used.pop(live, None)
        if live.work is not None:
            live.work.end()
        for upstream in live.upstreams:
            self._retirement.let_go(upstream)

    def sweep(self, now: float) -> None:
        """Check which routes had traffic; to be called about once a second."""
        for work in self._bridged:
            work.look(now)

    def match(self, host: bytes, path: bytes) -> Mount | None:
        """The mount at ``host`` and the decoded ``path``, or the nearest one above."""
        live = self._table.match(host, path)
        if live is None:
            return None
        return live.mount or self._make(live)

    def _make(self, live: LiveRoute) -> Mount | None:
        application, fittings = live.route.destination, self._fittings
        assert isinstance(application, Application)
        if fittings is None:
            return None
        if live.work is None:
            live.work = RouteWork(self._bridged)
            live.upstreams = [
                self._upstreams.acquire(server.name, server.address, live.tls)
                for server in application.servers
            ]
            for upstream in live.upstreams:
                upstream.places.resize(live.places)
            self._used[live] = None
        resource = make_application(live.route, application, live.upstreams, fittings, live.work)
        live.mount = Mount(resource, live.route, is_live=True, unserved=live.unserved)
        return live.mount
