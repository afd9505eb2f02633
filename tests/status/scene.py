"""An invented busy day, served as the status page of a host that is at work.

``python -m tests.status.scene`` prints the port and goes on until it is ended; the pictures in
``docs/`` are of this. Knows how to fill the components, and nothing of browsers.
"""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

from twisted.internet import task
from twisted.internet.epollreactor import EPollReactor

from ipyproxy.access.origins import Policy
from ipyproxy.clock import Calendar
from ipyproxy.config import Health
from ipyproxy.encoding.store import Store
from ipyproxy.net.address import UNIXPath
from ipyproxy.records.statistics import MINUTES, Histogram, Statistics
from ipyproxy.server.clients import Clients, ClientsLimits
from ipyproxy.status.condition import Condition, Phase
from ipyproxy.status.facts import Sources
from ipyproxy.status.lag import LoopLag
from ipyproxy.status.serving import StatusServer
from ipyproxy.status.site import StatusSite, make_sights
from ipyproxy.upstream.health import HealthChecker
from ipyproxy.upstream.states import Outcome
from ipyproxy.upstream.upstream import NO_TRAFFIC, Upstream, UpstreamTable
from ipyproxy.websocket.bridge import Bridges
from tests.front import LIMITS

from .office import certificate

DAY = 86400.0

APPLICATION = "unix:/srv/galaxy/var/gunicorn.sock"

#: Port of a notebook, or name of an application; how many requests a minute, and for how many
#: seconds it has been up.
BUSY: tuple[tuple[int | str, int, float], ...] = (
    (APPLICATION, 45, 9 * DAY),
    (10000, 30, DAY),
    (10003, 8, 5200.0),
    (10017, 2, 300.0),
    (10042, 60, 4 * DAY),
    (10044, 8, 2 * 3600.0),
    (10101, 30, 6 * 3600.0),
)
DEAD, STARTING = 10023, 10080


class OpenBridge:
    """A WebSocket that somebody used ``ago`` seconds ago."""

    traffic = NO_TRAFFIC

    def __init__(self, now: float, ago: float) -> None:
        self.opened = now - 4000.0
        self.last_activity = now - ago


class Scene:
    """The components of a busy host. Chance has a seed, so that pictures are alike."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.now = reactor.seconds()
        self.chance = random.Random(7)
        upstreams, clients = UpstreamTable(), Clients(ClientsLimits(4096, 256))
        clients.connections = 41
        condition = Condition(Calendar(reactor.seconds, reactor.seconds))
        condition.started = self.now - 9 * DAY
        condition.phase = Phase.SERVING
        condition.listeners = [":: port 443", ":: port 80", "socket /var/lib/ipyproxy/status.sock"]
        names, end = ("hub.example.org", "*.hub.example.org"), self.now + 63.5 * DAY
        condition.certificates = (certificate(*names, not_after=end),)
        self.sources = Sources(
            upstreams,
            HealthChecker(reactor, Health(), "/ipython", upstreams),
            Statistics(self.now),
            Bridges(reactor, 0),
            clients,
            condition,
            LoopLag(reactor),
            Histogram(),
            Store(64 * 2**20),
        )
        for _ in range(1000):
            self.sources.sweeps.add(self.chance.uniform(0.0003, 0.004))
        upstreams.acquire(APPLICATION, UNIXPath(APPLICATION.removeprefix("unix:")))
        self._fill_the_hour()
        self._fill_the_states()

    def _fill_the_hour(self) -> None:
        for minute in range(MINUTES):
            self.sources.statistics.tick(self.now - 60 * (MINUTES - 1 - minute))
            for at, (name, rate, up) in enumerate(BUSY):
                if up > 60 * (MINUTES - minute):
                    tide = 1 + math.sin(minute / 9 + 2 * at)
                    self.ask(name, max(0, round(self.chance.gauss(rate * tide, rate / 4))))
            if minute < 20:
                self.ask(DEAD, 4)
            elif minute > 50:
                for _ in range(2):
                    self.sources.statistics.add(self._known(DEAD), 503, 0.0004, 0, 900)

    def ask(self, name: int | str, times: int) -> None:
        """Let ``times`` requests be answered."""
        for _ in range(times):
            status = 502 if self.chance.random() < 0.002 else 200
            duration = self.chance.lognormvariate(-4.6, 1.1)
            self.sources.statistics.add(self._known(name), status, duration, 300, 9000)

    def _known(self, name: int | str) -> Upstream:
        upstreams = self.sources.upstreams
        upstream = upstreams.notebook(name) if isinstance(name, int) else upstreams.server(name)
        upstream.is_known = True
        return upstream

    def _fill_the_states(self) -> None:
        for name, _, up in BUSY:
            upstream = self._known(name)
            upstream.observe(Outcome.ANSWERED, self.now - up, fall=3, rise=1)
            upstream.exchanges = self.chance.choice([0, 0, 1, 2])
            for _ in range(self.chance.randint(1, 4) if name != APPLICATION else 0):
                bridge: Any = OpenBridge(self.now, self.chance.choice([9, 200, 1500, 9000]))
                upstream.bridge_opened(bridge)
                self.sources.bridges.open.add(bridge)
        dead = self.sources.upstreams.notebook(DEAD)
        dead.observe(Outcome.ANSWERED, self.now - DAY, fall=3, rise=1)
        dead.observe(Outcome.REFUSED, self.now - 540, fall=3, rise=1)
        starting = self.sources.upstreams.notebook(STARTING)
        starting.observe(Outcome.REFUSED, self.now - 20, fall=3, rise=1)

    def go_on(self) -> None:
        """Half a second more of it."""
        self.sources.statistics.tick(self.reactor.seconds())
        for name, rate, _ in BUSY:
            if self.chance.random() < rate / 60:
                self.ask(name, 1)


def main() -> None:
    """Serve the scene on a free port."""
    reactor: Any = EPollReactor()
    scene = Scene(reactor)
    site = StatusSite(make_sights(scene.sources, reactor).resources, Policy(("localhost",), ()))
    server = StatusServer(reactor, reactor, site, LIMITS)
    address: Any = server.listen(0, Path())
    print(address.port, flush=True)
    scene.sources.lag.recent.append(0.017)  # the real one is that of whoever takes pictures
    for call in scene.go_on, server.server.sweep:
        calling = task.LoopingCall(call)
        calling.clock = reactor
        calling.start(0.5)
    reactor.run()


if __name__ == "__main__":
    main()
