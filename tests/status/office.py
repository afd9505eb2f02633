"""The status site in memory: components whose figures the test sets, and a browser that looks."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from ipyproxy.access.origins import Policy
from ipyproxy.clock import Calendar
from ipyproxy.config import Health
from ipyproxy.encoding.store import Entry, Key, Store
from ipyproxy.records.statistics import Histogram, Statistics
from ipyproxy.server.clients import Clients, ClientsLimits
from ipyproxy.status.condition import Condition, Phase
from ipyproxy.status.facts import Sources
from ipyproxy.status.lag import LoopLag
from ipyproxy.status.site import StatusSite, health_resources, make_sights
from ipyproxy.tls import Certificate
from ipyproxy.upstream.health import HealthChecker
from ipyproxy.upstream.upstream import UpstreamTable
from ipyproxy.websocket.bridge import Bridges
from tests.front import Browser, House
from tests.wires import Loop

START = 1_800_000_000.0
"""When the daemon started; a full minute."""


def certificate(*names: str, not_after: float = START + 100.5 * 86400.0) -> Certificate:
    """A certificate of which only what is shown is real."""
    end = datetime.fromtimestamp(not_after, UTC)
    return Certificate(
        Path("c"), Path("k"), names, end - timedelta(days=90), end, False, (), cast("Any", None)
    )


def keep(office: Office) -> None:
    """One compressed answer, which was sent twice."""
    store = office.compressed
    entry = Entry(Key(b"https://hub.example", b"/a.js", b"gzip"), b"", b"", bytes(1000), 5000)
    store.put("notebook", entry)
    store.lend(entry)
    store.lend(entry)
    store.misses = 3


class Office(House):
    """A daemon that serves since :data:`START`, and its status site."""

    def __init__(self, **others: Any) -> None:
        loop = Loop()
        loop.advance(START)
        self.upstreams = UpstreamTable()
        self.statistics = Statistics(START)
        self.bridges = Bridges(loop, 0)
        self.clients = Clients(ClientsLimits(100, 50))
        self.condition = Condition(Calendar(loop.seconds, loop.seconds))
        self.condition.phase = Phase.SERVING
        self.condition.listeners.append("192.0.2.1 port 443")
        self.condition.certificates = (certificate("hub.example"),)
        self.lag = LoopLag(loop)
        self.sweeps = Histogram()
        self.compressed = Store(64 * 2**20)
        self.health = HealthChecker(loop, Health(), "/ipython", self.upstreams)
        self.sources = Sources(
            self.upstreams,
            self.health,
            self.statistics,
            self.bridges,
            self.clients,
            self.condition,
            self.lag,
            self.sweeps,
            self.compressed,
        )
        self.sights = make_sights(self.sources, loop)
        resources = {**health_resources(self.condition), **self.sights.resources}
        site = StatusSite(resources, Policy(("localhost",), ()))
        super().__init__(loop=loop, site=site, **others)

    def count(
        self, port: int | None, status: int, duration: float, received: int, sent: int
    ) -> None:
        """Count a request to the notebook on ``port``, which is known, or to none."""
        upstream = None if port is None else self.upstreams.notebook(port)
        if upstream is not None:
            upstream.is_known = True
        self.statistics.add(upstream, status, duration, received, sent)

    def pass_minutes(self, minutes: int) -> None:
        """Let time pass for the figures only."""
        self.loop.advance(60.0 * minutes)
        self.statistics.tick(self.loop.seconds())

    def ask(self, path: bytes, *lines: bytes, host: bytes = b"localhost:9000") -> bytes:
        """GET ``path`` on a new connection, and give the whole answer."""
        head = [b"GET /_ipyproxy/%b HTTP/1.1" % path, b"Host: " + host, *lines, b"", b""]
        return self.connect().say(b"\r\n".join(head))

    def read(self, path: bytes, *lines: bytes) -> bytes:
        """The body of what stands at ``path``."""
        head, _, body = self.ask(path, *lines).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
        return body

    def document(self) -> Any:
        """``status.json``."""
        return json.loads(self.read(b"status.json"))


__all__ = ["START", "Browser", "Office", "certificate"]
