"""A pool whose dials and clock the test plays, and who asks through it."""

from __future__ import annotations

from typing import Any

from ipyproxy.errors import ProxyError
from ipyproxy.http1.framing import Decoder
from ipyproxy.http1.head import ResponseHead
from ipyproxy.upstream.connection import ClientLimits, UpstreamConnection
from ipyproxy.upstream.pool import Pool
from ipyproxy.upstream.upstream import UpstreamTable
from tests.wires import Dialler, Loop, Wire

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"
LIMITS = ClientLimits(
    idle_connections=1000,
    response_head_bytes=65536,
    buffer_bytes=65536,
    connect_timeout=2.0,
    response_timeout=60.0,
    idle_timeout=15.0,
)


class Asker:
    """Sends one request, and notes all that it is told."""

    def __init__(
        self,
        method: bytes = b"GET",
        head: bytes = GET,
        *,
        ended: bool = True,
        upgrades: bool = False,
    ) -> None:
        self.events: list[Any] = []
        self.data = b""
        self.connection: UpstreamConnection | None = None
        self._request = (method, head)
        self._ended = ended
        self._upgrades = upgrades

    @property
    def transport(self) -> Any:
        assert self.connection is not None
        return self.connection.transport

    def connected(self, connection: UpstreamConnection) -> None:
        self.connection = connection
        method, head = self._request
        connection.send(method, head, self, ended=self._ended)
        if self._upgrades:
            connection.switched = self.switched

    def interim(self, head: ResponseHead) -> None:
        self.events.append(head.status)

    def response_begun(self, head: ResponseHead, body: Decoder | None) -> None:
        self.events.append(head.status)

    def response_received(self, data: bytes) -> None:
        self.data += data

    def response_waiting(self) -> None:
        self.events.append("waiting")

    def response_ended(self) -> None:
        self.events.append("ended")

    def switched(self, block: bytes, rest: bytes) -> None:
        self.events.append((block, rest))

    def stale(self) -> None:
        self.events.append("stale")

    def failed(self, error: ProxyError) -> None:
        self.events.append(error.problem)


class Town:
    """A pool, its clock and its dials."""

    def __init__(self, dialler: Dialler, limits: ClientLimits = LIMITS) -> None:
        self.loop = Loop()
        self.pool = Pool(self.loop, self.loop, limits, lambda upstream, now, mark: None, dialler)
        self.table = UpstreamTable()
        self.dialler = dialler

    def ask(self, asker: Asker, *, once: bool = False, port: int = 10000) -> Wire:
        """Send on a new connection; its other end."""
        self.pool.connect(self.table.notebook(port), asker, once=once)
        wire = self.dialler.next().succeed()
        self.loop.settle()
        return wire

    def ask_again(self, asker: Asker, *, once: bool = False) -> None:
        """Send on a kept connection; it is a failure of the test if there is none."""
        assert self.pool.connect(self.table.notebook(10000), asker, once=once) is None
        self.loop.settle()

    def tell(self, wire: Wire, data: bytes) -> None:
        wire.say(data)
        self.loop.settle()

    def wait(self, seconds: float) -> None:
        self.loop.pass_time(seconds, self.pool.sweep)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left of any connection."""
        return not self.pool._idle and not self.pool._connections
