"""One WebSocket carried to a notebook: an exchange that ends in a bridge instead of an answer.

Knows how the two handshakes are mirrored into each other. Until upstream has answered 101 this is
an ordinary exchange, so that every refusal is an ordinary HTTP answer.
"""

from __future__ import annotations

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.fields import Rewriting, response_lines
from ipyproxy.http1.head import RequestHead, parse_response
from ipyproxy.request import Request
from ipyproxy.upstreams import Upstream
from ipyproxy.web.exchange import Carriage, Exchange
from ipyproxy.websocket import EXTENSION, Bridge, BrowserSide, NotebookSide


def is_websocket(head: RequestHead) -> bool:
    """Whether a request asks for a WebSocket (RFC 6455 section 4.2.1)."""
    fields = head.fields
    return (
        bool(fields.values(b"upgrade"))
        and head.method == b"GET"
        and head.minor == 1
        and b"websocket" in fields.tokens(b"upgrade")
        and b"upgrade" in fields.tokens(b"connection")
    )


class BridgeExchange(Exchange):
    """Carries one WebSocket."""

    __slots__ = ("_browser", "_notebook", "_offers")

    def __init__(
        self, request: Request, upstream: Upstream, rewriting: Rewriting, carriage: Carriage
    ) -> None:
        super().__init__(request, upstream, rewriting, carriage)
        fields = request.head.fields
        self._offers = _deflate_offers(fields.values(b"sec-websocket-extensions"))
        subprotocols = b",".join(fields.values(b"sec-websocket-protocol")).decode("latin-1")
        self._browser = BrowserSide()
        self._notebook = NotebookSide(
            [name.strip(" \t") for name in subprotocols.split(",")], bool(self._offers)
        )

    def start(self) -> None:
        """Check the browser's handshake, then go on as any exchange.

        Raises :class:`ProxyError`: ``BAD_REQUEST``, ``UPGRADE_REQUIRED``, ``OVERLOADED``.
        """
        request = self._request
        if request.body is not None:
            raise ProxyError(Problem.BAD_REQUEST, "a WebSocket handshake with a body")
        self._browser.check(request.transport, _handshake(request.head))
        super().start()

    def lines(self) -> list[bytes]:
        """The field lines, with a handshake of our own."""
        lines = super().lines()
        lines += [
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: " + self._notebook.websocket_key,
        ]
        if self._offers:
            lines.append(b"Sec-WebSocket-Extensions: " + b", ".join(self._offers))
        return lines

    def switched(self, block: bytes, rest: bytes) -> None:
        """Upstream has answered 101: check it, answer the browser alike, and let frames pass."""
        connection, request = self._connection, self._request
        assert connection is not None
        notebook = self._notebook
        try:
            notebook.check(connection.transport, block)
        except ProxyError as error:
            connection.abandon()
            self.failed(error)
            return
        self._end()
        self._upstream.bridges += 1
        request.begun = True
        request.status = 101
        headers = self._answer(block)
        bridge = Bridge(
            self._carriage.bridges,
            request.transport,
            connection.transport,
            deflate="Sec-WebSocket-Extensions" in headers,
            ended=self._bridge_ended,
        )
        self._browser.accept(notebook.websocket_protocol_in_use, headers)
        connection.hand_over(bridge.upstream)
        request.connection.hand_over(bridge.client)
        if rest:
            bridge.upstream.dataReceived(rest)

    def _answer(self, block: bytes) -> dict[str, list[str]]:
        """The fields of upstream's 101 that the browser gets too."""
        head = parse_response(block[:-4])
        headers: dict[str, list[str]] = {}
        for line in response_lines(head, self._request.public, self._rewriting):
            name, _, value = line.decode("utf-8", "replace").partition(": ")
            headers.setdefault(name, []).append(value)
        accepted = head.fields.values(b"sec-websocket-extensions")
        if accepted:
            headers["Sec-WebSocket-Extensions"] = [accepted[0].decode("ascii", "replace")]
        return headers

    def _bridge_ended(self, bridge: Bridge) -> None:
        self._upstream.bridges -= 1
        request = self._request
        request.body_bytes_received = bridge.client.bytes_received
        request.body_bytes_sent = bridge.upstream.bytes_received
        request.note = (
            f"close {bridge.close_code}, "
            f"messages {bridge.client.scanner.messages} up {bridge.upstream.scanner.messages} down"
        )
        request.connection.record(request)


def _deflate_offers(values: list[bytes]) -> list[bytes]:
    """The offers of permessage-deflate, in their order; other extensions are never offered.

    A quoted string may hold a comma (RFC 6455 section 9.1), but no parameter of this extension
    does (RFC 7692 section 7.1).
    """
    offers = [offer.strip(b" \t") for offer in b",".join(values).split(b",")]
    name = EXTENSION.encode("ascii")
    return [offer for offer in offers if offer.partition(b";")[0].strip(b" \t").lower() == name]


def _handshake(head: RequestHead) -> bytes:
    """The browser's handshake as Autobahn is to see it: access has been decided, so no Origin."""
    lines = [
        b"%b: %b" % (name, value)
        for name in _HANDSHAKE_FIELDS
        for value in head.fields.values(name)
    ]
    return b"\r\n".join([b"GET / HTTP/1.1", *lines, b"", b""])


_HANDSHAKE_FIELDS = (
    b"host",
    b"upgrade",
    b"connection",
    b"sec-websocket-key",
    b"sec-websocket-version",
    b"sec-websocket-protocol",
    b"sec-websocket-extensions",
)
