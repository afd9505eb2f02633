"""One try to reach an upstream: by connecting and hanging up, or by asking for a page.

Knows how a try is made and what it came to. Knows nothing of when to try, nor of what follows.
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet import protocol
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from ipyproxy.securing import Attempt, ClientTLS, NotSecuredError, SecureDial
from ipyproxy.sockets import Dial
from ipyproxy.tlstransport import TLSTransport
from ipyproxy.transport import TCPTransport
from ipyproxy.upstreams import Outcome

_LOOPBACK = "127.0.0.1"
_MOST_BYTES = 1024
_ANSWER = re.compile(rb"HTTP/1\.[01] [1-4][0-9][0-9](?: .*)?")

Told = Callable[[Outcome | None], None]
"""Takes what a probe came to; None if that says nothing about the upstream."""


class Probe(Protocol):
    """A probe that is under way. It takes what it takes, at most its time-out, and tells once."""

    def cancel(self) -> None:
        """Give up without a word."""


class NoProbe:
    """Leaves a port alone: it counts as one where nobody listens."""

    def __init__(self, reactor: Any, told: Told) -> None:
        self._timer = reactor.callLater(0, told, Outcome.REFUSED)

    def cancel(self) -> None:
        """Give up without a word."""
        if self._timer.active():
            self._timer.cancel()


class TCPProbe(protocol.Protocol):
    """Connects, hangs up, and waits until the upstream does so too.

    Connecting alone proves nothing: the kernel takes connections for a process that hangs. No
    request is made, so nothing is counted as anybody's activity, and the connection is gone as soon
    as the upstream has looked at it.

    :param timeout: seconds for all of it.
    """

    transport: Any

    def __init__(self, reactor: Any, port: int, timeout: float, told: Told) -> None:
        self._reactor = reactor
        self._port = port
        self._told: Told | None = told
        self._timer = reactor.callLater(timeout, self._end, Outcome.MISSED)
        self._dial: Attempt | None = self._begin((_LOOPBACK, port), timeout)

    def _begin(self, address: tuple[str, int], timeout: float) -> Attempt:
        return Dial(self._reactor, address, timeout, self._connected, self._failed)

    def _connected(self, sock: socket.socket) -> None:
        self._dial = None
        TCPTransport(self._reactor, sock, self, IPv4Address("TCP", _LOOPBACK, self._port)).start()

    def _failed(self, caught: OSError) -> None:
        self._dial = None
        self._end(_outcome(caught))

    def connectionMade(self) -> None:
        """Say what there is to say."""
        self.transport.loseWriteConnection()

    def dataReceived(self, data: bytes) -> None:
        """Whoever speaks is there."""
        self._end(Outcome.ANSWERED)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        """The upstream hung up, or its process was killed while we waited in its queue."""
        self.transport = None
        self._end(Outcome.ANSWERED if reason.check(ConnectionDone) else Outcome.MISSED)

    def _end(self, outcome: Outcome | None) -> None:
        told = self._told
        if told is None:
            return
        if outcome is Outcome.ANSWERED and self.transport is not None:
            # In good order: some servers log a reset with a traceback.
            self.transport.loseConnection()
            self.transport = None
        self.cancel()
        told(outcome)

    def cancel(self) -> None:
        """Give up without a word."""
        self._told = None
        if self._timer.active():
            self._timer.cancel()
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        if self.transport is not None:
            self.transport.abortConnection()


class HTTPProbe(TCPProbe):
    """Asks for a page; any status below 500 will do, and no more of it is read.

    :param target: the path to ask for.
    :param tls: whom to expect at the other end; None for plain TCP.
    """

    def __init__(
        self,
        reactor: Any,
        port: int,
        target: bytes,
        timeout: float,
        told: Told,
        tls: ClientTLS | None = None,
    ) -> None:
        self._tls = tls
        super().__init__(reactor, port, timeout, told)
        self._request = (
            b"GET %b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: ipyproxy\r\n"
            b"Accept: */*\r\nConnection: close\r\n\r\n" % (target, port)
        )
        self._received = b""

    def _begin(self, address: tuple[str, int], timeout: float) -> Attempt:
        if self._tls is None:
            return super()._begin(address, timeout)
        tls, secured = self._tls, self._secured
        return SecureDial(self._reactor, address, timeout, tls, secured, self._failed)

    def _secured(self, transport: TLSTransport) -> None:
        self._dial = None
        transport.protocol = self
        self.makeConnection(transport)

    def connectionMade(self) -> None:
        """Ask."""
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        """Read the status line."""
        self._received += data
        line, end, _ = self._received.partition(b"\r\n")
        if end or len(line) > _MOST_BYTES:
            self._end(Outcome.ANSWERED if end and _ANSWER.fullmatch(line) else Outcome.MISSED)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        """The upstream hung up without an answer, or we did."""
        self.transport = None
        self._end(Outcome.MISSED)


def _outcome(caught: OSError) -> Outcome | None:
    if caught.errno == errno.ECONNREFUSED:
        return Outcome.REFUSED
    if caught.errno in (errno.ETIMEDOUT, errno.ECONNRESET) or isinstance(caught, NotSecuredError):
        return Outcome.MISSED
    # We are out of descriptors, or of ports to dial from: not the upstream's fault.
    return None
