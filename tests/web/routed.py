"""The whole way in memory, from a configuration on: browsers, the real wiring, applications."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any

import pytest

from ipyproxy.config import Config, parse
from ipyproxy.daemon.components import make_components, make_sites, refit, secure
from ipyproxy.daemon.gate import read_files
from ipyproxy.server.request import NO_PAGES
from ipyproxy.upstream import pool, probes
from ipyproxy.upstream.tenancy import Tenants, nobody
from ipyproxy.upstream.upstream import Upstream
from tests.front import House
from tests.wires import Attempt, Dialler, Loop, Wire


class Routed(House):
    """The proxy with a configuration; dials are for the test to answer.

    :param subject: that of every client's certificate; None: clients show none.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        toml: str,
        *,
        subject: str | None = None,
        **others: Any,
    ) -> None:
        loop = Loop()
        self.dialler = Dialler()
        monkeypatch.setattr(pool, "Dial", self.dialler)
        self.prober = Dialler()
        monkeypatch.setattr(probes, "Dial", self.prober)
        config = parse(toml, {}, "test")
        made = make_components(loop, loop, config, Tenants(nobody))
        self.components = made._replace(auth=made.auth._replace(subject=lambda _: subject))
        secure(self.components, None)
        settings = _settings(config)
        self.sites = make_sites(self.components, settings, 443)
        self.components.live.fit(self.sites.fittings)
        self.components.health.startService()
        super().__init__(loop=loop, site=self.sites.public, **others)

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

    def tell(self, wire: Wire, data: bytes) -> None:
        """An application sends."""
        wire.say(data)
        self.loop.settle()

    def upstream(self, name: str) -> Upstream:
        """What is known of a server."""
        (found,) = (one for one in self.components.upstreams.all() if one.name == name)
        return found

    def wait(self, seconds: float) -> None:
        self.loop.pass_time(
            seconds,
            self.server.sweep,
            self.components.pool.sweep,
            self.components.retirement.sweep,
            lambda: self.components.upstreams.sweep(self.loop.seconds()),
        )

    @property
    def is_at_rest(self) -> bool:
        """Whether no exchange is left over, neither counted nor connected."""
        return (
            all(upstream.open_work == 0 for upstream in self.components.upstreams.all())
            and not self.components.pool._connections
            and not self.dialler.attempts
        )


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
