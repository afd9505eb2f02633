"""The Autobahn pair: its server checks the browser's handshake, its client the notebook's answer.

Knows the two handshakes of RFC 6455 section 4, and nothing of connections: Autobahn reads field
values that have passed our own grammar, and writes into memory. Once both handshakes are done the
pair is let go of, and frames pass by ``websocket/bridge.py``.
"""

from __future__ import annotations

import base64
import copy
import os
from typing import Any, Final

# The native code is for masking and for UTF-8, which nobody asks Autobahn for here; loading it
# would cost time and memory.
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

# What Autobahn is to judge. Host, Origin and path have been judged before, and extensions are the
# notebook's to choose: Autobahn would take only those that it can speak itself.
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
    """The server half: checks the browser's handshake, and answers it once upstream has.

    :raises ProxyError: (``BAD_REQUEST``) if ``fields`` are no handshake.
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
        """Autobahn asks which subprotocol to accept: the one that upstream does."""
        return self._decision

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:
        """Autobahn refuses the handshake: the refusal is an ordinary HTTP answer, not from here."""
        self._refusal = reason

    def accept(self, subprotocol: str | None, fields: bytes) -> bytes:
        """The head of 101, with ``fields`` for further lines, each with its CRLF."""
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
        """The request goes out with the browser's own fields: not from here."""

    def check(self, answer: ResponseHead) -> str | None:
        """Take the notebook's 101; give the subprotocol that it has chosen.

        Raises :class:`ProxyError` (``UPSTREAM_BROKEN``) unless it is what we have asked for.
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
        """Autobahn is content with the answer."""
        self._opened = True

    def failHandshake(self, reason: str) -> None:
        """Autobahn is not content with the answer."""
        self._refusal = reason


class _Page:
    """What Autobahn writes on, where it thinks that it has a connection."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


def _head(first: list[bytes], fields: Fields, names: tuple[bytes, ...]) -> bytes:
    """A head of the lines in ``first`` and the fields of these names, as Autobahn reads it."""
    lines = [b"%b: %b" % (name, value) for name in names for value in fields.values(name)]
    return b"\r\n".join([*first, *lines, b"", b""])


def _settled(protocol: Any, factory: Any) -> Any:
    """``factory``, with its options laid down once in ``protocol``.

    Else Autobahn copies them into each connection, and prints them prettily for a log that is
    off, which takes longer than all the rest of both handshakes.
    """
    for option in protocol.CONFIG_ATTRS:
        setattr(protocol, option, getattr(factory, option))
    protocol.CONFIG_ATTRS = ()
    return factory


# Autobahn asks its factories for the reactor's timers only, and those are off: deadlines are ours.
_server_factory = WebSocketServerFactory(server=None, reactor=object())
_server_factory.setProtocolOptions(versions=[13], openHandshakeTimeout=0)
_client_factory = WebSocketClientFactory(reactor=object())
_client_factory.setProtocolOptions(openHandshakeTimeout=0)
BrowserSide.factory = _settled(BrowserSide, _server_factory)
_settled(NotebookSide, _client_factory)
