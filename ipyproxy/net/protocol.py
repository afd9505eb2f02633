"""What stands on a transport: Twisted's protocol, reduced to what a connection of ours needs.

Knows nothing but the calls. ``twisted.internet.protocol.Protocol`` itself is no base for a class
that mypyc is to compile.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure
from zope.interface import classImplements

from ipyproxy.net.stream import Stream

CLOSED: Final = Failure(ConnectionDone())
"""The reason of a proper end."""


class StreamProtocol:
    """One connection's protocol; its class says what comes of the bytes."""

    transport: Stream

    def makeConnection(self, transport: Any) -> None:
        """Stand on ``transport`` from now on."""
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        """The connection is there."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the peer."""
        raise NotImplementedError

    def connectionLost(self, reason: Failure = CLOSED) -> None:
        """The connection is gone."""


classImplements(StreamProtocol, IProtocol)


class Tunnel(Protocol):
    """Who gets a connection that has become something else than HTTP, from that moment on."""

    def dataReceived(self, data: bytes, /) -> None:
        """Bytes from the peer."""

    def connectionLost(self, reason: Failure = ..., /) -> None:
        """The connection is gone."""
