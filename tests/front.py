"""The public side in memory: a server with a site that the test plays, and browsers on wires."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.web.resource import Resource

from ipyproxy.errors import ProxyError
from ipyproxy.http.forwarding import TrustedProxies
from ipyproxy.http1.head import HeadLimits
from ipyproxy.net.tcp import TCPTransport
from ipyproxy.routes.route import Notebooks, Route
from ipyproxy.routes.table import RouteTable
from ipyproxy.server.channel import HTTPChannel
from ipyproxy.server.clients import Clients, ClientsLimits, Rate
from ipyproxy.server.request import Request
from ipyproxy.server.server import HTTPServer
from ipyproxy.server.site import ChannelLimits, Site
from ipyproxy.web.site import Mount
from tests.wires import Loop, Wire


def mounts_of(root: Resource) -> RouteTable[Mount]:
    """The table of a site that has nothing but its tree."""
    routes: RouteTable[Mount] = RouteTable()
    routes.put(b"", b"/", Mount(root, Route(Notebooks())))
    return routes


LIMITS = ChannelLimits(
    head=HeadLimits(),
    body_bytes=0,
    body_rate=512,
    buffer_bytes=65536,
    handshake_timeout=10.0,
    head_timeout=10.0,
    body_timeout=60.0,
    keepalive_timeout=75.0,
)


class Desk:
    """A site that keeps each request for the test to answer, unless ``answer`` does so."""

    common_lines = b""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.refused: list[ProxyError] = []
        self.answer: Callable[[Request], object] = lambda request: None
        self.refuse_by: Callable[[Request, ProxyError], object] = lambda request, error: (
            request.respond(error.problem.status, b"Refused", [], b"no\n")
        )

    def handle(self, request: Request) -> None:
        self.requests.append(request)
        self.answer(request)

    def refuse(self, request: Request, error: ProxyError) -> None:
        self.refused.append(error)
        self.refuse_by(request, error)

    def next(self) -> Request:
        """The oldest request that was not looked at yet."""
        return self.requests.pop(0)


class Body:
    """Takes a request's body, and notes what else it is told."""

    def __init__(self, request: Request) -> None:
        self.data = b""
        self.ended = False
        self.lost = False
        request.consumer = self

    def body_received(self, data: bytes) -> None:
        self.data += data

    def body_ended(self) -> None:
        self.ended = True

    def client_lost(self) -> None:
        self.lost = True


class Browser:
    """A client's end of one connection."""

    def __init__(
        self, house: House, wire: Wire, channel: HTTPChannel, transport: TCPTransport
    ) -> None:
        self.house = house
        self.wire = wire
        self.channel = channel
        self._transport = transport

    def say(self, data: bytes) -> bytes:
        """Send, and give what comes back at once."""
        self.wire.say(data)
        return self.hear()

    def hear(self) -> bytes:
        """What has come since the last call."""
        self.house.loop.settle()
        return self.wire.hear()

    def be_read_once(self) -> None:
        """Let the proxy take what one event of the reactor gives it."""
        self._transport.doRead()

    def hang_up(self) -> None:
        self.wire.hang_up()
        self.house.loop.settle()

    def get(self, path: bytes = b"/", *lines: bytes, version: bytes = b"HTTP/1.1") -> bytes:
        """Send a GET, and give what comes back at once."""
        head = [b"GET %b %b" % (path, version), b"Host: here", *lines, b"", b""]
        return self.say(b"\r\n".join(head))

    @property
    def is_connected(self) -> bool:
        return not self.wire.is_closed


class House:
    """One server, its clock and its log.

    :param site: what is served; by default ``desk``, which the test plays.
    :ivar log: status, client and note of each request, in the order in which they ended.
    :ivar recorded: the requests themselves.
    """

    def __init__(
        self,
        *,
        connections: int = 100,
        connections_per_client: int = 50,
        connecting: Rate | None = None,
        requests: Rate | None = None,
        proxies: TrustedProxies | None = None,
        loop: Loop | None = None,
        site: Site | None = None,
        **limits: Any,
    ) -> None:
        self.loop = loop or Loop()
        self.desk = Desk()
        self.log: list[tuple[int, str, str]] = []
        self.recorded: list[Request] = []
        self.limits = replace(LIMITS, **limits)
        self.server = HTTPServer(
            self.loop,
            site or self.desk,
            self.limits,
            Clients(
                ClientsLimits(
                    connections, connections_per_client, connecting=connecting, requests=requests
                )
            ),
            proxies or TrustedProxies(),
            self.record,
        )

    def record(self, request: Request, duration: float) -> None:
        self.log.append((request.status, request.client, request.note))
        self.recorded.append(request)

    def try_to_connect(self, host: str = "192.0.2.1") -> Browser | None:
        """Open a connection, by a UNIX socket if there is no host; None if it is turned away."""
        address = _address(host)
        channel = self.server.open_channel(address)
        if channel is None:
            return None
        wire = Wire()
        high_water = self.limits.buffer_bytes
        sock: Any = wire
        transport = TCPTransport(self.loop, sock, channel, address, high_water=high_water)
        transport.start()
        return Browser(self, wire, channel, transport)

    def knock(self, host: str = "192.0.2.1") -> Browser:
        """Open a connection whose TLS handshake is still to come."""
        browser = self.try_to_connect(host)
        assert browser is not None
        return browser

    def connect(self, host: str = "192.0.2.1") -> Browser:
        """Open a connection, handshake and all."""
        browser = self.knock(host)
        browser.channel.handshakeCompleted()
        return browser

    def wait(self, seconds: float) -> None:
        """Let time pass, with a sweep each second."""
        self.loop.pass_time(seconds, self.server.sweep)

    def connections_of(self, host: str) -> int:
        """How many connections, or requests through proxies, of a client are counted."""
        return self.server._clients.client(host, self.loop.seconds()).connections

    @property
    def statuses(self) -> list[int]:
        """The statuses in the log."""
        return [status for status, _, _ in self.log]


def status_of(answer: bytes) -> int:
    """An answer's status."""
    return int(answer.split(b" ", 2)[1])


def _address(host: str) -> IAddress:
    if not host:
        return UNIXAddress(None)
    return (IPv6Address if ":" in host else IPv4Address)("TCP", host, 50000)
