"""One WebSocket carried to a notebook: an exchange that ends in a bridge instead of an answer.

Knows how each handshake mirrors the other, and carries out the first states of a bridge. Until the
upstream has answered 101 this is an ordinary exchange, so a refusal is an ordinary HTTP answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.gateway.exchange import Exchange, GatewayContext
from ipyproxy.http.answers import response_fields
from ipyproxy.http.rewriting import Rewriting
from ipyproxy.http1.framing import Decoder
from ipyproxy.http1.head import RequestHead, ResponseHead, parse_response
from ipyproxy.http1.lines import Fields, block_of
from ipyproxy.server.request import Request
from ipyproxy.upstream.connection import UpstreamConnection
from ipyproxy.upstream.upstream import Upstream
from ipyproxy.websocket.bridge import Bridge
from ipyproxy.websocket.handshake import BrowserSide, NotebookSide
from ipyproxy.websocket.states import Action, Event, State, step

OPENING_TIMEOUT: Final = 60.0
"""Seconds that a notebook has to answer a handshake if ``timeouts.response`` is 0 (for ever)."""

_VERSION: Final = b"13"
_EXTENSION: Final = b"permessage-deflate"


def is_websocket(head: RequestHead) -> bool:
    """Whether a request asks for a WebSocket (RFC 6455 section 4.2.1)."""
    fields = head.fields
    return (
        b"upgrade" in fields.special
        and head.method == b"GET"
        and head.minor == 1
        and b"websocket" in fields.tokens(b"upgrade")
        and b"upgrade" in fields.tokens(b"connection")
    )


class BridgeExchange(Exchange):
    """Carries one WebSocket. What happens to it until it is open are events of the table."""

    def __init__(
        self, request: Request, upstream: Upstream, rewriting: Rewriting, context: GatewayContext
    ) -> None:
        super().__init__(request, upstream, rewriting, context)
        self.state = State.DIALLING
        self._gave_way = False
        self._pair: tuple[BrowserSide, NotebookSide] | None = None
        self._offers = _deflate_offers(request.head.fields)

    def start(self) -> None:
        """Check the browser's handshake, then go on as any exchange.

        Raises :class:`ProxyError`: ``BAD_REQUEST``, ``UPGRADE_REQUIRED``, ``OVERLOADED``.
        """
        request = self._request
        fields = request.head.fields
        # The bytes behind the handshake are frames. If no tunnel takes them, they must not be read
        # as a second request.
        request.close_after()
        if request.body is not None:
            raise ProxyError(Problem.BAD_REQUEST, "a WebSocket handshake with a body")
        if fields.values(b"sec-websocket-version") != [_VERSION]:
            raise ProxyError(Problem.UPGRADE_REQUIRED, "another version of the WebSocket protocol")
        self._pair = BrowserSide(fields), NotebookSide(_subprotocols(fields))
        super().start()

    def fields(self) -> bytes:
        """The field lines, with the proxy's own handshake."""
        assert self._pair is not None
        notebook = self._pair[1]
        lines = [
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Version: " + _VERSION,
            b"Sec-WebSocket-Key: " + notebook.websocket_key,
        ]
        if self._offers:
            lines.append(b"Sec-WebSocket-Extensions: " + b", ".join(self._offers))
        return super().fields() + block_of(lines)

    def _is_safe(self) -> bool:
        """A handshake opens something, so it is not safe."""
        return False

    # Called by the server and the upstream's side: events.

    def connected(self, connection: UpstreamConnection) -> None:
        """See :class:`ipyproxy.upstream.connection.Receiver`."""
        self._on(Event.CONNECTED, connection)

    def stale(self) -> None:
        """See :class:`ipyproxy.upstream.connection.Receiver`."""
        self._on(Event.STALE)

    def response_begun(self, head: ResponseHead, body: Decoder | None) -> None:
        """See :class:`ipyproxy.upstream.connection.Receiver`."""
        self._on(Event.ANSWERED, head, body)

    def response_ended(self) -> None:
        """See :class:`ipyproxy.upstream.connection.Receiver`."""
        self._on(Event.ANSWER_ENDED)

    def failed(self, error: ProxyError) -> None:
        """See :class:`ipyproxy.upstream.connection.Receiver`."""
        if self.goes_elsewhere(error):
            # The handshake is not made yet, so the state stays.
            self.state = State.DIALLING
            super().failed(error)
        else:
            self._on(Event.FAILED, error)

    def client_lost(self) -> None:
        """See :class:`ipyproxy.server.request.BodyConsumer`."""
        self._on(Event.CLIENT_LOST)

    def _switched(self, block: bytes, rest: bytes) -> None:
        """The upstream has answered 101: check whether that fits the handshake."""
        assert self._connection is not None
        assert self._pair is not None
        browser, notebook = self._pair
        self._context.health.answered(self._upstream)
        head = parse_response(block[:-4])
        try:
            subprotocol = notebook.check(head)
            extensions = self._accepted_extensions(head.fields)
        except ProxyError as error:
            self._connection.abandon()
            self._on(Event.FAILED, error)
            return
        fields = response_fields(head, self._request.public, self._rewriting)
        fields += block_of(b"Sec-WebSocket-Extensions: " + value for value in extensions)
        answer = browser.accept(subprotocol, fields)
        self._on(Event.ACCEPTED, answer, bool(extensions), rest)

    def _on(self, event: Event, *facts: Any) -> None:
        """Take the table's step for ``event``; ``facts`` are arguments of its actions."""
        self.state, actions = step(self.state, event)
        for action in actions:
            _DEEDS[action](self, *facts)

    def _ask(self, connection: UpstreamConnection) -> None:
        """Send the handshake, which the upstream has to answer soon."""
        super().connected(connection)
        connection.switched = self._switched
        if connection.deadline is None:
            connection.deadline = self._context.pool.reactor.seconds() + OPENING_TIMEOUT

    def _accept(self, answer: bytes, deflate: bool, rest: bytes) -> None:
        """Answer the browser as the upstream has answered, and let frames pass."""
        connection, request = self._connection, self._request
        assert connection is not None
        # The bridge keeps this exchange for the access log; Autobahn's objects are not needed.
        self._pair = None
        # The place is kept until the bridge has ended.
        self._part()
        request.begun = True
        request.status = 101
        bridge = Bridge(
            self._context.bridges,
            request.transport,
            connection.transport,
            deflate=deflate,
            ended=self._bridge_ended,
        )
        self._upstream.bridge_opened(bridge)
        request.transport.write(answer)
        connection.hand_over(bridge.upstream)
        request.connection.hand_over(bridge.client)
        if rest:
            bridge.upstream.dataReceived(rest)
        if self.work is not None:
            self.work.add(bridge)
        elif self._upstream.is_retired:
            bridge.lose_route()

    def _accepted_extensions(self, fields: Fields) -> list[bytes]:
        """The extensions that the upstream accepts: none, or the one that was offered.

        Its parameters are left to the browser, which knows what it supports.
        """
        values = fields.values(b"sec-websocket-extensions")
        if values and (len(values) > 1 or b"," in values[0] or not self._offers):
            raise ProxyError(Problem.UPSTREAM_BROKEN, "extensions that were not offered")
        if values and _extension_name(values[0]) != _EXTENSION:
            raise ProxyError(Problem.UPSTREAM_BROKEN, "an extension that was not offered")
        return values

    def give_way(self) -> None:
        """See :class:`.exchange.Exchange`; an open bridge ends as a lost one does."""
        if self.state is not State.OPEN:
            super().give_way()
            return
        self._gave_way = True
        self._leave_place()
        self._request.transport.abortConnection()

    def _bridge_ended(self, bridge: Bridge) -> None:
        self._leave_place()
        self._upstream.bridge_ended(bridge)
        if self.work is not None:
            self.work.discard(bridge, self._context.pool.reactor.seconds())
        request, traffic = self._request, bridge.traffic
        request.body_bytes_received = traffic.bytes_up
        request.body_bytes_sent = traffic.bytes_down
        request.note = (
            f"close {bridge.close_code} after {request.connection.now() - bridge.opened:.1f} s: "
            f"{bridge.end}; "
            f"{traffic.messages_up} messages in {traffic.bytes_up} bytes up, "
            f"{traffic.messages_down} in {traffic.bytes_down} down"
        )
        if self._gave_way:
            request.note = f"gave its place to another client; {request.note}"
        request.bridge = {
            "close_code": bridge.close_code,
            "end": bridge.end,
            **traffic._asdict(),
        }
        request.connection.record(request)


_DEEDS: Final[dict[Action, Callable[..., None]]] = {
    Action.ASK_UPSTREAM: BridgeExchange._ask,
    Action.DIAL_AGAIN: Exchange.stale,
    Action.ACCEPT_CLIENT: BridgeExchange._accept,
    Action.PASS_ANSWER: Exchange.response_begun,
    Action.FINISH_ANSWER: Exchange.response_ended,
    Action.REFUSE_CLIENT: Exchange.failed,
    Action.GIVE_UP_UPSTREAM: Exchange.client_lost,
}
"""The method for each action up to ``OPEN``, mostly those of any exchange."""


def _subprotocols(fields: Fields) -> list[str]:
    names = b",".join(fields.values(b"sec-websocket-protocol")).decode("latin-1").split(",")
    return [name.strip(" \t") for name in names]


def _deflate_offers(fields: Fields) -> list[bytes]:
    """The browser's offers of permessage-deflate, in its order; other extensions are dropped.

    A quoted string may hold a comma (RFC 6455 section 9.1), but no parameter of this extension
    does (RFC 7692 section 7.1).
    """
    offers = b",".join(fields.values(b"sec-websocket-extensions")).split(b",")
    return [offer.strip(b" \t") for offer in offers if _extension_name(offer) == _EXTENSION]


def _extension_name(offer: bytes) -> bytes:
    return offer.partition(b";")[0].strip(b" \t").lower()
