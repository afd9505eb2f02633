"""A WebSocket server on 127.0.0.1 that sends every message back, as Autobahn's own tests have it.

python -m tests.conformance.echo PORT
"""

from __future__ import annotations

import sys
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateOfferAccept
from twisted.internet import reactor


class Echo(WebSocketServerProtocol):
    """One connection."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """A message has come."""
        self.sendMessage(payload, isBinary)


def accept_deflate(offers: list[Any]) -> PerMessageDeflateOfferAccept | None:
    """Take the first offer of compression."""
    for offer in offers:
        if isinstance(offer, PerMessageDeflateOffer):
            return PerMessageDeflateOfferAccept(offer)
    return None


def main(port: int) -> None:
    """Serve until killed."""
    factory = WebSocketServerFactory()
    factory.protocol = Echo
    # An offender is told why before it is hung up on.
    factory.setProtocolOptions(failByDrop=False, perMessageCompressionAccept=accept_deflate)
    reactor.listenTCP(port, factory, backlog=1024, interface="127.0.0.1")
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
