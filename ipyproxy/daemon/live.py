"""Routes that come and go while the proxy runs, whoever says so: JupyterHub, containers.

They outlive a reload of the configuration. Knows how a route becomes a resource; that is made when
somebody first asks for it, so that a route which nobody uses takes little more than its own text.
Knows nothing of who puts routes in, nor of what is said of them to whom.
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
    """A route that nobody may put in; the sentence says why."""


class LiveRoute:
    """One route, and what has been made for it so far.

    :ivar work: what goes on there; None: nobody has asked for it yet.
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

    Paths are decoded: a request's is compared with them once it is decoded as well, and goes
    upstream as it was sent.
    """

    def __init__(self, upstreams: UpstreamTable, retirement: Retirement) -> None:
        self._upstreams = upstreams
        self._retirement = retirement
        self._table: RouteTable[LiveRoute] = RouteTable()
        self.count = 0
        """How many there are."""
        self._fittings: Fittings | None = None
        self._used: dict[LiveRoute, None] = {}
        self._bridged: set[RouteWork] = set()

    def fit(self, fittings: Fittings) -> None:
        """Serve on these terms from now on, those of another configuration."""
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
        """Let ``route``, whose destination is an application, stand at ``host`` and ``path``.

        If another one stands there, it is removed. If that leads where this one does, it goes on
        instead, and so do its WebSockets. Gives the one that stands there then.

        :param host: lower-case; empty: any.
        :param path: decoded; with a slash first and none last.
        :param tls: the terms on which its servers are spoken to; None: plainly.
        :param places: how many exchanges and bridges each server may have.
        :param unserved: who answers a request that its server does not; None: the site.
        :raises RouteRefusedError: where the proxy's own pages are.
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
        """Raise :class:`RouteRefusedError` where the proxy's own pages are."""
        own = OWN_PATH.encode("ascii")
        if path == own or path.startswith(own + b"/"):
            raise RouteRefusedError(f"{OWN_PATH} is the proxy's own")

    def at(self, host: bytes, path: bytes) -> LiveRoute | None:
        """What stands at ``host`` and ``path`` themselves, whoever has put it."""
        return self._table.at(host, path)

    def remove(self, host: bytes, path: bytes) -> None:
        """Let nothing stand there any more, and end the WebSockets that came by it.

        Raises KeyError if nothing does.
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
        """See on which routes there was traffic; to be called about once a second."""
        for work in self._bridged:
            work.look(now)

    def match(self, host: bytes, path: bytes) -> Mount | None:
        """What stands at ``host`` and the decoded ``path``, or nearest above it."""
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
