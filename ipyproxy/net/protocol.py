"""The protocol on a transport: Twisted's, reduced to what a connection of ours needs.

Declares methods only. ``twisted.internet.protocol.Protocol`` itself can't be the base of a class
that mypyc compiles.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure
from zope.interface import classImplements

from ipyproxy.net.stream import Stream

CLOSED: Final = Failure(ConnectionDone())
"""The reason for a clean end of a connection."""


class StreamProtocol:
    """The protocol of one connection; subclasses process the bytes."""

    transport: Stream

    def makeConnection(self, transport: Any) -> None:
        """Use ``transport`` from now on."""
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        """The connection is made."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the peer."""
        raise NotImplementedError

    def connectionLost(self, reason: Failure = CLOSED) -> None:
        """The connection is gone."""


classImplements(StreamProtocol, IProtocol)


class Tunnel(Protocol):
    """Takes over a connection that has switched from HTTP to another protocol."""

    def dataReceived(self, data: bytes, /) -> None:
        """Bytes from the peer."""

    def connectionLost(self, reason: Failure = ..., /) -> None:
        """The connection is gone."""
