"""The whole way in memory, from a configuration on: browsers, the real wiring, applications."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any

from ipyproxy.config import Config, parse
from ipyproxy.daemon.components import Dials, make_components, refit, secure
from ipyproxy.daemon.gate import read_files
from ipyproxy.daemon.sites import make_sites
from ipyproxy.encoding.compression import Compression
from ipyproxy.server.request import NO_PAGES
from ipyproxy.upstream.tenancy import Tenants, nobody
from ipyproxy.upstream.upstream import Upstream
from tests.front import House
from tests.wires import Attempt, Dialler, Loop, Wire


class Wired(House):
    """The proxy as it is wired, but for sockets and TLS; dials are for the test to answer.

    :param compression: takes the place of the one that the configuration describes.
    :param disks: take the place of threads that read.
    :param subject: that of every client's certificate; None: clients show none.
    """

    def __init__(
        self,
        config: Config,
        tenants: Tenants,
        *,
        compression: Compression | None = None,
        disks: Any = None,
        subject: str | None = None,
        **others: Any,
    ) -> None:
        loop = Loop()
        self.dialler, self.prober = Dialler(), Dialler()
        made = make_components(loop, loop, config, tenants, Dials(self.dialler, self.prober))
        made = made._replace(auth=made.auth._replace(subject=lambda _: subject))
        if compression is not None:
            store, table = compression.store, made.upstreams
            tenants.leaving.append(lambda name, ago: store.drop(table.notebook(int(name))))
            made = made._replace(compression=compression)
        if disks is not None:
            made = made._replace(disks=disks)
        self.components = made
        self.tenants, self.pool, self.health = tenants, made.pool, made.health
        self.bridges, self.table, self.own_ports = made.bridges, made.upstreams, made.own_ports
        secure(made, None)
        self.sites = make_sites(made, _settings(config), 443)
        self.policy = self.sites.public.policy
        made.live.fit(self.sites.fittings)
        made.health.startService()
        super().__init__(loop=loop, site=self.sites.public, **others)

    def tell(self, wire: Wire, data: bytes) -> None:
        """A notebook or an application sends."""
        wire.say(data)
        self.loop.settle()

    def wait(self, seconds: float) -> None:
        self.loop.pass_time(
            seconds,
            self.server.sweep,
            self.pool.sweep,
            self.components.retirement.sweep,
            lambda: self.table.sweep(self.loop.seconds()),
        )

    @property
    def is_at_rest(self) -> bool:
        """Whether no exchange is left over, neither counted nor connected."""
        return (
            all(upstream.open_work == 0 for upstream in self.table.all())
            and not self.pool._connections
            and not self.dialler.attempts
        )


class Routed(Wired):
    """The proxy with a configuration file."""

    def __init__(self, toml: str, **others: Any) -> None:
        super().__init__(parse(toml, {}, "test"), Tenants(nobody), **others)

    def reload(self, toml: str) -> None:
        """Take another configuration, as the service does."""
        config = parse(toml, {}, "test")
        settings = _settings(config)
        sites = make_sites(self.components, settings, 443)
        refit(self.components, config)
        secure(self.components, None)
        self.components.live.fit(sites.fittings)
        self.server.site = sites.public

    def accept(self) -> tuple[Any, Wire]:
        """An application takes the connection that is being dialled: where, and the wire."""
        attempt = self.dialler.next()
        return where(attempt), self.take(attempt)

    def take(self, attempt: Attempt) -> Wire:
        wire = attempt.succeed()
        self.loop.settle()
        return wire

    def refuse(self, code: int = errno.ECONNREFUSED) -> Any:
        """Nobody takes the connection that is being dialled: where."""
        attempt = self.dialler.next()
        attempt.fail(code)
        self.loop.settle()
        return where(attempt)

    def upstream(self, name: str) -> Upstream:
        """What is known of a server."""
        (found,) = (one for one in self.components.upstreams.all() if one.name == name)
        return found


def _settings(config: Config) -> Any:
    """As far as sites are made from them."""
    return SimpleNamespace(
        config=config,
        certificates=(),
        auth_files=read_files(config.auth),
        acme=None,
        error_pages=NO_PAGES,
    )


def where(attempt: Attempt) -> Any:
    """The address that is dialled."""
    return attempt.address
