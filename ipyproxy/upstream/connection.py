"""One connection to an upstream, and one exchange on it at a time.

Knows HTTP/1.1 as a client speaks it. Knows nothing of who asked, nor of other connections: it hands
heads and bytes to a receiver as they arrive, and holds no body.
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
    """Who sent a request and takes its answer."""

    def connected(self, connection: UpstreamConnection) -> None:
        """A connection is there: send the request now, by ``connection.send``."""

    def interim(self, head: ResponseHead) -> None:
        """An informational answer; the real one follows."""

    def response_begun(self, head: ResponseHead, body: Decoder | None) -> None:
        """The head of the answer."""

    def response_received(self, data: bytes) -> None:
        """Some bytes of the answer's body."""

    def response_waiting(self) -> None:
        """No more of the answer has come yet; called once, and not if it came all at once."""

    def response_ended(self) -> None:
        """The answer is whole."""

    def stale(self) -> None:
        """A kept connection turned out to be closed before any answer came."""

    def failed(self, error: ProxyError) -> None:
        """There will be no whole answer."""


Switched = Callable[[bytes, bytes], None]
"""Upstream has answered 101, and the connection now belongs to the receiver: called with the head
of the answer with its empty line, and the bytes that came behind it."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Bounds towards upstreams: connections kept in all, bytes, seconds."""

    idle_connections: int
    response_head_bytes: int
    buffer_bytes: int
    connect_timeout: float
    response_timeout: float
    idle_timeout: float


class Keeper(Protocol):
    """Who made a connection, and has it whenever nobody uses it."""

    reactor: Clock
    limits: ClientLimits

    def keep(self, connection: UpstreamConnection) -> None:
        """Its exchange has ended, and another may follow."""

    def drop(self, connection: UpstreamConnection) -> None:
        """It is to be closed, and given to nobody from now on."""

    def forget(self, connection: UpstreamConnection) -> None:
        """It has ended."""


class UpstreamConnection(StreamProtocol):
    """One connection to an upstream."""

    def __init__(self, keeper: Keeper) -> None:
        self.used = False
        self.retired = False
        """Whether it leads to somebody who has the port no more."""
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
        """Seconds for which upstream has said that it keeps the connection open."""
        self.kept_at = self.kept_until = 0.0
        """Since when it waits for a request, and until when it is used for one."""

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
        :param ended: whether that is all; else :meth:`end_request` says so later.
        :param timeout: seconds for which the answer may not begin; None: as for all.
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
        """The request is sent whole, so the answer is due."""
        self._request_ended = True
        timeout = self._response_timeout()
        if timeout and not self._begun:
            self.deadline = self._keeper.reactor.seconds() + timeout

    def _response_timeout(self) -> float:
        return self._keeper.limits.response_timeout if self._timeout is None else self._timeout

    def abandon(self) -> None:
        """The receiver wants nothing more: close, because the answer could still come."""
        self._receiver = None
        self.transport.abortConnection()

    # Receiving.

    def dataReceived(self, data: bytes) -> None:
        """Bytes from upstream."""
        if self._tunnel is not None:
            self._tunnel.dataReceived(data)
        elif self._receiver is None:
            # Idle, so nobody asked for this (or the request was given up).
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
            # All heads of one answer together, or informational ones could come without end.
            limit = self._keeper.limits.response_head_bytes
            if self._head_bytes + (len(buffer) if end < 0 else end) > limit:
                raise BrokenAnswerError(f"its head is longer than {limit} bytes")
            # Whoever speaks another protocol, or ends lines in another way, may well wait for us to
            # say more.
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
        # Only now, so that whatever fails in there is an end that the receiver hears of.
        self._receiver = None

    def hand_over(self, tunnel: Tunnel) -> None:
        """Give the connection to ``tunnel`` after :data:`Switched`."""
        self._fields = response_fields_reader()  # what it remembers is not needed any more
        self._tunnel = tunnel
        self.transport.setTcpKeepAlive(True)

    @property
    def is_tunnel(self) -> bool:
        """Whether it was handed over."""
        return self._tunnel is not None

    def _fail(self, error: ProxyError) -> None:
        receiver, self._receiver = self._receiver, None
        self.transport.abortConnection()
        if receiver is not None:
            receiver.failed(error)

    def connectionLost(self, reason: Failure = CLOSED) -> None:
        """Upstream is gone."""
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
        """Look at the deadline; called about once a second."""
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
