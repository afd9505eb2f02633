"""The HTTP/1.1 server towards browsers: heads in, requests out to the site, answers back.

Knows connections, their deadlines and limits, pipelining and framing. Knows nothing of what a
request is for: the site that it is handed decides, and no body is ever held here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from twisted.internet import protocol
from twisted.internet.interfaces import IAddress, IHandshakeListener
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.fields import is_persistent
from ipyproxy.http1.framing import request_decoder
from ipyproxy.http1.head import (
    NO_FIELDS,
    HeadLimits,
    RequestHead,
    parse_request,
    too_large,
)
from ipyproxy.pace import Pace
from ipyproxy.request import Request

LINGER = 2.0
"""Seconds that a refused client gets to read its answer before the connection is closed."""

CLIENT_GONE = 499
"""What the log has as the status of a request whose client left first; nginx's number."""

_UNREADABLE = RequestHead(b"-", b"-", 1, NO_FIELDS)


class Site(Protocol):
    """What a server serves."""

    def handle(self, request: Request) -> None:
        """Answer ``request``, now or later. Every request gets exactly one answer."""

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Answer a request that could not be read, or that took too long."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds of :class:`HTTPServer`: bytes, bytes per second, seconds, connections."""

    head: HeadLimits
    body_bytes: int
    body_rate: int
    buffer_bytes: int
    handshake_timeout: float
    head_timeout: float
    body_timeout: float
    keepalive_timeout: float
    connections: int
    connections_per_client: int


class Phase(Enum):
    """What a connection is doing."""

    HANDSHAKE = "TLS handshake"
    IDLE = "waiting for a request"
    HEAD = "reading a head"
    EXCHANGE = "answering a request"
    TUNNEL = "handed over"
    LINGER = "closing"


@implementer(IHandshakeListener)
class HTTPChannel(protocol.Protocol):
    """One connection of a client."""

    transport: Any

    def __init__(self, server: HTTPServer, client: str) -> None:
        self.server = server
        self.client = client
        self.persistent = True
        self.phase = Phase.HANDSHAKE
        self.request: Request | None = None
        self._buffer = b""
        self._reading = False
        self._tunnel: protocol.Protocol | None = None
        self._deadline: float | None = None
        self._paces: tuple[Pace, Pace] | None = None

    def _expect(self, phase: Phase, seconds: float) -> None:
        self.phase = phase
        self._deadline = self.server.reactor.seconds() + seconds

    # Reading.

    def connectionMade(self) -> None:
        """A client has connected."""
        self._expect(Phase.HANDSHAKE, self.server.limits.handshake_timeout)

    def handshakeCompleted(self) -> None:
        """The TLS handshake is done; the first head is due."""
        self._expect(Phase.HEAD, self.server.limits.head_timeout)

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the client."""
        if self.phase is Phase.EXCHANGE:
            self._feed(data)
        elif self.phase is not Phase.LINGER:
            self._buffer = self._buffer + data if self._buffer else data
        self._read_heads()

    def _read_heads(self) -> None:
        """Start one request after the other, as long as each is answered at once."""
        if self._reading:
            return
        self._reading = True
        try:
            while self._buffer and self.phase in _BETWEEN_REQUESTS:
                block = self._take_head()
                if block is None:
                    return
                self._start(block)
        finally:
            self._reading = False

    def _take_head(self) -> bytes | None:
        """The next whole head without its empty line; None if there is none yet."""
        limits = self.server.limits
        if self._buffer.startswith(b"\r\n"):
            self._buffer = self._buffer[2:]
        end = self._buffer.find(b"\r\n\r\n")
        if 0 <= end <= limits.head.head_bytes:
            block, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
            return block
        if self.phase is Phase.IDLE:
            self._expect(Phase.HEAD, limits.head_timeout)
        line = self._buffer.find(b"\n")
        if line >= 0 and self._buffer[line - 1 : line] != b"\r":
            self._refuse(ProxyError(Problem.BAD_REQUEST, "a bare LF ends the request line"))
        elif len(self._buffer) > limits.head.head_bytes:
            self._refuse(too_large(self._buffer, limits.head))
        return None

    def _start(self, block: bytes) -> None:
        try:
            head = parse_request(block, self.server.limits.head)
            body = request_decoder(head)
        except ProxyError as error:
            self._refuse(error)
            return
        self.phase = Phase.EXCHANGE
        self.persistent = not self.server.draining and is_persistent(head)
        request = self.request = Request(self, head, body)
        self.server.requests += 1
        limit = self.server.limits.body_bytes
        if limit and body is not None and (body.length or 0) > limit:
            request.refuse(ProxyError(Problem.BODY_TOO_LARGE, f"{body.length} bytes"))
        else:
            self._hand_over(request)
        if self.request is request and self._buffer and body is not None:
            data, self._buffer = self._buffer, b""
            self._feed(data)

    def _hand_over(self, request: Request) -> None:
        try:
            self.server.site.handle(request)
        except ProxyError as error:
            request.refuse(error)
        except Exception:
            self.server.log.failure("a request failed inside the proxy; please report this")
            request.refuse(ProxyError(Problem.INTERNAL))

    def _feed(self, data: bytes) -> None:
        """Bytes that came while a request is being answered: its body, or the next request."""
        request = self.request
        assert request is not None
        body = request.body
        if body is None or body.done:
            self._buffer += data
            if len(self._buffer) > self.server.limits.buffer_bytes:
                self.transport.pauseProducing()
            return
        try:
            payload, self._buffer = body.feed(data)
            request.body_bytes_received += len(payload)
            limit = self.server.limits.body_bytes
            if limit and request.body_bytes_received > limit:
                raise ProxyError(Problem.BODY_TOO_LARGE, "the body outgrew the limit")
        except ProxyError as error:
            self._give_up(request, error)
            return
        consumer = request.consumer
        if consumer is not None:
            if payload:
                consumer.body_received(payload)
            if body.done:
                consumer.body_ended()

    def _give_up(self, request: Request, error: ProxyError) -> None:
        """The client breaks its own request: end the exchange, then say why."""
        consumer, request.consumer = request.consumer, None
        if consumer is not None:
            consumer.client_lost()
        request.refuse(error)

    def _refuse(self, error: ProxyError) -> None:
        """Answer what could not be read as a request; nothing after it can be trusted."""
        self._buffer = b""
        self.persistent = False
        self.phase = Phase.EXCHANGE
        self.request = Request(self, _UNREADABLE, None)
        self.request.note = error.detail
        self.server.site.refuse(self.request, error)

    # Answering.

    def now(self) -> float:
        """Seconds of the reactor's clock."""
        return float(self.server.reactor.seconds())

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Let the site say what went wrong."""
        self.server.site.refuse(request, error)

    def record(self, request: Request) -> None:
        """Write the request into the access log."""
        self.server.record(request)

    def request_finished(self, request: Request) -> None:
        """The answer is written."""
        self.server.record(request)
        self.request = None
        self._paces = None
        if not self.persistent:
            self._close(request)
            return
        if request.body is not None and not request.body.done:
            self._close(request)
            return
        self._expect(Phase.IDLE, self.server.limits.keepalive_timeout)
        self.transport.resumeProducing()
        if self._buffer:
            self._read_heads()

    def _close(self, request: Request) -> None:
        """Close after the answer is sent.

        Where the client may still be sending, closing at once would reset the connection and
        destroy the answer on its way (RFC 9112 section 9.6), so we read on for a moment.
        """
        unread = request.head is _UNREADABLE or (request.body is not None and not request.body.done)
        if unread:
            self._expect(Phase.LINGER, LINGER)
            self.transport.resumeProducing()
            self.transport.loseWriteConnection()
        else:
            self._expect(Phase.LINGER, self.server.limits.body_timeout)
            self.transport.loseConnection()

    def request_cut(self, request: Request) -> None:
        """The answer can't be completed."""
        self.server.record(request)
        self.request = None
        self._expect(Phase.LINGER, LINGER)
        self.transport.abortConnection()

    def hand_over(self, tunnel: protocol.Protocol) -> None:
        """Give the connection to ``tunnel``, with what the client has sent ahead.

        From here on the channel only keeps count.
        """
        self.phase = Phase.TUNNEL
        self._deadline = None
        self._tunnel = tunnel
        self.transport.setTcpKeepAlive(True)
        # Straight to the tunnel: an attribute of the instance goes before the method.
        self.dataReceived = tunnel.dataReceived  # type: ignore[method-assign]
        data, self._buffer = self._buffer, b""
        if data:
            tunnel.dataReceived(data)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        """The client is gone."""
        self.server.forget(self)
        request, self.request = self.request, None
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is not None:
            tunnel.connectionLost(reason)
        elif request is not None:
            request.note = request.note or "the client went away"
            request.status = request.status or CLIENT_GONE
            request.finished = True
            consumer, request.consumer = request.consumer, None
            if consumer is not None:
                consumer.client_lost()
            self.server.record(request)

    # Time.

    def check(self, now: float) -> None:
        """Look at the deadlines; called about once a second."""
        if self.phase is Phase.EXCHANGE:
            self._check_pace(now)
        elif self._deadline is not None and now >= self._deadline:
            self._deadline = None
            if self.phase is Phase.HEAD and self._buffer:
                self._refuse(ProxyError(Problem.REQUEST_TIMEOUT, "the head was too slow"))
            elif self.phase is Phase.IDLE:
                self.transport.loseConnection()
            else:
                self.transport.abortConnection()

    def _check_pace(self, now: float) -> None:
        request = self.request
        assert request is not None
        limits = self.server.limits
        if self._paces is None:
            make = (limits.body_timeout, limits.body_rate, now)
            self._paces = (Pace(*make), Pace(*make))
        reading, writing = self._paces
        body = request.body
        wanted = body is not None and not body.done and self.transport.is_reading
        if reading.is_late(now, request.body_bytes_received, wanted):
            self._give_up(request, ProxyError(Problem.REQUEST_TIMEOUT, "the body was too slow"))
        elif writing.is_late(now, self.transport.bytes_sent, self.transport.bytes_waiting > 0):
            request.note = "the client read too slowly"
            consumer, request.consumer = request.consumer, None
            if consumer is not None:
                consumer.client_lost()
            request.cut()

    def close_if_idle(self) -> None:
        """Close between requests; while one is being answered, close after it."""
        self.persistent = False
        if self.phase is Phase.IDLE:
            self.transport.loseConnection()


_BETWEEN_REQUESTS = (Phase.IDLE, Phase.HEAD, Phase.HANDSHAKE)

Record = Callable[[Request, float], None]


class HTTPServer:
    """All connections of one site.

    :param record: called with each answered request and its duration in seconds.
    """

    log = Logger()

    def __init__(self, reactor: Any, site: Site, limits: ServerLimits, record: Record) -> None:
        self.reactor = reactor
        self.site = site
        self.limits = limits
        self.draining = False
        self.requests = 0
        self.channels: set[HTTPChannel] = set()
        self._record = record
        self._clients: Counter[str] = Counter()

    def open_channel(self, peer: IAddress) -> HTTPChannel | None:
        """A channel for a connection from ``peer``; None if there are too many."""
        client = getattr(peer, "host", "unix")
        if (
            len(self.channels) >= self.limits.connections
            or self._clients[client] >= self.limits.connections_per_client
        ):
            self.log.warn("connection from {client} refused: too many are open", client=client)
            return None
        self._clients[client] += 1
        channel = HTTPChannel(self, client)
        self.channels.add(channel)
        return channel

    def forget(self, channel: HTTPChannel) -> None:
        """A connection has ended."""
        self.channels.discard(channel)
        self._clients[channel.client] -= 1
        if not self._clients[channel.client]:
            del self._clients[channel.client]

    def record(self, request: Request) -> None:
        """A request has been answered, or never will be."""
        self._record(request, self.reactor.seconds() - request.started)

    def sweep(self) -> None:
        """Check every connection's deadlines; to be called about once a second."""
        now = self.reactor.seconds()
        for channel in list(self.channels):
            channel.check(now)

    def drain(self) -> None:
        """Take nothing new: idle connections close now, the others after their answer."""
        self.draining = True
        for channel in list(self.channels):
            channel.close_if_idle()
