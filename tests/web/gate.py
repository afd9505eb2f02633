"""The whole way in memory: browsers, the real site, and notebooks that the test plays."""

from __future__ import annotations

from typing import Any

import pytest

from ipyproxy import auth
from ipyproxy.access.cors import TrustedPages
from ipyproxy.access.origins import Policy
from ipyproxy.access.reserved import ReservedFields
from ipyproxy.config import Config, Health
from ipyproxy.encoding.compression import Compression
from ipyproxy.files.named import NamedFiles
from ipyproxy.gateway.exchange import GatewayContext
from ipyproxy.gateway.preloads import Preloads
from ipyproxy.gateway.resource import Notebooks
from ipyproxy.net.sockdiag import Listener
from ipyproxy.routes.notebooks import STATE_PATH, NotebookHosts, ServedPorts, StatePaths
from ipyproxy.upstream import pool, probes
from ipyproxy.upstream.advice import Adviser
from ipyproxy.upstream.connection import ClientLimits
from ipyproxy.upstream.health import HealthChecker
from ipyproxy.upstream.pool import Pool
from ipyproxy.upstream.tenancy import Tenants
from ipyproxy.upstream.upstream import Upstream, UpstreamTable
from ipyproxy.web.login import LoginPages
from ipyproxy.web.site import PublicSite, Root, mounts_of
from ipyproxy.web.waiting import States
from ipyproxy.websocket.bridge import Bridges
from tests.front import Browser, House
from tests.wires import Dialler, Loop, Wire

HOST = b"Host: hub.example"
LIMITS = ClientLimits(
    idle_connections=1000,
    response_head_bytes=65536,
    buffer_bytes=65536,
    connect_timeout=2.0,
    response_timeout=60.0,
    idle_timeout=15.0,
)

UNWATCHED = Health(mode="off")
"""Every request dials, as most tests of an exchange want it."""


def message(start: bytes, *lines: bytes, body: bytes = b"") -> bytes:
    """A message's bytes."""
    return b"\r\n".join([start, *lines, b"", body])


def head_of(data: bytes) -> tuple[bytes, set[bytes]]:
    """A message's start line and its field lines."""
    start, *lines = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
    return start, set(lines)


class Gate(House):
    """The proxy but for sockets, TLS and the configuration: serves ``hub.example``.

    :param auth: asks who somebody is; by default nobody does.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        *,
        per_port: int = 128,
        prefix: str = "/ipython",
        trusted_origins: tuple[str, ...] = (),
        notebook_domain: str = "",
        client_limits: ClientLimits = LIMITS,
        health: Health = UNWATCHED,
        auth: auth.Gate | None = None,
        withheld: ReservedFields | None = None,
        site_cookies: tuple[bytes, ...] = (b"galaxysession",),
        applications: tuple[int, ...] = (),
        compression: Compression | None = None,
        preloads: Preloads | None = None,
        named_files: NamedFiles | None = None,
        login: LoginPages | None = None,
        **others: Any,
    ) -> None:
        loop = Loop()
        self.dialler = Dialler()
        monkeypatch.setattr(pool, "Dial", self.dialler)
        self.prober = Dialler()
        monkeypatch.setattr(probes, "Dial", self.prober)
        self.listeners: dict[int, Listener] = {}
        self.tenants = Tenants(self.listeners.get)
        self.pool = Pool(loop, loop, client_limits, self.tenants.confirm)
        self.tenants.leaving.append(lambda name, ago: self.pool.part(name))
        self.own_ports: set[int] = set()
        self.ports = ServedPorts(Config().notebooks.ports, self.own_ports)
        self.table = UpstreamTable(per_port)
        self.policy = Policy(("hub.example", f"*.{notebook_domain}"), trusted_origins)
        self.bridges = Bridges(loop, 0)
        trusted = frozenset(origin.encode("ascii") for origin in trusted_origins)
        self.health = HealthChecker(loop, health, prefix, self.table, lambda: 0.9)
        self.health.startService()
        trusted_pages = TrustedPages(trusted_origins) if trusted_origins else None
        adviser, tenants = Adviser(loop.seconds), self.tenants
        context = GatewayContext(
            self.pool,
            self.health,
            self.bridges,
            tenants,
            adviser,
            trusted,
            trusted_pages,
            compression,
            preloads,
            named_files,
        )
        if compression is not None:
            store, table = compression.store, self.table
            tenants.leaving.append(lambda name, ago: store.drop(table.notebook(int(name))))
        if preloads is not None:
            forget = preloads.drop
            tenants.leaving.append(lambda name, ago: forget(self.table.notebook(int(name))))
        notebooks = Notebooks(
            self.ports, prefix, site_cookies, self.table, context, withheld, applications
        )
        self.notebooks = notebooks
        root = Root(prefix, notebooks)
        root.put(STATE_PATH, States(self.ports, self.table, self.health))
        hosts = NotebookHosts(notebook_domain, prefix) if notebook_domain else None
        site = PublicSite(
            mounts_of(root),
            self.policy,
            auth,
            trusted_pages,
            hosts,
            states=StatePaths(prefix),
            login=login,
        )
        super().__init__(loop=loop, site=site, **others)

    def notebook(self) -> Wire:
        """A notebook takes the connection that is being dialled."""
        wire = self.dialler.next().succeed()
        self.loop.settle()
        return wire

    def tell(self, wire: Wire, data: bytes) -> None:
        """A notebook sends."""
        wire.say(data)
        self.loop.settle()

    def end(self, wire: Wire, how: str = "hang up") -> None:
        """A notebook's connection ends."""
        if how == "reset":
            wire.reset()
        else:
            wire.hang_up()
        self.loop.settle()

    def upstream(self, port: int = 10000) -> Upstream:
        """What is known of a notebook."""
        return self.table.notebook(port)

    def wait(self, seconds: float) -> None:
        self.loop.pass_time(
            seconds,
            self.server.sweep,
            self.pool.sweep,
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


def ask(browser: Browser, start: bytes = b"GET /ipython/10000/ HTTP/1.1", *lines: bytes) -> bytes:
    """Send a request without a body, and give what comes back at once."""
    return browser.say(message(start, HOST, *lines))
