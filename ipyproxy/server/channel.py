"""One client's connection: reads heads, hands requests to the site, sends the answers in order.

Knows the phases of a connection, their deadlines, pipelining and backpressure. Knows nothing of
other connections, of how a head is spelled (the codec knows), or of what a request is for (the site
decides). It never buffers a body.

Longer than other modules, because it is one class: reading, answering and closing share the phase
of one connection, and splitting them would spread that state over several objects. What it needs
from its server is declared before it.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import classImplements

from ipyproxy.clock import Clock
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.framing import Decoder, request_framing
from ipyproxy.http1.head import NO_FIELDS, RequestHead
from ipyproxy.net.pace import Pace
from ipyproxy.net.protocol import CLOSED, Tunnel
from ipyproxy.net.tcp import MANY_PIECES
from ipyproxy.server.http1 import HTTP1, interim
from ipyproxy.server.phases import TABLE, Event, Phase
from ipyproxy.server.request import ClientConnection, Request
from ipyproxy.server.site import ChannelLimits, Handshakes, Site

LINGER: Final = 5.0
"""Seconds without a byte from the client before we close, once everything is answered."""
LONGEST_LINGER: Final = 30.0
"""Seconds after which we close even if the client still sends, like nginx's ``lingering_time``."""
MOST_LINGERED: Final = 64 * 1024 * 1024
"""Bytes after which we close even if the client still sends."""
MOST_AT_ONCE: Final = 4
"""Most requests of one connection that are started in one turn of the event loop."""

GRACE: Final = 2.0
"""Seconds in which a client without a request has to send one, once the proxy drains."""

CLIENT_GONE: Final = 499
"""The status that the log has for a request whose client left before the answer; nginx's number."""

_log: Final = Logger(namespace="ipyproxy.channel")

_UNREADABLE: Final = RequestHead(b"", b"-", 1, NO_FIELDS)


# In compiled code a Final name costs nothing, and an enumeration's member a hundred times as much.
_HANDSHAKE: Final = Phase.HANDSHAKE
_HEAD: Final = Phase.HEAD
_EXCHANGE: Final = Phase.EXCHANGE
_IDLE: Final = Phase.IDLE
_TUNNEL: Final = Phase.TUNNEL
_LINGER: Final = Phase.LINGER
_BETWEEN_REQUESTS: Final = frozenset((_IDLE, _HEAD, _HANDSHAKE))
# What each event does.
_SECURED: Final = TABLE[Event.SECURED]
_HEAD_BEGUN: Final = TABLE[Event.HEAD_BEGUN]
_HEAD_READ: Final = TABLE[Event.HEAD_READ]
_ANSWERED: Final = TABLE[Event.ANSWERED]
_BACKED_UP: Final = TABLE[Event.BACKED_UP]
_TAKEN: Final = TABLE[Event.TAKEN]
_LAST_ANSWERED: Final = TABLE[Event.LAST_ANSWERED]
_SWITCHED: Final = TABLE[Event.SWITCHED]
_ENDED: Final = TABLE[Event.ENDED]


class Server:
    """What a connection needs from the server that it belongs to.

    It is a class, because compiled code calls its methods ten times faster than a ``Protocol``'s.

    :ivar draining: whether connections are closed after their current answer.
    """

    reactor: Clock
    site: Site
    limits: ChannelLimits
    draining: bool
    handshakes: Handshakes

    def admit(self, request: Request) -> None:
        """A request begins. Raises :class:`ProxyError` if there are too many."""
        raise NotImplementedError

    def record(self, request: Request) -> None:
        """A request has been answered, or never will be. Called once for each."""
        raise NotImplementedError

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Let the site say what went wrong."""
        raise NotImplementedError

    def forget(self, channel: HTTPChannel, reason: Failure) -> None:
        """The connection has ended."""
        raise NotImplementedError


class HTTPChannel(ClientConnection):
    """One connection of a client.

    :param peer: the address at its other end, as text.
    :param trusted: whether that is a proxy which is trusted to name the client's address.
    :param excess: the problem to refuse its first request with, if this connection exceeds a limit.
    """

    def __init__(
        self, server: Server, peer: str, *, trusted: bool, excess: Problem | None = None
    ) -> None:
        self.server = server
        self.peer = peer
        self.trusted = trusted
        self.excess = excess
        self.server_name = None
        self.persistent = True
        self.phase = _HANDSHAKE
        self.request: Request | None = None
        self._codec = HTTP1(server.site.common_lines)
        self._reading = False
        self._lingering_until = 0.0
        self._lingered = 0
        self._disconnecting = False
        self._tunnel: Tunnel | None = None
        self._deadline: float | None = None
        self._receiving: Pace | None = None
        self._sending = self._pace(self.now())

    def _on(self, steps: dict[Phase, Phase], within: float | None = None) -> None:
        """Take the table's step for an event; the next event is due ``within`` so many seconds."""
        self.phase = steps.get(self.phase, self.phase)
        self._deadline = None if within is None else self.now() + within

    # Reading.

    def connectionMade(self) -> None:
        """A client has connected."""
        self._deadline = self.now() + self.server.limits.handshake_timeout

    def handshakeCompleted(self) -> None:
        """The TLS handshake is done; the first head is due."""
        self.server.handshakes.done += 1
        # A proxy may ask for one name by SNI, and then send requests for any.
        if not self.trusted:
            self.server_name = self.transport.server_name
        server = self.server
        self._on(_SECURED, GRACE if server.draining else server.limits.head_timeout)

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._tunnel is not None:
            self._tunnel.dataReceived(data)
            return
        codec = self._codec
        if self.phase is _EXCHANGE:
            self._feed(data)
        elif self.phase is _LINGER:
            self._drop(len(data))
        else:
            codec.unread = codec.unread + data if codec.unread else data
        if codec.unread and not self._reading:
            self._read_heads()

    def _read_heads(self) -> None:
        """Start one request after another, as long as each is answered at once.

        Stop after a few, so that other connections get their turn: one read may bring a thousand.
        """
        self._reading = True
        codec = self._codec
        try:
            for _ in range(MOST_AT_ONCE):
                if not codec.unread or self.phase not in _BETWEEN_REQUESTS:
                    return
                if not self._read_head():
                    return
        finally:
            self._reading = False
        if codec.unread and self.phase in _BETWEEN_REQUESTS:
            # While this is set, nothing else reads heads.
            self._reading = True
            self.transport.pauseProducing()
            self.transport.call_soon(self._read_on)

    def _read_on(self) -> None:
        self._reading = False
        if self._codec.unread and self.phase in _BETWEEN_REQUESTS:
            self._take_more()
            self._read_heads()

    def _take_more(self) -> None:
        """Read on, unless pipelined requests fill the buffer: these are answered first."""
        if len(self._codec.unread) <= self.server.limits.buffer_bytes:
            self.transport.resumeProducing()

    def _read_head(self) -> bool:
        """Begin with the next request. Returns whether there was a head, valid or not."""
        limits = self.server.limits
        try:
            head = self._codec.take_head(limits.head)
            if head is None:
                if self.phase is not _HEAD:
                    # The first byte sets the deadline, and none after it can move it.
                    self._on(_HEAD_BEGUN, limits.head_timeout)
                return False
            body, persistent = request_framing(head)
        except ProxyError as error:
            self._refuse(error)
            return True
        self._start(head, body, persistent)
        return True

    def _start(self, head: RequestHead, body: Decoder | None, persistent: bool) -> None:
        server = self.server
        self._on(_HEAD_READ)
        self.persistent = persistent and not server.draining
        if body is not None:
            # Reading may have been paused while requests before this one filled the buffer.
            self.transport.resumeProducing()
        request = self.request = Request(self, head, body)
        try:
            server.admit(request)
            if body is not None:
                self._check_length(body.length or 0)
            server.site.handle(request)
        except ProxyError as error:
            request.refuse(error)
        except Exception:
            _log.failure("a request failed inside the proxy; please report this")
            self._give_up(request, ProxyError(Problem.INTERNAL))
        if body is not None and not request.finished and self._codec.unread:
            self._feed(self._codec.take_rest())

    def _check_length(self, length: int) -> None:
        limit = self.server.limits.body_bytes
        if limit and length > limit:
            raise ProxyError(Problem.BODY_TOO_LARGE, f"{length} bytes")

    def _feed(self, data: bytes) -> None:
        """Bytes that came while a request is being answered: its body, or the next request."""
        request = self.request
        assert request is not None
        body = request.body
        if body is None or body.done:
            codec = self._codec
            codec.unread += data
            if len(codec.unread) > self.server.limits.buffer_bytes:
                self.transport.pauseProducing()
            return
        try:
            payload, self._codec.unread = body.feed(data)
            if body.pieces > MANY_PIECES:
                self.transport.read_less(body.pieces)
            request.body_bytes_received += len(payload)
            self._check_length(request.body_bytes_received)
        except ProxyError as error:
            self._give_up(request, error)
            return
        consumer = request.consumer
        if consumer is not None:
            if payload:
                consumer.body_received(payload)
            if body.done:
                consumer.body_ended()

    def _refuse(self, error: ProxyError) -> None:
        """Answer bytes that are no valid request; whatever follows them cannot be trusted."""
        self._codec.take_rest()
        self.persistent = False
        self._on(_HEAD_READ)
        request = self.request = Request(self, _UNREADABLE, None)
        request.refuse(error)

    def _give_up(self, request: Request, error: ProxyError) -> None:
        """End the exchange in any state, and answer with the reason."""
        self._drop_consumer(request)
        request.refuse(error)

    def _drop_consumer(self, request: Request) -> None:
        consumer, request.consumer = request.consumer, None
        if consumer is not None:
            consumer.client_lost()

    # Answering.

    def now(self) -> float:
        """Seconds of the reactor's clock."""
        return self.server.reactor.seconds()

    @property
    def tls(self) -> Any:
        """See :class:`.connection.ClientConnection`."""
        transport: Any = self.transport
        return transport.tls

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Let the site say what went wrong."""
        self.server.refuse(request, error)

    def record(self, request: Request) -> None:
        """Write the request into the access log."""
        self.server.record(request)

    def send_head(self, request: Request, reason: bytes, fields: bytes, length: int | None) -> None:
        """See :class:`.connection.ClientConnection`, as for all that follows."""
        # The answer may end before the request's body does, and the next request begins behind the
        # body.
        body = request.body
        persistent = self.persistent and (body is None or body.done)
        self.persistent = self._codec.begin(request, reason, fields, length, persistent)

    def send_body(self, data: bytes) -> None:
        """Send bytes of the body."""
        self.transport.write(self._codec.body(data))

    def flush(self) -> None:
        """Send the head even though no body has come yet."""
        head = self._codec.head()
        if head:
            self.transport.write(head)

    def take_back(self) -> bool:
        """Drop the answer, if none of it is sent. Returns whether that was possible."""
        return self._codec.take_back()

    def send_interim(self, request: Request, status: int, reason: bytes, fields: bytes) -> None:
        """Send an informational answer."""
        self.transport.write(interim(request.head, status, reason, fields))

    def send_end(self, request: Request) -> None:
        """The answer is whole."""
        rest = self._codec.end()
        if rest:
            self.transport.write(rest)
        self.request = None
        self._receiving = None
        self.server.record(request)
        if not self.persistent:
            self._close()
        elif self.transport.is_full:
            # A client that sends requests but reads no answer would fill our memory with answers.
            self._on(_BACKED_UP)
            self.transport.registerProducer(self, True)
        else:
            self._await_request(_ANSWERED)

    def _await_request(self, steps: dict[Phase, Phase]) -> None:
        self._on(steps, self.server.limits.keepalive_timeout)
        if not self.transport.is_reading:
            self._take_more()
        if self._codec.unread and not self._reading:
            self._read_heads()

    def _close(self) -> None:
        """Close once the answer is sent and the client has had time to read it.

        If the client is still sending, closing at once would reset the connection and destroy the
        answer on its way (RFC 9112 section 9.6). So what comes is read and dropped (lingering
        close).
        """
        self._on(_LAST_ANSWERED, LINGER)
        self._lingering_until = self.now() + LONGEST_LINGER
        self._codec.take_rest()
        self.transport.resumeProducing()
        self.transport.loseWriteConnection()

    def _drop(self, count: int) -> None:
        """Drop bytes that came too late.

        Many clients read the answer only after they have sent everything.
        """
        self._lingered += count
        self._deadline = min(self.now() + LINGER, self._lingering_until)
        if self._lingered > MOST_LINGERED:
            self._expire()

    def cut(self, request: Request) -> None:
        """The answer can't be completed."""
        self.request = None
        self.server.record(request)
        self._abort()

    def _abort(self) -> None:
        self._on(_ENDED, LINGER)
        self.transport.abortConnection()

    def hand_over(self, tunnel: Tunnel) -> None:
        """Give the connection to ``tunnel``, with the bytes that the client has sent already.

        From here on the channel only keeps the connection counted.
        """
        self._on(_SWITCHED)
        self._codec.forget()
        self._tunnel = tunnel
        self.transport.setTcpKeepAlive(True)
        data = self._codec.take_rest()
        # Reading is paused if the client has sent too far ahead.
        self.transport.resumeProducing()
        if self._disconnecting:
            self.transport.abortConnection()
        elif data:
            tunnel.dataReceived(data)

    def connectionLost(self, reason: Failure = CLOSED) -> None:
        """The client is gone."""
        self.server.forget(self, reason)
        self._codec.take_rest()
        request, self.request = self.request, None
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is not None:
            tunnel.connectionLost(reason)
        elif request is not None:
            request.note = request.note or "the client went away"
            request.status = request.status or CLIENT_GONE
            request.finished = True
            self._drop_consumer(request)
            self.server.record(request)

    # The transport calls these when the client has yet to take what was written, and when it has.

    def pauseProducing(self) -> None:
        """Begin no further request."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The client has taken all answers."""
        self.transport.unregisterProducer()
        if self.persistent:
            self._await_request(_TAKEN)
        else:
            self._close()

    def stopProducing(self) -> None:
        """The client is gone; :meth:`connectionLost` says so too."""

    # Time.

    def check(self, now: float) -> None:
        """Check deadlines and pace; called about once a second."""
        transport = self.transport
        if self.phase is _TUNNEL:
            return
        if self._sending.is_late(now, transport.bytes_sent, transport.bytes_waiting > 0):
            self._cut_off("the client read too slowly")
        elif self.phase is _EXCHANGE:
            if not transport.is_reading and transport.has_hung_up:
                # While the notebook takes no body, nothing is read, and the end of the connection
                # is not seen.
                transport.abortConnection()
            else:
                self._check_body(now)
        elif self._deadline is not None and now >= self._deadline:
            self._expire()

    def _pace(self, now: float) -> Pace:
        return Pace(self.server.limits.body_timeout, self.server.limits.body_rate, now)

    def _check_body(self, now: float) -> None:
        request = self.request
        assert request is not None
        if self._receiving is None:
            self._receiving = self._pace(now)
        wanted = request.is_incomplete and self.transport.is_reading
        if self._receiving.is_late(now, request.body_bytes_received, wanted):
            self._give_up(request, ProxyError(Problem.REQUEST_TIMEOUT, "the body was too slow"))

    @property
    def is_slow(self) -> bool:
        """Whether the client now sends a body, or reads an answer, below the slowest pace."""
        if self.phase is not _EXCHANGE:
            return False
        return self._sending.is_slow or (self._receiving is not None and self._receiving.is_slow)

    @property
    def idle_until(self) -> float | None:
        """When this connection is closed if no request comes.

        None, unless all requests are answered and the client has taken the answers: only then may
        the connection be closed.
        """
        idle = self.phase is _IDLE and not self._codec.unread and not self.transport.bytes_waiting
        return self._deadline if idle else None

    def give_way(self) -> bool:
        """Close if idle; returns whether it does. The client may be about to send a request."""
        if self.idle_until is None or self.transport.has_input:
            return False
        self._expire()
        return True

    def _cut_off(self, why: str) -> None:
        request = self.request
        if request is None:
            self._abort()
            return
        request.note = why
        self._drop_consumer(request)
        request.cut()

    def _expire(self) -> None:
        self._deadline = None
        if self.phase is _HANDSHAKE:
            self.transport.abortConnection()
        elif self.phase is _HEAD and self._codec.unread:
            self._refuse(ProxyError(Problem.REQUEST_TIMEOUT, "the head was too slow"))
        else:
            # No request is open. What the kernel holds is still sent.
            self._on(_ENDED)
            self.transport.loseConnection()

    def close_if_idle(self) -> None:
        """Close now if no request is open or on its way; otherwise close after the answer.

        A client that has only just connected gets a short time for its request.
        """
        self.persistent = False
        if self.phase not in _BETWEEN_REQUESTS or self._codec.unread:
            return
        if self.phase is _IDLE and not self.transport.has_input:
            self._expire()
        elif self._deadline is not None:
            self._deadline = min(self._deadline, self.now() + GRACE)

    def disconnect(self) -> None:
        """End the connection: what was decided when the client connected no longer holds.

        An idle connection and a WebSocket end at once. A request that is being answered is answered
        first; no further one is served.
        """
        self._disconnecting = True
        self.persistent = False
        if self.phase is Phase.FLUSH:
            self.transport.unregisterProducer()
            self._close()
        elif self.phase in _BETWEEN_REQUESTS or self.phase is _TUNNEL:
            self.transport.abortConnection()

    @property
    def is_tunnel(self) -> bool:
        """Whether the connection was handed over to a tunnel."""
        return self.phase is _TUNNEL

    @property
    def is_busy(self) -> bool:
        """Whether closing now would lose something that the client waits for."""
        return self.phase is not _LINGER or self.transport.bytes_waiting > 0


classImplements(HTTPChannel, IHandshakeListener, IPushProducer)
