"""The Autobahn pair: its server checks the browser's handshake, its client the notebook's answer.

Knows the two handshakes of RFC 6455 section 4. Knows nothing of connections: Autobahn reads field
values that have passed our own grammar, and writes into memory. Once both handshakes are done, the
pair is dropped, and ``websocket/bridge.py`` passes frames.
"""

from __future__ import annotations

import base64
import copy
import os
from typing import Any, Final

# Autobahn's native code is for masking and UTF-8, which are not used here; loading it would cost
# time and memory.
os.environ.setdefault("AUTOBAHN_USE_NVX", "0")

from autobahn.twisted.websocket import (
    WebSocketClientFactory,
    WebSocketClientProtocol,
    WebSocketServerFactory,
    WebSocketServerProtocol,
)
from twisted.internet.defer import Deferred

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.head import ResponseHead
from ipyproxy.http1.lines import Fields

# The fields that Autobahn checks. Host, Origin and path have been checked before, and the notebook
# chooses the extensions: Autobahn would accept only those that it implements itself.
_REQUEST_FIELDS: Final = (
    b"upgrade",
    b"connection",
    b"sec-websocket-key",
    b"sec-websocket-version",
    b"sec-websocket-protocol",
)
_RESPONSE_FIELDS: Final = (
    b"upgrade",
    b"connection",
    b"sec-websocket-accept",
    b"sec-websocket-protocol",
)


class BrowserSide(WebSocketServerProtocol):
    """The server half: checks the browser's handshake, and answers after the upstream.

    :raises ProxyError: ``BAD_REQUEST`` if ``fields`` are no valid handshake.
    """

    def __init__(self, fields: Fields) -> None:
        super().__init__()
        self._page = _Page()
        self._decision: Deferred[str | None] = Deferred()
        self._refusal = ""
        head = _head([b"GET / HTTP/1.1", b"Host: localhost"], fields, _REQUEST_FIELDS)
        if not head.isascii():
            raise ProxyError(Problem.BAD_REQUEST, "WebSocket handshake: not ASCII")
        self.makeConnection(self._page)
        self.dataReceived(head)
        if self._refusal:
            raise ProxyError(Problem.BAD_REQUEST, f"WebSocket handshake: {self._refusal}")

    def onConnect(self, request: Any) -> Any:
        """Called by Autobahn for the subprotocol to accept: the upstream's choice."""
        return self._decision

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:
        """Called by Autobahn to refuse the handshake; the refusal is an ordinary HTTP answer."""
        self._refusal = reason

    def accept(self, subprotocol: str | None, fields: bytes) -> bytes:
        """The head of the 101 answer; ``fields`` are further lines, each with its CRLF."""
        self._decision.callback(subprotocol)
        return self._page.written[:-2] + fields + b"\r\n"


class NotebookSide(WebSocketClientProtocol):
    """The client half: makes the key, and checks the notebook's answer.

    :param subprotocols: what the browser offers.
    """

    def __init__(self, subprotocols: list[str]) -> None:
        super().__init__()
        self.factory = copy.copy(_client_factory)
        self.factory.protocols = subprotocols
        self.websocket_key = base64.b64encode(os.urandom(16))
        self._opened = False
        self._refusal = "an odd answer"

    def startHandshake(self) -> None:
        """Send nothing: the request is made elsewhere, from the browser's own fields."""

    def check(self, answer: ResponseHead) -> str | None:
        """Check the notebook's 101. Returns the subprotocol that it has chosen.

        Raises :class:`ProxyError` (``UPSTREAM_BROKEN``) if it does not fit the request.
        """
        status_line = b"HTTP/1.%d %d" % (answer.minor, answer.status)
        head = _head([status_line], answer.fields, _RESPONSE_FIELDS)
        if head.isascii():
            self.makeConnection(_Page())
            self.dataReceived(head)
        if not self._opened:
            raise ProxyError(Problem.UPSTREAM_BROKEN, f"WebSocket handshake: {self._refusal}")
        chosen: str | None = self.websocket_protocol_in_use
        return chosen

    def onOpen(self) -> None:
        """Called by Autobahn if the answer is valid."""
        self._opened = True

    def failHandshake(self, reason: str) -> None:
        """Called by Autobahn if the answer is invalid."""
        self._refusal = reason


class _Page:
    """The transport that Autobahn writes to: memory instead of a connection."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


def _head(first: list[bytes], fields: Fields, names: tuple[bytes, ...]) -> bytes:
    """A head for Autobahn: the lines in ``first`` and the fields with these names."""
    lines = [b"%b: %b" % (name, value) for name in names for value in fields.values(name)]
    return b"\r\n".join([*first, *lines, b"", b""])


def _settled(protocol: Any, factory: Any) -> Any:
    """``factory``, with its options copied once into ``protocol``.

    Otherwise Autobahn copies them into each connection and formats them for a log that is off,
    which takes longer than the rest of both handshakes.
    """
    for option in protocol.CONFIG_ATTRS:
        setattr(protocol, option, getattr(factory, option))
    protocol.CONFIG_ATTRS = ()
    return factory


# Autobahn needs the reactor only for its timers, which are off, since we have our own deadlines.
_server_factory = WebSocketServerFactory(server=None, reactor=object())
_server_factory.setProtocolOptions(versions=[13], openHandshakeTimeout=0)
_client_factory = WebSocketClientFactory(reactor=object())
_client_factory.setProtocolOptions(openHandshakeTimeout=0)
BrowserSide.factory = _settled(BrowserSide, _server_factory)
_settled(NotebookSide, _client_factory)
