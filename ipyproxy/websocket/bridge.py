"""The bridge: passes WebSocket frames verbatim between two connections.

Knows open WebSocket connections, their backpressure, keepalive and closing. It does not unmask,
decompress or reframe payloads, because passing whole messages costs several times the CPU and
buffers each message. Knows nothing of the handshakes, of access, or of routes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from twisted.python.failure import Failure

from ipyproxy.clock import Clock
from ipyproxy.net.protocol import CLOSED, StreamProtocol
from ipyproxy.net.tcp import MANY_PIECES
from ipyproxy.upstream.upstream import Traffic
from ipyproxy.websocket import frames
from ipyproxy.websocket.frames import FrameScanner
from ipyproxy.websocket.states import ENDS, Action, Event, State, step

PING_AFTER: Final = 45.0
"""Seconds of silence after which a client gets a ping: less than the time-outs of NAT and
proxies."""
ANSWER_WITHIN: Final = 75.0
"""Seconds in which the client then has to send something, or it counts as gone."""
CLOSE_TIMEOUT: Final = 10.0
"""Time-out of each step of closing in seconds, counted from the last byte that could be sent."""
OFFENDER_WAITS: Final = 1.0
"""The same, while one side has to answer a close frame that is due to the other side's
violation."""


class Side(StreamProtocol):
    """One side of a bridge: its bytes go through its scanner to the other side, ``peer``."""

    def __init__(self, bridge: Bridge, transport: Any, scanner: FrameScanner, masks: bool) -> None:
        self.transport = transport
        self.scanner = scanner
        self.peer: Side = self
        self.bytes_received = 0
        self._bridge = bridge
        self._masks = masks
        self.told = 0
        """The close code that was sent to this side, by its peer or by us; 0: none."""
        self._farewell = 0
        self._ending = False
        self._seen = -1
        self._heard = 0.0
        self._asked: float | None = None

    def dataReceived(self, data: bytes) -> None:
        """Bytes of frames from this side."""
        self.bytes_received += len(data)
        scanner = self.scanner
        passed = scanner.feed(data)
        if scanner.pieces > MANY_PIECES:
            self.transport.read_less(scanner.pieces)
        if passed:
            self.peer.transport.write(passed)
        if scanner.ending:
            self._bridge.stopped(self)

    def connectionLost(self, reason: Failure = CLOSED) -> None:
        """The connection is gone."""
        self._bridge.lost(self)

    # Closing.

    @property
    def is_done(self) -> bool:
        """Whether no more bytes of this side pass."""
        return self.scanner.ending and self.scanner.at_boundary

    def tell(self) -> None:
        """Send this side a close frame with the code of a violation, at the next frame boundary.

        Does nothing if neither side has violated the protocol, if this side has got a close frame,
        or if it has sent one, which its peer answers.
        """
        violation = self.scanner.violation or self.peer.scanner.violation
        if violation and not (self.told or self._farewell or self.scanner.close_code):
            self._farewell = violation
            self.peer.scanner.stop()
            self.take_leave()

    def end(self) -> None:
        """Close our half after the bytes on their way; read and drop what still comes.

        Closing at once could reset the connection and destroy these bytes.
        """
        self._ending = True
        self.take_leave()

    def take_leave(self) -> None:
        """Continue :meth:`tell` and :meth:`end`, as far as possible now."""
        if self._farewell and self.peer.scanner.at_boundary:
            self.told, self._farewell = self._farewell, 0
            self.scanner.withholds_close = True
            self.transport.write(frames.close_frame(self.told, self._key()))
        if self._ending and not (self._farewell and self.peer.transport.connected):
            self.transport.loseWriteConnection()
            self.transport.resumeProducing()

    def _key(self) -> bytes:
        return os.urandom(4) if self._masks else b""

    # Silence.

    def is_silent(self, now: float) -> bool:
        """Whether this side has sent nothing for too long; sends it a ping when one is due.

        It has to send something after a ping, or if it has stopped within a frame; but not while we
        don't read from it. While it has bytes to take, the kernel checks it (TCP_USER_TIMEOUT).
        """
        transport = self.transport
        heard = self.bytes_received != self._seen
        if heard or transport.bytes_waiting or not transport.is_reading:
            self._seen = self.bytes_received
            self._heard = now
            self._asked = None
        elif self._asked is not None:
            return now - self._asked >= ANSWER_WITHIN
        elif now - self._heard >= PING_AFTER:
            if self.peer.scanner.at_boundary:
                self._ping()
                self._asked = now
            elif not self.scanner.at_boundary:
                self._asked = now
        return False

    def _ping(self) -> None:
        payload = self.scanner.awaited_pong = os.urandom(8)
        self.transport.write(frames.control_frame(frames.PING, payload, self._key()))


class Bridge:
    """One open WebSocket.

    ``opened`` and ``last_activity`` are seconds of the reactor's clock. The latter is when the
    client last sent (a part of) a message, as seen by :meth:`check` and at the end; pings and pongs
    don't count.

    :param client: the client's transport.
    :param upstream: the upstream's transport.
    :param deflate: whether permessage-deflate was negotiated.
    :param ended: called once, when both connections are gone.
    """

    __slots__ = (
        "_bridges",
        "_deadline",
        "_ended",
        "_messages",
        "_patience",
        "_sent",
        "client",
        "end",
        "last_activity",
        "opened",
        "state",
        "upstream",
    )

    def __init__(
        self,
        bridges: Bridges,
        client: Any,
        upstream: Any,
        *,
        deflate: bool,
        ended: Callable[[Bridge], None],
    ) -> None:
        limit = bridges.message_limit
        from_client = FrameScanner(masked=True, deflate=deflate, message_limit=limit)
        from_upstream = FrameScanner(masked=False, deflate=deflate, message_limit=limit)
        self.state = State.OPEN
        self.end = ""
        """Why it ended, one of :data:`ipyproxy.websocket.states.ENDS`; empty while it is open."""
        self.client = Side(self, client, from_client, False)
        self.upstream = Side(self, upstream, from_upstream, True)
        self.client.peer, self.upstream.peer = self.upstream, self.client
        self.opened = self.last_activity = float(bridges.reactor.seconds())
        self._bridges = bridges
        self._ended = ended
        self._messages = 0
        self._sent = 0
        self._patience = self._deadline = 0.0
        bridges.open.add(self)
        # Backpressure: if one side can't take bytes, the other has to wait.
        client.registerProducer(upstream, True)
        upstream.registerProducer(client, True)

    @property
    def traffic(self) -> Traffic:
        """The traffic of both sides."""
        up, down = self.client, self.upstream
        return Traffic(
            up.bytes_received, down.bytes_received, up.scanner.messages, down.scanner.messages
        )

    @property
    def close_code(self) -> int:
        """The close code of the bridge: the one sent to the client, or else the client's.

        1006 (RFC 6455 section 7.4.1) if the connection ended without a close frame.
        """
        return self.client.told or self.client.scanner.close_code or frames.ABNORMAL

    def stopped(self, side: Side) -> None:
        """No more bytes of ``side`` pass, or only the rest of a frame."""
        scanner = side.scanner
        if scanner.close_code and not scanner.withholds_close:
            side.peer.told = scanner.close_code
        side.peer.take_leave()
        if self.client.is_done and self.upstream.is_done:
            self._on(Event.ALL_SAID)
        elif scanner.close_code:
            self._on(Event.CLIENT_CLOSED if side is self.client else Event.UPSTREAM_CLOSED)
        elif scanner.violation:
            self._on(Event.CLIENT_VIOLATED if side is self.client else Event.UPSTREAM_VIOLATED)

    def lost(self, side: Side) -> None:
        """One side's connection is gone."""
        self._on(Event.CLIENT_LOST if side is self.client else Event.UPSTREAM_LOST)

    def drain(self) -> None:
        """The proxy drains: end the bridge."""
        self._on(Event.DRAINED)

    def lose_route(self) -> None:
        """The route was removed: end the bridge."""
        self._on(Event.UNROUTED)

    def check(self, now: float) -> None:
        """Check silence and deadlines; called every few seconds."""
        if self.state is State.OPEN:
            self._note_activity(now)
            # The upstream gets no pings: a notebook whose only thread is busy answers nothing for
            # minutes, and the kernel notices one that has vanished (TCP keepalive).
            if self.client.is_silent(now):
                self._on(Event.CLIENT_SILENT)
        elif self._bytes_sent() != self._sent:
            self._start_deadline(now)
        elif now >= self._deadline:
            self._on(Event.EXPIRED)

    def _note_activity(self, now: float) -> None:
        scanner = self.client.scanner
        if scanner.messages != self._messages or scanner.in_message:
            self._messages = scanner.messages
            self.last_activity = now

    def _start_deadline(self, now: float) -> None:
        self._sent = self._bytes_sent()
        self._deadline = now + self._patience

    def _bytes_sent(self) -> int:
        return int(self.client.transport.bytes_sent + self.upstream.transport.bytes_sent)

    def _on(self, event: Event) -> None:
        """Take the table's step for ``event``."""
        before = self.state
        self.state, actions = step(before, event)
        if actions or self.state is not before:
            self.end = self.end or ENDS.get(event, "")
        for action in actions:
            self._do(action)
        if self.state is before:
            return
        now = self._bridges.reactor.seconds()
        if before is State.OPEN:
            self._note_activity(now)
        if self.state is State.CLOSED:
            self._bridges.open.discard(self)
            self._bridges.ended[self.end] += 1
            self._ended(self)
            return
        violated = event in (Event.CLIENT_VIOLATED, Event.UPSTREAM_VIOLATED)
        self._patience = OFFENDER_WAITS if violated else CLOSE_TIMEOUT
        self._start_deadline(now)

    def _do(self, action: Action) -> None:
        match action:
            case Action.TELL_CLIENT:
                self.client.tell()
            case Action.TELL_UPSTREAM:
                self.upstream.tell()
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

    :param message_limit: most bytes of a message; 0: no limit.
    """

    def __init__(self, reactor: Clock, message_limit: int) -> None:
        self.reactor = reactor
        self.message_limit = message_limit
        self.open: set[Bridge] = set()
        self.ended = dict.fromkeys(ENDS.values(), 0)
        """How many have ended, by reason."""
        self._drain: tuple[float, float, int] | None = None

    def sweep(self) -> None:
        """Check every bridge; to be called about once a second."""
        now = self.reactor.seconds()
        for bridge in list(self.open):
            bridge.check(now)
        self._drain_some(now)

    def drain(self, within: float = 0.0) -> None:
        """End every bridge, without a close frame, evenly over ``within`` seconds.

        :meth:`sweep` carries this out. Spread over time, the browsers do not all reconnect at once.
        A second call can only make it faster.
        """
        now = self.reactor.seconds()
        if self._drain is None or now + within < sum(self._drain[:2]):
            self._drain = now, within, len(self.open)
        self._drain_some(now)

    def _drain_some(self, now: float) -> None:
        if self._drain is None:
            return
        began, within, total = self._drain
        due = int(total * (now - began) / within) if within else total
        still_open = [bridge for bridge in self.open if bridge.state is State.OPEN]
        for bridge in still_open[max(0, total - due) :]:
            bridge.drain()
