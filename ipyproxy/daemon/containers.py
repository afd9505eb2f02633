"""Starts, changes and stops the routes to containers as the settings say.

Knows which places a container's label must not take from other routes. The watcher is loaded only
if the settings name an engine.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

from ipyproxy.config import Config
from ipyproxy.config.values import is_within
from ipyproxy.daemon.live import LiveRoutes, RouteRefusedError
from ipyproxy.net.address import Literal, is_loopback
from ipyproxy.net.descriptors import Reactor
from ipyproxy.net.hosts import covers
from ipyproxy.routes.route import Application, Route

if TYPE_CHECKING:
    from ipyproxy.containers.watcher import Watcher


class ContainerRoutes:
    """The routes to containers, if there are any, in the ``live`` routes.

    :param own_ports: the ports of this machine that the proxy itself listens on.
    """

    def __init__(self, reactor: Reactor, live: LiveRoutes, own_ports: Container[int]) -> None:
        self._reactor = reactor
        self._live = live
        self._own_ports = own_ports
        self._config: Config | None = None
        self._asked: Literal | None = None
        self._watcher: Watcher | None = None

    def follow(self, config: Config) -> None:
        """Set the routes that ``config``, which is now in place, asks for and allows."""
        self._config = config
        if config.containers.socket == self._asked:
            if self._watcher is not None:
                self._watcher.judge()
            return
        if self._watcher is not None:
            self.stop()
            self._watcher.leave()
            self._watcher = None
        self._asked = config.containers.socket
        if self._asked is not None:
            self._begin(self._asked)

    def _begin(self, address: Literal) -> None:
        # Imported only when needed.
        from ipyproxy.containers.engine import Engine
        from ipyproxy.containers.watcher import Watcher

        self._watcher = Watcher(self._reactor, Engine(self._reactor, address), self)
        self._watcher.start()

    def stop(self) -> None:
        """Stop querying the engine; the routes stay."""
        if self._watcher is not None:
            self._watcher.stop()

    # What the watcher sees of the live routes: see :class:`ipyproxy.containers.watcher.Routes`.

    def at(self, host: bytes, path: bytes) -> object | None:
        """The route there, from any source."""
        return self._live.at(host, path)

    def put(self, host: bytes, path: bytes, route: Route) -> object:
        """Set ``route`` there. Raises RouteRefusedError if the place belongs to others."""
        assert self._config is not None
        self._refuse_places_of_others(self._config, route)
        destination = route.destination
        assert isinstance(destination, Application)
        address = destination.servers[0].address
        if is_loopback(address) and getattr(address, "port", 0) in self._own_ports:
            raise RouteRefusedError(f"the proxy itself listens on {address}")
        return self._live.put(host, path, route)

    def _refuse_places_of_others(self, config: Config, route: Route) -> None:
        prefix, galaxy = config.notebooks.prefix, config.galaxy
        if is_within(route.path, prefix):
            raise RouteRefusedError(f"{route.path} belongs to the notebooks (notebooks.prefix)")
        if galaxy.map is not None and is_within(route.path, galaxy.path):
            raise RouteRefusedError(f"{route.path} belongs to interactive tools (galaxy.prefix)")
        for domain, whose in (
            (config.site.notebook_domain, "a notebook (site.notebook_domain)"),
            (galaxy.domain, "an interactive tool (galaxy.host)"),
        ):
            if domain and route.host.endswith(f".{domain}"):
                raise RouteRefusedError(f"{route.host} belongs to {whose}")
        if is_within(route.path, "/.well-known"):
            raise RouteRefusedError(f"{route.path} would speak for the whole host (RFC 8615)")
        if route.path == "/" and covers(config.site.hosts, route.host):
            raise RouteRefusedError(f"{route.host} is the site's own (site.hosts): give a path")
        if any((one.host, one.path) == (route.host, route.path) for one in config.routes):
            raise RouteRefusedError(f"{route.name} is in the configuration already")

    def remove(self, host: bytes, path: bytes) -> None:
        """Remove the route there."""
        self._live.remove(host, path)
