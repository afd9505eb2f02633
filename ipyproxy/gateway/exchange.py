"""One exchange: a request carried to an upstream, and its answer carried back.

Knows both sides: the client's request, the connection to the upstream, and what a gateway changes
in between. Knows nothing of sockets, and decides nothing about access.

Longer than other modules, because it is one class: calls of the server, of the upstream's
connection and of the places may each have to release both sides at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from ipyproxy.access.cors import TrustedPages
from ipyproxy.access.navigation import is_navigation
from ipyproxy.encoding.body import EncodedBody, KeptBody
from ipyproxy.encoding.compression import Answer, Asked, Compression
from ipyproxy.encoding.decision import SMALLEST
from ipyproxy.errors import HungUpError, Problem, ProxyError
from ipyproxy.files.named import NamedFiles
from ipyproxy.files.sending import Sending
from ipyproxy.gateway.heldpage import HeldPage
from ipyproxy.gateway.preloads import LONGEST_HEAD, LONGEST_HEAD_FOR_PROXIES, Preloads
from ipyproxy.http.answers import response_fields
from ipyproxy.http.rewriting import (
    Rewriting,
    forwarded,
    request_fields,
    told_lines,
    upstream_target,
)
from ipyproxy.http1.framing import LAST_CHUNK, Decoder, chunk, stated_length
from ipyproxy.http1.head import SAFE, ResponseHead
from ipyproxy.http1.lines import block_of, lines_of
from ipyproxy.net.sockets import Attempt
from ipyproxy.server.clients import subscriber
from ipyproxy.server.request import Request
from ipyproxy.upstream.advice import STATUSES, Adviser
from ipyproxy.upstream.connection import UpstreamConnection
from ipyproxy.upstream.health import HealthChecker
from ipyproxy.upstream.places import Places
from ipyproxy.upstream.pool import Pool
from ipyproxy.upstream.tenancy import Tenants
from ipyproxy.upstream.upstream import Upstream
from ipyproxy.websocket.bridge import Bridge, Bridges

# With these, some servers wait for a body unless there is a length (RFC 9110 section 8.6).
_WITH_BODY: Final = frozenset((b"POST", b"PUT", b"PATCH"))
# Idempotent methods, which may be sent twice (RFC 9110 section 9.2.2).
_IDEMPOTENT: Final = frozenset((*SAFE, b"PUT", b"DELETE"))


@dataclass(frozen=True, slots=True)
class GatewayContext:
    """What all exchanges share: the connections, the health of upstreams, and optional features."""

    pool: Pool
    health: HealthChecker
    bridges: Bridges
    tenants: Tenants
    adviser: Adviser
    trusted_origins: frozenset[bytes] = frozenset()
    trusted_pages: TrustedPages | None = None
    compression: Compression | None = None
    """None: answers pass unchanged."""
    preloads: Preloads | None = None
    """Knows the files that pages load; None: no page's head names them."""
    named_files: NamedFiles | None = None
    """The files that an upstream may have the proxy send by naming them; None: none."""


_ACTIVE_BELOW = 300
_POLLING = b"no_track_activity="


class RouteWork:
    """The open work of a route that can be removed: its bridges, and when it was last used.

    Times are seconds of the reactor's clock; minus infinity: never.

    :param bridged: the routes that have open bridges.
    :ivar active_at: when there was traffic last: bytes of a request's body, a complete answer with
        a status below 300, or bytes on a bridge.
    :ivar person_at: when a person did something last: opened a page, or sent a request that may
        change something, and the answer's status was below 300; or sent (a part of) a message on a
        bridge. GET requests that pages repeat by themselves, and pings, do not count.
    """

    __slots__ = ("_bridged", "_bridges", "_ended", "active_at", "person_at")

    def __init__(self, bridged: set[RouteWork]) -> None:
        self.active_at = -math.inf
        self.person_at = -math.inf
        self._bridged = bridged
        self._bridges: dict[Bridge, int] = {}
        self._ended = False

    def add(self, bridge: Bridge) -> None:
        """A bridge has opened. It ends at once if the route was removed during the handshakes."""
        if self._ended:
            bridge.lose_route()
            return
        self._bridges[bridge] = 0
        self._bridged.add(self)

    def discard(self, bridge: Bridge, now: float) -> None:
        """A bridge has ended."""
        if bridge in self._bridges:
            self._look_at(bridge, now)
            del self._bridges[bridge]
            if not self._bridges:
                self._bridged.discard(self)

    def end(self) -> None:
        """The route is removed: end its bridges."""
        self._ended = True
        for bridge in list(self._bridges):
            bridge.lose_route()

    def look(self, now: float) -> None:
        """Check for traffic on the bridges since the last look."""
        for bridge in self._bridges:
            self._look_at(bridge, now)

    def _look_at(self, bridge: Bridge, now: float) -> None:
        traffic = bridge.traffic
        carried = traffic.bytes_up + traffic.bytes_down
        if carried != self._bridges[bridge]:
            self._bridges[bridge] = carried
            self.active_at = now
        if traffic.messages_up:
            self.person_at = max(self.person_at, bridge.last_activity)

    def answered(self, request: Request, now: float) -> None:
        """The answer to a request is complete."""
        if request.status >= _ACTIVE_BELOW:
            return
        self.active_at = now
        if request.method not in SAFE:
            by_person = request.target.find(_POLLING) < 0
        else:
            by_person = is_navigation(request.head)
        if by_person:
            self.person_at = now


def _framing(body: Decoder) -> bytes:
    """The field line that frames a request's body for the upstream."""
    if body.length is None:
        return b"Transfer-Encoding: chunked\r\n"
    return b"Content-Length: %d\r\n" % body.length


class Exchange:
    """Carries one request. The server and the upstream's connection call its methods."""

    _connection: UpstreamConnection | None = None
    _dial: Attempt | None = None
    _mark: int | None = None
    # The places at which this exchange holds one, or waits for one.
    _places: Places | None = None
    _client = ""
    # What was changed in the request; what stands between the upstream's body and the client.
    _asked: Asked | None = None
    _body: EncodedBody | KeptBody | None = None
    _held: HeldPage | None = None
    # The file that is sent in place of the upstream's body.
    _file: Sending | None = None
    others: Sequence[Upstream] = ()
    """Other servers that the request may go to instead, in this order."""
    timeout: float | None = None
    """Seconds to wait for the answer to begin; None: as for all upstreams."""
    work: RouteWork | None = None
    """The route's open work, if the route can be removed; None: it can't."""

    def __init__(
        self, request: Request, upstream: Upstream, rewriting: Rewriting, context: GatewayContext
    ) -> None:
        self._request = request
        self._upstream = upstream
        self._rewriting = rewriting
        self._context = context

    def start(self) -> None:
        """Take a place at the upstream, find a connection, and send the request on it.

        If all places are taken and no other client has to give one up, the request waits for a
        while.

        Raises :class:`ProxyError`: ``OVERLOADED`` if too many wait, ``UPSTREAM_STARTING`` or
        ``UPSTREAM_DEAD`` if the upstream is known not to answer, ``FOREIGN_PORT`` or
        ``CHANGED_HANDS`` if the wrong process listens there.
        """
        upstream = self._upstream
        context = self._context
        if context.tenants.are_checked:
            connected = context.pool.keeps(upstream)
            started = self._request.started
            self._mark = context.tenants.admit(upstream, started, connected=connected)
        context.health.admit(upstream, self._request.started)
        has_place = self._ask_for_place()
        upstream.exchanges += 1
        upstream.requests += 1
        self._request.consumer = self
        if has_place:
            self._find_connection()

    def _ask_for_place(self) -> bool:
        request = self._request
        client = subscriber(request.client)
        # Many people may share one address; a login tells them apart.
        self._client = f"{client} {request.user}" if request.user else client
        places = self._upstream.places
        has_place = places.ask(self._client, self, request.started)
        self._places = places
        return has_place

    def _find_connection(self) -> None:
        self._dial = self._context.pool.connect(
            self._upstream, self, once=not self._is_repeatable(), mark=self._mark
        )

    # Called by the places; see :class:`ipyproxy.upstream.places.Holder`.

    @property
    def is_slow(self) -> bool:
        """Whether the client is below the slowest pace."""
        return self._request.connection.is_slow

    def place_given(self) -> None:
        """The request has waited for a place, and may be sent now."""
        self._find_connection()

    def place_refused(self) -> None:
        """The request has waited too long for a place."""
        self._places = None  # it has left the queue and holds no place
        self.client_lost()
        self._request.refuse(ProxyError(Problem.OVERLOADED, "waited too long for a place"))

    def give_way(self) -> None:
        """End the exchange, because its place goes to another client that holds fewer."""
        self.client_lost()
        self._request.refuse(ProxyError(Problem.OVERLOADED, "gave its place to another client"))

    def _is_repeatable(self) -> bool:
        """Whether the request is idempotent and has no body."""
        return self._request.body is None and self._request.method in _IDEMPOTENT

    # Called by the upstream's side: first a connection, then the answer.

    def connected(self, connection: UpstreamConnection) -> None:
        """See :class:`ipyproxy.upstream.connection.Receiver`."""
        self._dial = None
        self._connection = connection
        if not connection.used:
            self._context.health.connected(self._upstream)
        request = self._request
        body = request.body
        method = request.method
        target = upstream_target(request.target, self._rewriting)
        fields = self.fields()
        compression = self._context.compression
        if compression is not None:
            fields, self._asked = compression.ask(
                self._upstream, request.head, request.public, fields
            )
        if body is not None:
            fields += _framing(body)
        elif method in _WITH_BODY:
            fields += b"Content-Length: 0\r\n"
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, fields)
        if body is None:
            connection.send(method, head, self, ended=True, timeout=self.timeout)
            return
        early, request.pending_body = request.pending_body, b""
        connection.send(method, head, self, ended=False, timeout=self.timeout)
        # Backpressure: if the upstream can't take the body, the client has to wait.
        connection.transport.registerProducer(request.transport, True)
        request.transport.resumeProducing()
        if early:
            self.body_received(early)
        if body.done:
            self.body_ended()

    def fields(self) -> bytes:
        """The field lines of the request, without framing."""
        request, rewriting = self._request, self._rewriting
        head, public, client = request.head, request.public, request.connection
        fields = request_fields(head, public, self._context.trusted_origins, rewriting)
        fields += forwarded(head.fields.special, client.peer, public, client.trusted, rewriting)
        if rewriting.sent:
            fields += told_lines(rewriting.sent, request.user)
        return fields + block_of(request.identity) if request.identity else fields

    def interim(self, head: ResponseHead) -> None:
        """See :class:`ipyproxy.upstream.connection.Receiver`."""
        fields = response_fields(head, self._request.public, self._rewriting)
        self._request.interim(head.status, head.reason, fields)

    def response_begun(self, head: ResponseHead, body: Decoder | None) -> None:
        """See :class:`ipyproxy.upstream.connection.Receiver`."""
        request, context, rewriting = self._request, self._context, self._rewriting
        context.health.answered(self._upstream)
        fields = response_fields(head, request.public, rewriting)
        named_files = context.named_files
        if named_files is not None and head.status == 200:
            self._file = named_files.sending(request, head.fields.special, fields)
            if self._file is not None:
                return
        size = length = stated_length(head) if body is None else body.length
        status, reason = head.status, head.reason
        compression = context.compression
        if compression is not None:
            answer = compression.answer(
                self._asked, request.head, request.public, head, fields, length, self._client
            )
            if answer is not None:
                self._body = self._begin_body(compression, answer, length)
                status, reason = answer.status, answer.reason
                fields, length = answer.fields, answer.length
                if answer.kept is not None:
                    size = answer.kept.size
        if context.trusted_pages is not None and rewriting.confined:
            fields = block_of(context.trusted_pages.opened(lines_of(fields)))
        if head.status in STATUSES:
            self._ask_for_advice(head.status)
        if status == 200 and context.preloads is not None:
            told = self._with_preloads(context.preloads, head, fields, size)
            if told is None:
                begin = partial(self._begin_page, reason, fields, length)
                source = None if self._connection is None else self._connection.transport
                self._held = HeldPage(source, request.transport.call_soon, begin)
                return
            fields = told
        request.begin(status, reason, fields, length)

    def _begin_page(self, reason: bytes, fields: bytes, length: int | None, page: bytes) -> None:
        """Begin the answer; its head names the files that ``page``, so far, names itself."""
        self._held = None
        preloads = self._context.preloads
        if preloads is not None:
            fields += preloads.named_by(page, self._longest_head() - len(fields))
        self._request.begin(200, reason, fields, length)
        if page:
            self._pass_on(page)

    def _begin_body(
        self, compression: Compression, answer: Answer, length: int | None
    ) -> EncodedBody | KeptBody | None:
        """What replaces the upstream's body; None: that body is sent unchanged."""
        upstream, request = self._upstream, self._request
        if answer.kept is not None:
            return compression.send_kept(answer.kept, upstream, request)
        if answer.coding is None or self._connection is None:
            return None
        source = self._connection.transport
        return compression.encode(
            answer, upstream, self._client, request, source, length, self._encoding_failed
        )

    def _with_preloads(
        self, preloads: Preloads, head: ResponseHead, fields: bytes, size: int | None
    ) -> bytes | None:
        """Add the field that names the files which the page will load, if the answer is a page.

        None: the page itself has to be read for them; mostly it comes together with its head.
        """
        request = self._request
        # A page is larger than that.
        if size is not None and size < SMALLEST and request.started > preloads.learning_until:
            return fields
        return preloads.answered(
            self._upstream,
            request.head,
            request.public,
            head.fields.special,
            fields,
            self._client,
            request.started,
            size or 0,
            self._longest_head(),
        )

    def _longest_head(self) -> int:
        return LONGEST_HEAD_FOR_PROXIES if self._request.connection.trusted else LONGEST_HEAD

    def _encoding_failed(self) -> None:
        if self._connection is not None:
            self.client_lost()
        self._request.refuse(ProxyError(Problem.INTERNAL, "the answer could not be compressed"))

    def _ask_for_advice(self, status: int) -> None:
        self._context.adviser.answered(
            self._upstream,
            status,
            safe=self._is_safe(),
            path=self._request.target.partition(b"?")[0].decode("latin-1"),
            home=self._rewriting.prefix.decode("ascii"),
        )

    def _is_safe(self) -> bool:
        """Whether the method is safe: it changes and opens nothing (RFC 9110 section 9.2.1)."""
        return self._request.method in SAFE

    def response_received(self, data: bytes) -> None:
        """See :class:`ipyproxy.upstream.connection.Receiver`."""
        if self._file is not None:
            return
        if self._held is None:
            self._pass_on(data)
        else:
            self._held.received(data)

    def _pass_on(self, data: bytes) -> None:
        if self._body is None:
            self._request.write(data)
        else:
            self._body.received(data)

    def response_waiting(self) -> None:
        """See :class:`ipyproxy.upstream.connection.Receiver`."""
        if self._file is not None:
            # The upstream's own body is not used, and may be long.
            if self._connection is not None:
                self._connection.abandon()
            self.response_ended()
            return
        if self._held is not None:
            self._held.received(b"")
        self._request.flush()
        # Backpressure: if the client can't take the body, the upstream has to wait.
        if self._connection is not None:
            producer = self._body or self._connection.transport
            self._request.transport.registerProducer(producer, True)

    def response_ended(self) -> None:
        """See :class:`ipyproxy.upstream.connection.Receiver`."""
        if self._held is not None:
            self._held.begin()
        body, self._body = self._body, None
        self._end()
        if self.work is not None:
            self.work.answered(self._request, self._context.pool.reactor.seconds())
        if self._file is not None:
            self._file.start()
        elif body is None:
            self._request.finish()
        else:
            # The upstream has done its part; the rest is sent without it.
            body.ended()

    def stale(self) -> None:
        """See :class:`ipyproxy.upstream.connection.Receiver`: try again if that is safe."""
        self._connection = None
        if self._is_repeatable():
            self._dial = self._context.pool.dial(self._upstream, self, self._mark)
        else:
            self.failed(ProxyError(Problem.UPSTREAM_BROKEN, "it hung up without an answer"))

    def failed(self, error: ProxyError) -> None:
        """See :class:`ipyproxy.upstream.connection.Receiver`."""
        elsewhere = self.goes_elsewhere(error)
        self._upstream.errors += 1
        self._end()
        error = self._context.health.failed(self._upstream, error)
        self._context.adviser.failed(self._upstream, error)
        if elsewhere:
            self._go_elsewhere(error)
        else:
            self._request.refuse(error)

    def goes_elsewhere(self, error: ProxyError) -> bool:
        """Whether another server may get the request, because this one can't have acted on it."""
        if not self.others or self._request.begun:
            return False
        # Without a connection nothing was sent.
        return self._connection is None or (
            isinstance(error, HungUpError) and self._is_repeatable()
        )

    def _go_elsewhere(self, error: ProxyError) -> None:
        request = self._request
        while self.others:
            self._upstream, self.others = self.others[0], self.others[1:]
            request.upstream = self._upstream
            try:
                self.start()
                return
            except ProxyError as caught:
                error = caught
        request.refuse(error)

    def _end(self) -> None:
        """The exchange is over."""
        self._part()
        if self._places is not None:
            self._leave_place()

    def _leave_place(self) -> None:
        places, self._places = self._places, None
        if places is not None:
            places.leave(self._client, self)

    def _part(self) -> None:
        """Release both sides. A connection with a partial request on it is closed by now."""
        request = self._request
        self._connection = None
        self._dial = None
        if self._held is not None:
            self._held.forget()
        request.consumer = None
        self._upstream.exchanges -= 1
        request.transport.unregisterProducer()
        body, self._body = self._body, None
        if body is not None:
            body.abandon()

    # Called by the server: the body comes, or the client is gone.

    def body_received(self, data: bytes) -> None:
        """See :class:`ipyproxy.server.request.BodyConsumer`."""
        if self._connection is None:
            self._request.pending_body += data
            self._request.transport.pauseProducing()
            return
        if self.work is not None:
            self.work.active_at = self._context.pool.reactor.seconds()
        body = self._request.body
        chunked = body is not None and body.length is None
        self._connection.transport.write(chunk(data) if chunked else data)

    def body_ended(self) -> None:
        """See :class:`ipyproxy.server.request.BodyConsumer`."""
        connection = self._connection
        if connection is None:
            return
        body = self._request.body
        if body is not None and body.length is None:
            connection.transport.write(LAST_CHUNK)
        connection.transport.unregisterProducer()
        self._request.transport.resumeProducing()
        connection.end_request()

    def client_lost(self) -> None:
        """See :class:`ipyproxy.server.request.BodyConsumer`."""
        connection, dial = self._connection, self._dial
        self._end()
        if dial is not None:
            dial.cancel()
        if connection is not None:
            connection.abandon()
