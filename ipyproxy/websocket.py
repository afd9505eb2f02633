"""The Autobahn pair: its two handshakes, and the bridge that carries frames between them.

Knows WebSocket connections. Autobahn's server checks the browser's handshake and answers it,
Autobahn's client checks the notebook's answer; from then on frames pass verbatim, because a pair
that passes whole messages costs several times the CPU and holds each message in memory. Knows
nothing of access, of routes, or of how the HTTP around the handshake is carried.
"""

from __future__ import annotations

import base64
import copy
import os
from collections.abc import Callable
from typing import Any

# Frames pass verbatim, so Autobahn's native masking and UTF-8 code (and the parser behind cffi
# that it loads) would only cost start time and memory.
os.environ.setdefault("AUTOBAHN_USE_NVX", "0")

from autobahn.twisted.websocket import (
    WebSocketClientFactory,
    WebSocketClientProtocol,
    WebSocketServerFactory,
    WebSocketServerProtocol,
)
from autobahn.websocket.compress import PerMessageDeflateResponse, PerMessageDeflateResponseAccept
from twisted.internet import protocol
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ipyproxy import frames
from ipyproxy.bridging import Action, Event, State, step
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.frames import FrameScanner

PING_AFTER = 45.0
"""Seconds of silence after which a side is pinged; below the idle time-outs of NAT and proxies."""
DEAD_AFTER = 120.0
"""Seconds of silence after which a side counts as gone."""
CLOSE_TIMEOUT = 10.0
"""Seconds that a side gets to close."""

EXTENSION = "permessage-deflate"


class BrowserSide(WebSocketServerProtocol):
    """The server half: checks the browser's handshake, and answers it once upstream has."""

    def __init__(self) -> None:
        super().__init__()
        self.refusal: ProxyError | None = None
        self._answer: Deferred[Any] = Deferred()

    def check(self, transport: Any, head: bytes) -> None:
        """Take the browser's handshake. Raises :class:`ProxyError` if it is none."""
        self.factory = _server_factory
        self.makeConnection(transport)
        self.dataReceived(head)
        if self.refusal is not None:
            raise self.refusal

    def onConnect(self, request: Any) -> Any:
        """Autobahn asks whether to accept: as upstream decides."""
        return self._answer

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:
        """Autobahn refuses the handshake: that is an ordinary HTTP answer here."""
        problem = Problem.UPGRADE_REQUIRED if responseHeaders else Problem.BAD_REQUEST
        self.refusal = ProxyError(problem, f"WebSocket handshake: {reason}")

    def accept(self, subprotocol: str | None, headers: dict[str, list[str]]) -> None:
        """Send 101 with exactly what upstream accepted."""
        self._answer.callback((subprotocol, headers))


class NotebookSide(WebSocketClientProtocol):
    """The client half: makes the key, and checks the notebook's answer."""

    def __init__(self, subprotocols: list[str], deflate_offered: bool) -> None:
        super().__init__()
        self.factory = copy.copy(_client_factory)
        self.factory.protocols = subprotocols
        self.websocket_key = base64.b64encode(os.urandom(16))
        self.refusal = ""
        self.opened = False
        self._deflate_offered = deflate_offered

    def startHandshake(self) -> None:
        """The request goes out with the fields of the browser's, byte for byte: not from here."""

    def perMessageCompressionAccept(
        self, response: PerMessageDeflateResponse
    ) -> PerMessageDeflateResponseAccept | None:
        """Autobahn asks whether the notebook's extension will do: if the browser offered it."""
        return PerMessageDeflateResponseAccept(response) if self._deflate_offered else None

    def check(self, transport: Any, block: bytes) -> None:
        """Take the notebook's answer. Raises :class:`ProxyError` unless it is a valid 101."""
        self.makeConnection(transport)
        self.dataReceived(block)
        if not self.opened:
            raise ProxyError(Problem.UPSTREAM_BROKEN, self.refusal or "an odd answer to Upgrade")

    def onOpen(self) -> None:
        """The answer is valid."""
        self.opened = True

    def failHandshake(self, reason: str) -> None:
        """The answer is not valid."""
        self.refusal = reason


def _factory(kind: Any) -> Any:
    factory = kind()
    # Deadlines are the bridge's own; Autobahn's timers would only add to them.
    factory.setProtocolOptions(openHandshakeTimeout=0)
    return factory


_server_factory = _factory(WebSocketServerFactory)
_server_factory.server = None
_client_factory = _factory(WebSocketClientFactory)


class _Side(protocol.Protocol):
    """One end of a bridge: what it sends goes through its scanner to the other end."""

    transport: Any

    def __init__(self, bridge: Bridge, transport: Any, scanner: FrameScanner, masks: bool) -> None:
        self.transport = transport
        self.scanner = scanner
        self.peer: _Side = self
        self.bytes_received = 0
        self._bridge = bridge
        self._masks = masks
        self._seen = 0
        self._heard: float | None = None
        self._pinged = False

    def dataReceived(self, data: bytes) -> None:
        """Frames, or parts of them."""
        self.bytes_received += len(data)
        scanner = self.scanner
        passed = scanner.feed(data)
        if passed:
            self.peer.transport.write(passed)
        if scanner.violation:
            self._bridge.violated(scanner.violation)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        """The connection is gone."""
        self._bridge.lost(self)

    def tell(self, code: int) -> None:
        """Send a close frame, if one may stand here and none has passed."""
        towards = self.peer.scanner
        if towards.at_boundary and not towards.close_code:
            towards.close_code = code
            towards.stop()
            self.transport.write(frames.close_frame(code, self._key()))

    def end(self) -> None:
        """Close our half after what is on its way; what still comes is read and dropped.

        Closing at once could reset the connection and destroy the close frame on its way.
        """
        self.transport.loseWriteConnection()
        self.transport.resumeProducing()

    def _key(self) -> bytes:
        return os.urandom(4) if self._masks else b""

    def is_silent(self, now: float) -> bool:
        """Whether this end counts as gone; pings it when it has been silent for a while."""
        if self._heard is None or self.bytes_received != self._seen:
            self._seen = self.bytes_received
            self._heard = now
            self._pinged = False
            return False
        silence = now - self._heard
        if silence >= PING_AFTER and not self._pinged and self.peer.scanner.at_boundary:
            self._pinged = True
            self.scanner.awaited_pong = os.urandom(8)
            ping = frames.control_frame(frames.PING, self.scanner.awaited_pong, self._key())
            self.transport.write(ping)
        # A side that we ourselves have stopped reading is not silent: it is being held.
        return silence >= DEAD_AFTER and self.transport.is_reading


class Bridge:
    """One open WebSocket, carried through.

    :param ended: called once, when both connections are gone.
    """

    def __init__(
        self,
        bridges: Bridges,
        client: Any,
        upstream: Any,
        *,
        deflate: bool,
        ended: Callable[[Bridge], None],
    ) -> None:
        reserved = frames.RSV1 if deflate else 0
        limit = bridges.message_limit
        self.state = State.OPEN
        self.client = _Side(
            self, client, FrameScanner(masked=True, reserved=reserved, message_limit=limit), False
        )
        self.upstream = _Side(
            self, upstream, FrameScanner(masked=False, reserved=reserved, message_limit=limit), True
        )
        self.client.peer, self.upstream.peer = self.upstream, self.client
        self.code = 0
        self._bridges = bridges
        self._ended = ended
        self._deadline: float | None = None
        bridges.open.add(self)
        # Whatever one side can't take makes the other wait.
        client.registerProducer(upstream, True)
        upstream.registerProducer(client, True)

    @property
    def close_code(self) -> int:
        """The code that the bridge ended with, as a browser would see it."""
        sides = (self.upstream.scanner, self.client.scanner)
        return self.code or next((s.close_code for s in sides if s.close_code), frames.ABNORMAL)

    def lost(self, side: _Side) -> None:
        """One connection is gone."""
        if side is self.client:
            self._on(Event.CLIENT_LOST, frames.GOING_AWAY)
        else:
            self._on(Event.UPSTREAM_LOST, frames.BAD_GATEWAY)

    def violated(self, code: int) -> None:
        """One side broke the protocol or a limit."""
        self._on(Event.VIOLATED, code)

    def drain(self) -> None:
        """The proxy is to stop; to be called again while the bridge is still open."""
        if self.client.scanner.at_boundary and self.upstream.scanner.at_boundary:
            self._on(Event.DRAINED, frames.GOING_AWAY)

    def check(self, now: float) -> None:
        """Look at deadlines and silence; called every few seconds."""
        if self._deadline is not None:
            if now >= self._deadline:
                self._on(Event.EXPIRED, frames.ABNORMAL)
        elif self.client.is_silent(now) or self.upstream.is_silent(now):
            self._on(Event.EXPIRED, frames.ABNORMAL)

    def _on(self, event: Event, code: int) -> None:
        before = self.state
        self.state, actions = step(before, event)
        if before is State.OPEN and self.state is not before:
            self._deadline = self._bridges.reactor.seconds() + CLOSE_TIMEOUT
            if event not in (Event.CLIENT_LOST, Event.UPSTREAM_LOST):
                self.code = code
        for action in actions:
            self._do(action, code)
        if self.state is State.CLOSED and before is not State.CLOSED:
            self._bridges.open.discard(self)
            self._ended(self)

    def _do(self, action: Action, code: int) -> None:
        match action:
            case Action.TELL_CLIENT:
                self.client.tell(code)
            case Action.TELL_UPSTREAM:
                self.upstream.tell(code)
            case Action.END_CLIENT:
                self.client.end()
            case Action.END_UPSTREAM:
                self.upstream.end()
            case Action.ABORT_CLIENT:
                self.client.transport.abortConnection()
            case Action.ABORT_UPSTREAM:
                self.upstream.transport.abortConnection()


class Bridges:
    """All open bridges.

    :param message_limit: bytes a message may have; 0: any.
    """

    def __init__(self, reactor: Any, message_limit: int) -> None:
        self.reactor = reactor
        self.message_limit = message_limit
        self.open: set[Bridge] = set()

    def sweep(self) -> None:
        """Check every bridge; to be called every few seconds."""
        now = self.reactor.seconds()
        for bridge in list(self.open):
            bridge.check(now)

    def drain(self) -> None:
        """Tell every bridge that the proxy is to stop; to be repeated while some are open."""
        for bridge in list(self.open):
            bridge.drain()
