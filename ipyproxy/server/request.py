"""One request and the way to answer it: what the server hands to the site.

Knows how an answer is framed for the client that asked, and bears what site and log have to know
of each other. Knows nothing of how bytes come in, of deadlines, or of what the request is for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.framing import LAST_CHUNK, Decoder, chunk
from ipyproxy.http1.head import RequestHead
from ipyproxy.http1.lines import block_of
from ipyproxy.net.protocol import Tunnel
from ipyproxy.upstream.upstream import Upstream

STATUS_LINE = b"HTTP/1.1 %d %b"
"""The first line of an answer; field lines that every answer of a site bears may stand behind."""

Unserved = Callable[["Request", ProxyError], None]
"""Answers a request that cannot be carried."""

NO_PAGES: Mapping[int, bytes] = MappingProxyType({})
_WITHOUT_BODY = (204, 304)


class Connection(Protocol):
    """The client's connection, as far as a request needs it."""

    transport: Any
    peer: str
    """The address at the other end, as text."""
    trusted: bool
    """Whether that is a proxy whose word on the client's address is taken."""
    excess: Problem | None
    """What a request is refused with, because its connection is one too many."""
    server_name: bytes | None
    """The host that the client asked TLS for, lower-case; None if for none, or through a proxy."""
    status_line: bytes
    """Begins every answer: :data:`STATUS_LINE`, or that and more."""
    persistent: bool
    """Whether another request may follow; an answer can only take that away."""

    def now(self) -> float:
        """Seconds of the reactor's clock."""

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Let the site say what went wrong."""

    def request_finished(self, request: Request) -> None:
        """The answer is written."""

    def request_cut(self, request: Request) -> None:
        """The answer can't be completed."""

    def hand_over(self, tunnel: Tunnel) -> None:
        """Give the connection to ``tunnel``, with what the client has sent ahead."""

    @property
    def is_slow(self) -> bool:
        """Whether the client sends a body, or reads an answer, below the slowest pace just now."""

    def record(self, request: Request) -> None:
        """Write the request into the access log."""


class BodyConsumer(Protocol):
    """Who takes a request's body as it arrives, and wants to know if the client goes away."""

    def body_received(self, data: bytes) -> None:
        """Some bytes of the body."""

    def body_ended(self) -> None:
        """The body is whole."""

    def client_lost(self) -> None:
        """The client is gone, or its body is broken: the exchange is over."""


class Request:
    """One request and the way to answer it.

    An answer is :meth:`respond` (all at once), or :meth:`begin`, any number of :meth:`write`, and
    :meth:`finish`. The rest of the interface is what Twisted's Resource tree asks for.
    """

    body_bytes_received = 0
    body_bytes_sent = 0
    begun = False
    finished = False
    status = 0
    # Whether the status says that we served nothing because the client was to blame (4xx).
    refused = False
    # Filled in by server and site, for routing and for the log.
    public = b""
    upstream: Upstream | None = None
    user: str | None = None
    # What a site lets go upstream: lines that tell who asks, and a body that came before its taker.
    identity: tuple[bytes, ...] = ()
    # Whether what let it pass would still do so; None: nobody has to ask.
    holds: Callable[[], bool] | None = None
    # Lines that every answer bears, because of who asks.
    extra_lines: tuple[bytes, ...] = ()
    pending_body = b""
    note = ""
    # Pages of the site's own for what goes wrong, by status.
    error_pages: Mapping[int, bytes] = NO_PAGES
    # Who says what went wrong, in the place of the site; None: the site.
    unserved: Unserved | None = None
    bridge: dict[str, int | str] | None = None
    _unsent_head = b""
    _chunked = False
    _bodyless = False

    def __init__(self, connection: Connection, head: RequestHead, body: Decoder | None) -> None:
        self.connection = connection
        self.transport = connection.transport
        """The client's transport, for backpressure."""
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
        """Answer with a whole body; ``lines`` as field lines without framing and Connection."""
        self.begin(status, reason, block_of(lines), len(body))
        if body:
            self.write(body)
        self.finish()

    def begin(self, status: int, reason: bytes, fields: bytes, length: int | None) -> None:
        """Begin the answer; its head is sent with the first bytes of the body.

        :param fields: field lines without framing and Connection, each with its CRLF.
        :param length: bytes of the body (or what they would be, for HEAD and 304); None: unknown.
        """
        connection, head = self.connection, self.head
        self.begun = True
        self.status = status
        self._bodyless = head.method == b"HEAD" or status in _WITHOUT_BODY
        framing = b""
        if length is not None and status != 204:
            framing = b"Content-Length: %d\r\n" % length
        elif not self._bodyless:
            if head.minor:
                self._chunked = True
                framing = b"Transfer-Encoding: chunked\r\n"
            else:
                connection.persistent = False
        if self.is_incomplete:
            # The answer may end before the body does, and the next request begins behind that.
            connection.persistent = False
        if not connection.persistent:
            framing += b"Connection: close\r\n"
        elif not head.minor:
            framing += b"Connection: keep-alive\r\n"
        if self.extra_lines:
            fields += block_of(self.extra_lines)
        line = connection.status_line % (status, reason)
        self._unsent_head = b"%b\r\n%b%b\r\n" % (line, fields, framing)

    def write(self, data: bytes) -> None:
        """Send bytes of the body (not empty)."""
        if self._bodyless or self.finished:
            return
        self.body_bytes_sent += len(data)
        if self._chunked:
            data = chunk(data)
        if self._unsent_head:
            data, self._unsent_head = self._unsent_head + data, b""
        self.transport.write(data)

    def flush(self) -> None:
        """Send the head even though no body has come yet."""
        if self._unsent_head:
            self.transport.write(self._unsent_head)
            self._unsent_head = b""

    def finish(self) -> None:
        """End the answer."""
        if self.finished:
            return
        if self._chunked:
            self._unsent_head += LAST_CHUNK
        self.flush()
        self.finished = True
        self.connection.request_finished(self)

    def cut(self) -> None:
        """End the answer so that the client can tell that it is not whole."""
        if not self.finished:
            self.finished = True
            self.connection.request_cut(self)

    def interim(self, status: int, reason: bytes, fields: bytes) -> None:
        """Pass an informational answer on (RFC 9110 section 15.2); HTTP/1.0 knows none."""
        if self.head.minor and not self.begun:
            self.transport.write(b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason, fields))

    def refuse(self, error: ProxyError) -> None:
        """Answer with the page for ``error``, or cut the answer short if some of it is sent."""
        self.note = self.note or error.detail
        if self.begun and not self._unsent_head:
            self.cut()
        else:
            # Whatever was begun, the client has seen nothing of it yet.
            self._chunked = False
            self.connection.refuse(self, error)
