"""One connection to an upstream, with one exchange at a time.

Knows HTTP/1.1 on the client's side. Knows nothing of who sent the request, or of other connections.
It passes heads and bytes to a receiver as they arrive, and buffers no body.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from ipyproxy.clock import Clock
from ipyproxy.errors import BrokenAnswerError, HungUpError, Problem, ProxyError
from ipyproxy.http.answers import keep_alive_timeout
from ipyproxy.http1.framing import Decoder, response_framing
from ipyproxy.http1.head import (
    BARE_LF,
    NOT_HTTP,
    ResponseHead,
    has_bare_lf,
    parse_response,
    response_fields_reader,
)
from ipyproxy.net.pace import Pace
from ipyproxy.net.protocol import CLOSED, StreamProtocol, Tunnel
from ipyproxy.net.tcp import MANY_PIECES

_BEGINNING: Final = b"HTTP/1."
_BEGUN: Final = len(_BEGINNING)


class Receiver(Protocol):
    """Sends a request and takes its answer."""

    def connected(self, connection: UpstreamConnection) -> None:
        """A connection is ready: send the request now, by ``connection.send``."""

    def interim(self, head: ResponseHead) -> None:
        """An informational (1xx) answer has come; the final one follows."""

    def response_begun(self, head: ResponseHead, body: Decoder | None) -> None:
        """The head of the answer has come."""

    def response_received(self, data: bytes) -> None:
        """Some bytes of the answer's body have come."""

    def response_waiting(self) -> None:
        """No more of the answer has come yet. Called once, and only if the answer is incomplete."""

    def response_ended(self) -> None:
        """The answer is complete."""

    def stale(self) -> None:
        """A reused connection was closed before any answer came."""

    def failed(self, error: ProxyError) -> None:
        """The answer cannot be completed."""


Switched = Callable[[bytes, bytes], None]
"""Upstream has answered 101, and the connection now belongs to the receiver: called with the head
of the answer with its empty line, and the bytes that came behind it."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Limits towards upstreams: idle connections in all, bytes, seconds."""

    idle_connections: int
    response_head_bytes: int
    buffer_bytes: int
    connect_timeout: float
    response_timeout: float
    idle_timeout: float


class Keeper(Protocol):
    """Makes connections, and owns them while no exchange uses them."""

    reactor: Clock
    limits: ClientLimits

    def keep(self, connection: UpstreamConnection) -> None:
        """The exchange on the connection has ended, and another may follow."""

    def drop(self, connection: UpstreamConnection) -> None:
        """Close the connection, and never use it again."""

    def forget(self, connection: UpstreamConnection) -> None:
        """The connection has ended."""


class UpstreamConnection(StreamProtocol):
    """One connection to an upstream."""

    def __init__(self, keeper: Keeper) -> None:
        self.used = False
        self.retired = False
        """Whether it leads to a process that doesn't have the port any more."""
        self._keeper = keeper
        self._receiver: Receiver | None = None
        self._method = b""
        self._buffer = b""
        self._fields = response_fields_reader()
        self._head_bytes = 0
        self._body: Decoder | None = None
        self._begun = False
        self._persistent = False
        self._request_ended = False
        self._tunnel: Tunnel | None = None
        self._sending: Pace | None = None
        self._timeout: float | None = None
        self.switched: Switched | None = None
        """Set by a receiver that asks for another protocol, for as long as its request lasts."""
        self.deadline: float | None = None
        self.keep_alive = math.inf
        """Seconds for which the upstream keeps the connection open, as it said."""
        self.kept_at = self.kept_until = 0.0
        """Since when the connection is idle, and until when it may be reused."""

    # Sending.

    def send(
        self,
        method: bytes,
        head: bytes,
        receiver: Receiver,
        *,
        ended: bool,
        timeout: float | None = None,
    ) -> None:
        """Send a request's head.

        :param head: the head with its empty line, and perhaps bytes of the body.
        :param ended: whether the request is complete; if not, :meth:`end_request` follows.
        :param timeout: seconds to wait for the answer to begin; None: as for all upstreams.
        """
        self._receiver = receiver
        self._method = method
        self._timeout = timeout
        self._begun = False
        self._head_bytes = 0
        self._request_ended = False
        self._sending = None
        self.deadline = None
        if ended:
            self.end_request()
        self.transport.write(head)

    def end_request(self) -> None:
        """The request is complete, so the answer is due."""
        self._request_ended = True
        timeout = self._response_timeout()
        if timeout and not self._begun:
            self.deadline = self._keeper.reactor.seconds() + timeout

    def _response_timeout(self) -> float:
        return self._keeper.limits.response_timeout if self._timeout is None else self._timeout

    def abandon(self) -> None:
        """Close, because the receiver has given up and the answer could still come."""
        self._receiver = None
        self.transport.abortConnection()

    # Receiving.

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the upstream."""
        if self._tunnel is not None:
            self._tunnel.dataReceived(data)
        elif self._receiver is None:
            # The connection is idle, so these bytes answer no request (or one that was given up).
            self._keeper.drop(self)
        elif self._begun:
            self._feed(data)
        else:
            self._buffer = self._buffer + data if self._buffer else data
            try:
                self._read_heads()
            except ProxyError as error:
                self._fail(error)

    def _read_heads(self) -> None:
        while not self._begun and self._receiver is not None:
            buffer = self._buffer
            end = buffer.find(b"\r\n\r\n")
            # The limit is for all heads of one answer; otherwise 1xx answers could come for ever.
            limit = self._keeper.limits.response_head_bytes
            if self._head_bytes + (len(buffer) if end < 0 else end) > limit:
                raise BrokenAnswerError(f"its head is longer than {limit} bytes")
            # A server that speaks another protocol, or ends lines differently, may wait for more
            # bytes from us.
            if buffer[:_BEGUN] != _BEGINNING and not _BEGINNING.startswith(buffer):
                raise BrokenAnswerError(NOT_HTTP)
            if end < 0:
                if has_bare_lf(buffer):
                    raise BrokenAnswerError(BARE_LF)
                return
            head = parse_response(buffer[:end], self._fields)
            if head.status >= 200:
                self._begin(head, buffer[end + 4 :])
                return
            self._head_bytes += end
            self._buffer = buffer[end + 4 :]
            if head.status == 101:
                self._switch(buffer[: end + 4], self._buffer)
            else:
                self._receiver.interim(head)

    def _begin(self, head: ResponseHead, rest: bytes) -> None:
        receiver = self._receiver
        assert receiver is not None
        self._buffer = b""
        self._begun = True
        self.deadline = None
        body, self._persistent = response_framing(head, self._method)
        self._body = body
        if b"keep-alive" in head.fields.special:
            self.keep_alive = keep_alive_timeout(head)
        receiver.response_begun(head, body)
        if body is None or body.done:
            self._end(rest)
            return
        if rest:
            self._feed(rest)
        if self._receiver is receiver:
            receiver.response_waiting()

    def _feed(self, data: bytes) -> None:
        receiver, body = self._receiver, self._body
        assert receiver is not None
        assert body is not None
        try:
            payload, rest = body.feed(data)
        except ProxyError as error:
            self._fail(BrokenAnswerError(error.detail))
            return
        if body.pieces > MANY_PIECES:
            self.transport.read_less(body.pieces)
        if payload:
            receiver.response_received(payload)
        if body.done and self._receiver is receiver:
            self._end(rest)

    def _end(self, rest: bytes) -> None:
        receiver, self._receiver = self._receiver, None
        assert receiver is not None
        self.used = True
        self.switched = None
        unsent = self.transport.bytes_waiting > 0
        if self._persistent and self._request_ended and not rest and not unsent:
            self._keeper.keep(self)
        else:
            self._keeper.drop(self)
        receiver.response_ended()

    def _switch(self, block: bytes, rest: bytes) -> None:
        switched, self.switched = self.switched, None
        if switched is None:
            raise ProxyError(Problem.UPSTREAM_BROKEN, "101 without an upgrade")
        self._buffer = b""
        self.deadline = None
        switched(block, rest)
        # Only now, so that the receiver hears of the end if the call above fails.
        self._receiver = None

    def hand_over(self, tunnel: Tunnel) -> None:
        """Give the connection to ``tunnel`` after :data:`Switched`."""
        self._fields = response_fields_reader()  # what the reader remembers is not needed any more
        self._tunnel = tunnel
        self.transport.setTcpKeepAlive(True)

    @property
    def is_tunnel(self) -> bool:
        """Whether the connection was handed over to a tunnel."""
        return self._tunnel is not None

    def _fail(self, error: ProxyError) -> None:
        receiver, self._receiver = self._receiver, None
        self.transport.abortConnection()
        if receiver is not None:
            receiver.failed(error)

    def connectionLost(self, reason: Failure = CLOSED) -> None:
        """The connection has ended."""
        self._keeper.forget(self)
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is not None:
            tunnel.connectionLost(reason)
        receiver, self._receiver = self._receiver, None
        if receiver is None:
            return
        body = self._body
        if not self._begun:
            if self._buffer or self._head_bytes:
                receiver.failed(ProxyError(Problem.UPSTREAM_BROKEN, "it hung up within its answer"))
            elif self.used:
                receiver.stale()
            else:
                receiver.failed(HungUpError("it hung up without an answer"))
        elif body is not None and body.ends_at_close and reason.check(ConnectionDone):
            receiver.response_ended()
        else:
            receiver.failed(ProxyError(Problem.UPSTREAM_BROKEN, "it hung up within its answer"))

    def check(self, now: float) -> None:
        """Check the deadline; called about once a second."""
        if self.deadline is not None and now >= self.deadline:
            self.deadline = None
            if self._receiver is None:
                self._keeper.drop(self)
            else:
                self._fail(ProxyError(Problem.UPSTREAM_TIMEOUT))
        elif self._receiver is not None and not self._takes_request(now):
            self._fail(ProxyError(Problem.UPSTREAM_TIMEOUT, "it did not take the request"))

    def _takes_request(self, now: float) -> bool:
        timeout = self._response_timeout()
        if not timeout:
            return True
        if self._sending is None:
            self._sending = Pace(timeout, 0, now)
        transport = self.transport
        return not self._sending.is_late(now, transport.bytes_sent, transport.bytes_waiting > 0)
