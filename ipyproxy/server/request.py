"""One request and the methods to answer it: what the server hands to the site.

Knows what an answer consists of (a head, a body, an end), and carries what the site tells the log.
Knows nothing of how an answer is spelled, of how bytes come in, of deadlines, or of what the
request is for. The connection that the answer goes to is declared here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.framing import Decoder
from ipyproxy.http1.head import RequestHead
from ipyproxy.http1.lines import block_of
from ipyproxy.net.protocol import StreamProtocol, Tunnel
from ipyproxy.upstream.upstream import Upstream

NO_PAGES: Final[Mapping[int, bytes]] = MappingProxyType({})
_WITHOUT_BODY: Final = (204, 304)

Unserved = Callable[["Request", ProxyError], None]
"""Answers a request that cannot be carried."""


class BodyConsumer(Protocol):
    """Takes a request's body as it arrives, and is told if the client goes away."""

    def body_received(self, data: bytes) -> None:
        """Some bytes of the body."""

    def body_ended(self) -> None:
        """The body is whole."""

    def client_lost(self) -> None:
        """The client is gone, or its body is broken: the exchange is over."""


class Request:
    """One request and the methods to answer it.

    An answer is :meth:`respond` (all at once), or :meth:`begin`, any number of :meth:`write`, and
    :meth:`finish`. The rest of the interface is what Twisted's Resource tree asks for.
    """

    body_bytes_received = 0
    body_bytes_sent = 0
    begun = False
    finished = False
    status = 0
    # Whether the proxy refused the request because of the client (4xx).
    refused = False
    # Filled in by server and site, for routing and for the log.
    public = b""
    upstream: Upstream | None = None
    user: str | None = None
    # What the site adds for the upstream: field lines that name the user, and a part of the body
    # that was read before the exchange began.
    identity: tuple[bytes, ...] = ()
    # Tells whether the login or rule that let it pass still does; None: there is nothing to ask.
    holds: Callable[[], bool] | None = None
    # Field lines that every answer to this user gets.
    extra_lines: tuple[bytes, ...] = ()
    pending_body = b""
    note = ""
    # Error pages of the route, by status.
    error_pages: Mapping[int, bytes] = NO_PAGES
    # Answers errors in place of the site; None: the site does.
    unserved: Unserved | None = None
    bridge: dict[str, int | str] | None = None
    # Whether the answer has no body, even if one is written: to HEAD, and with some statuses.
    bodyless = False

    def __init__(
        self, connection: ClientConnection, head: RequestHead, body: Decoder | None
    ) -> None:
        self.connection = connection
        self.transport = connection.transport
        """The client's byte stream, for code that pauses and resumes it."""
        self.head = head
        self.method = head.method
        self.target = head.target
        self.body = body
        self.started = connection.now()
        self.client = connection.peer
        self.consumer: BodyConsumer | None = None

    @property
    def is_incomplete(self) -> bool:
        """Whether some of the request's body is still to come."""
        return self.body is not None and not self.body.done

    # Answering.

    def respond(self, status: int, reason: bytes, lines: list[bytes], body: bytes) -> None:
        """Send a whole answer; ``lines`` are field lines without framing and Connection."""
        self.begin(status, reason, block_of(lines), len(body))
        if body:
            self.write(body)
        self.finish()

    def begin(self, status: int, reason: bytes, fields: bytes, length: int | None) -> None:
        """Begin the answer; its head is sent with the first bytes of the body.

        :param fields: field lines without framing and Connection, each with its CRLF.
        :param length: bytes of the body (or what they would be, for HEAD and 304); None: unknown.
        """
        if self.finished:
            # The answer to the next request may have begun on this connection.
            return
        self.begun = True
        self.status = status
        self.bodyless = self.method == b"HEAD" or status in _WITHOUT_BODY
        if self.extra_lines:
            fields += block_of(self.extra_lines)
        # RFC 9110 section 8.6: a 204 has no Content-Length.
        self.connection.send_head(self, reason, fields, None if status == 204 else length)

    def write(self, data: bytes) -> None:
        """Send bytes of the body (not empty)."""
        if self.bodyless or self.finished:
            return
        self.body_bytes_sent += len(data)
        self.connection.send_body(data)

    def flush(self) -> None:
        """Send the head even though no body has come yet."""
        if not self.finished:
            self.connection.flush()

    def finish(self) -> None:
        """End the answer."""
        if not self.finished:
            self.finished = True
            self.connection.send_end(self)

    def cut(self) -> None:
        """End the answer so that the client can tell that it is incomplete."""
        if not self.finished:
            self.finished = True
            self.connection.cut(self)

    def interim(self, status: int, reason: bytes, fields: bytes) -> None:
        """Pass an informational answer on (RFC 9110 section 15.2)."""
        if not self.begun:
            self.connection.send_interim(self, status, reason, fields)

    def refuse(self, error: ProxyError) -> None:
        """Answer with the page for ``error``; if a part of an answer is sent, cut it short."""
        self.note = self.note or error.detail
        if self.begun:
            if self.finished or not self.connection.take_back():
                self.cut()
                return
            # The client has seen nothing of this answer, so another one may replace it.
            self.begun = False
            self.status = 0
        self.connection.refuse(self, error)

    def close_after(self) -> None:
        """Let no further request follow on this connection."""
        self.connection.persistent = False


class ClientConnection(StreamProtocol):
    """One connection of a client; at most one request on it is being answered.

    :class:`ipyproxy.server.channel.HTTPChannel` implements the methods. This is a class and not a
    ``Protocol``, because compiled code calls a class's methods ten times faster.

    An answer is a head, any number of pieces of its body, and an end. The connection knows how
    these are spelled on the wire, and whether another request may follow.

    :ivar peer: the address at the other end, as text.
    :ivar trusted: whether that is a proxy which is trusted to name the client's address.
    :ivar excess: the problem to refuse requests with, if the connection exceeds a limit.
    :ivar server_name: the host name that the client sent by SNI, in lower case; None if it sent
        none, or if a proxy sent it.
    :ivar persistent: whether another request may follow; an answer can only change it to no.
    """

    peer: str
    trusted: bool
    excess: Problem | None
    server_name: bytes | None
    persistent: bool

    def now(self) -> float:
        """Seconds of the reactor's clock."""
        raise NotImplementedError

    @property
    def is_slow(self) -> bool:
        """Whether the client now sends a body, or reads an answer, below the slowest pace."""
        raise NotImplementedError

    @property
    def tls(self) -> Any:
        """The pyOpenSSL connection; only on connections with TLS."""
        raise NotImplementedError

    # The answer.

    def send_head(self, request: Request, reason: bytes, fields: bytes, length: int | None) -> None:
        """Begin the answer to ``request``; the head is sent with the first bytes of the body.

        :param fields: field lines without framing and Connection, each with its CRLF.
        :param length: bytes of the body (or what they would be, if none is sent); None: unknown.
        """
        raise NotImplementedError

    def send_body(self, data: bytes) -> None:
        """Send bytes of the body (not empty)."""
        raise NotImplementedError

    def flush(self) -> None:
        """Send the head even though no body has come yet."""
        raise NotImplementedError

    def send_end(self, request: Request) -> None:
        """The answer to ``request`` is whole."""
        raise NotImplementedError

    def send_interim(self, request: Request, status: int, reason: bytes, fields: bytes) -> None:
        """Send an informational (1xx) answer, if the client's version of HTTP has such answers."""
        raise NotImplementedError

    def take_back(self) -> bool:
        """Drop the answer if none of it is sent. Returns whether that was possible."""
        raise NotImplementedError

    def cut(self, request: Request) -> None:
        """End an answer that can't be completed, so that the client can tell."""
        raise NotImplementedError

    # What else may happen to a request.

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Let the site say what went wrong."""
        raise NotImplementedError

    def record(self, request: Request) -> None:
        """Write the request into the access log."""
        raise NotImplementedError

    def hand_over(self, tunnel: Tunnel) -> None:
        """Give the connection to ``tunnel``, with the bytes that the client has sent already."""
        raise NotImplementedError
