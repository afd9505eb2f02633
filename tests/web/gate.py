"""The whole way in memory: browsers, the real site, and notebooks that the test plays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import attrs

from ipyproxy import auth
from ipyproxy.access.reserved import ReservedFields
from ipyproxy.config import Config, Health
from ipyproxy.config.values import Ports
from ipyproxy.encoding.compression import Compression
from ipyproxy.files.named import NamedFiles
from ipyproxy.gateway.preloads import Preloads
from ipyproxy.gateway.resource import Notebooks
from ipyproxy.net.sockdiag import Listener
from ipyproxy.upstream.connection import ClientLimits
from ipyproxy.upstream.tenancy import Tenants
from ipyproxy.upstream.upstream import Upstream
from ipyproxy.web.login import LoginPages
from tests.front import Browser
from tests.web.routed import Wired
from tests.wires import Wire

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


class Gate(Wired):
    """The proxy as it is wired, but for sockets and TLS: serves ``hub.example``.

    :param auth: asks who somebody is; by default nobody does.
    """

    def __init__(
        self,
        *,
        per_port: int = 128,
        prefix: str = "/ipython",
        trusted_origins: tuple[str, ...] = (),
        notebook_domain: str = "",
        client_limits: ClientLimits = LIMITS,
        health: Health = UNWATCHED,
        auth: auth.Gate | None = None,
        reserved: ReservedFields | None = None,
        site_cookies: tuple[str, ...] = ("galaxysession",),
        applications: tuple[int, ...] = (),
        compression: Compression | None = None,
        preloads: Preloads | None = None,
        named_files: NamedFiles | None = None,
        login: LoginPages | None = None,
        **others: Any,
    ) -> None:
        config = Config()
        config = attrs.evolve(
            config,
            health=health,
            limits=attrs.evolve(config.limits, connections_per_port=per_port),
            site=attrs.evolve(
                config.site,
                hosts=("hub.example",),
                trusted_origins=trusted_origins,
                notebook_domain=notebook_domain,
            ),
            notebooks=attrs.evolve(
                config.notebooks,
                prefix=prefix,
                site_cookies=site_cookies,
                applications=Ports([(port, port) for port in applications]),
            ),
        )
        self.listeners: dict[int, Listener] = {}
        if compression is None:
            config = attrs.evolve(config, compression=attrs.evolve(config.compression, codings=()))
        tenants = Tenants(self.listeners.get)
        super().__init__(config, tenants, compression=compression, **others)
        self.pool.limits = client_limits
        self.health.draw = lambda: 0.9
        self.sites.public.gate = auth
        self.sites.public.login = login
        mount = self.sites.public.routes.match(b"", prefix.encode())
        assert mount is not None
        assert isinstance(mount.resource, Notebooks)
        self.notebooks = mount.resource
        if reserved is not None:
            self.notebooks.drop_reserved = reserved.kept
        if preloads is not None:
            forget = preloads.drop
            tenants.leaving.append(lambda name, ago: forget(self.table.notebook(int(name))))
        self.notebooks.context = replace(
            self.notebooks.context, preloads=preloads, named_files=named_files
        )

    def notebook(self) -> Wire:
        """A notebook takes the connection that is being dialled."""
        wire = self.dialler.next().succeed()
        self.loop.settle()
        return wire

    def end(self, wire: Wire, how: str = "hang up") -> None:
        """A notebook's connection ends."""
        if how == "reset":
            wire.reset()
        else:
            wire.hang_up()
        self.loop.settle()

    def upstream(self, port: int = 10000) -> Upstream:
        """What is known of a notebook."""
        return self.components.upstreams.notebook(port)


def ask(browser: Browser, start: bytes = b"GET /ipython/10000/ HTTP/1.1", *lines: bytes) -> bytes:
    """Send a request without a body, and give what comes back at once."""
    return browser.say(message(start, HOST, *lines))
