"""A hub's proxy in memory: the API, browsers, and servers that the test plays."""

from __future__ import annotations

import json
from typing import Any

from ipyproxy.clock import Calendar
from ipyproxy.config import parse
from ipyproxy.daemon.components import Dials, make_components
from ipyproxy.daemon.hubproxy import make_fittings
from ipyproxy.daemon.hubterms import ServerTerms, TermsOf
from ipyproxy.hub.api import ApiSite
from ipyproxy.hub.errorpages import ErrorPages
from ipyproxy.hub.figures import Figures
from ipyproxy.hub.site import HubSite
from ipyproxy.hub.store import HubRoutes, Manner
from ipyproxy.upstream.tenancy import Tenants, nobody
from tests.front import Browser, House
from tests.web.gate import message
from tests.wires import Dialler, Loop, Wire

TOKEN = b"secret"
TARGET = "http://127.0.0.1:8001"
OK = message(b"HTTP/1.1 200 OK", b"Content-Length: 2", body=b"ok")
START = 1_700_000_000.0


class Answer:
    """What the API said."""

    def __init__(self, heard: bytes) -> None:
        head, _, self.body = heard.partition(b"\r\n\r\n")
        self.status = int(head.split(b" ")[1])
        self.head = head

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class PlayedHub(House):
    """The proxy of a hub; what the hub and browsers say, and what servers answer."""

    def __init__(
        self,
        manner: Manner | None = None,
        *,
        token: bytes = TOKEN,
        files: dict[int, bytes] | None = None,
        **others: Any,
    ) -> None:
        loop = Loop()
        self.dialler = Dialler()
        self.manner = manner or Manner()
        config = parse('health.mode = "off"', {}, "test")
        self.components = made = make_components(
            loop, loop, config, Tenants(nobody), Dials(self.dialler, Dialler())
        )
        made.live.fit(make_fittings(made))
        self.figures = Figures()
        calendar = Calendar(loop.seconds, lambda: START + loop.seconds())
        self.routes = HubRoutes(made.live, self.manner, calendar, TermsOf(ServerTerms()))
        site = HubSite(
            made.live,
            ErrorPages(files or {}),
            self.figures,
            host_routing=self.manner.host_routing,
            secure=False,
        )
        super().__init__(loop=loop, site=site, **others)
        self.api = House(loop=loop, site=ApiSite(loop, self.routes, token, self.figures))

    def call(
        self,
        method: str,
        path: str = "",
        data: object = None,
        *,
        authorization: bytes = b"token " + TOKEN,
        raw: bytes | None = None,
    ) -> Answer:
        """A call of the API."""
        body = raw if raw is not None else b"" if data is None else json.dumps(data).encode()
        lines = [b"Host: here", b"Content-Length: %d" % len(body)]
        if authorization:
            lines.append(b"Authorization: " + authorization)
        start = f"{method} /api/routes{path} HTTP/1.1".encode()
        return Answer(self.api.connect().say(message(start, *lines, body=body)))

    def ask(self, start: bytes, *lines: bytes) -> Browser:
        """A browser's request."""
        browser = self.connect()
        browser.wire.say(message(start + b" HTTP/1.1", *(lines or (b"Host: hub.org",))))
        self.loop.settle()
        return browser

    def accept(self) -> tuple[Any, Wire]:
        """A server takes the connection that is being dialled: where, and the wire."""
        attempt = self.dialler.next()
        wire = attempt.succeed()
        self.loop.settle()
        return attempt.address, wire

    def tell(self, wire: Wire, data: bytes) -> None:
        """A server sends."""
        wire.say(data)
        self.loop.settle()

    def wait(self, seconds: float) -> None:
        live, loop = self.components.live, self.loop
        loop.pass_time(
            seconds,
            self.server.sweep,
            self.components.pool.sweep,
            self.components.retirement.sweep,
            self.components.bridges.sweep,
            lambda: live.sweep(loop.seconds()),
        )
