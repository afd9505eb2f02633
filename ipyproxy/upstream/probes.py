"""One try to reach an upstream: by connecting and hanging up, or by asking for a page.

Knows how a try is made and what it came to. Knows nothing of when to try, nor of what follows.
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from twisted.internet import protocol
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from ipyproxy.clock import Call
from ipyproxy.net.address import ClientTLS, Literal
from ipyproxy.net.descriptors import Poller
from ipyproxy.net.sockets import Attempt, Dial, Dialling, peer_of
from ipyproxy.net.tcp import TCPTransport
from ipyproxy.net.tls import TLSTransport
from ipyproxy.net.tlsdial import NotSecuredError, SecureDial
from ipyproxy.upstream.states import Outcome

HOLD: Final = 0.25
"""Seconds for which a probe waits before it hangs up, where it may be hung up on at once."""

_MOST_BYTES: Final = 1024
_ANSWER: Final = re.compile(rb"HTTP/1\.[01] [1-4][0-9][0-9](?: .*)?")

Told = Callable[[Outcome | None], None]
"""Takes what a probe came to; None if that says nothing about the upstream."""


class Patience(NamedTuple):
    """What a probe waits for, in seconds.

    :param connect: until the connection is taken.
    :param answer: from then on until it is late. It waits on all the same.
    :param hold: after connecting, to see whether the other end hangs up by itself.
    """

    connect: float
    answer: float
    hold: float = 0.0


class Probe(Protocol):
    """A probe that is under way. It tells once what it came to, however long that takes.

    One that is late goes on: it stands in the queue of a server that is busy, where it costs one
    place. Others that came and went would cost one each, for as long as nobody accepts them.
    """

    def cancel(self) -> None:
        """Give up without a word."""


class NoProbe:
    """Leaves a port alone: it counts as one where nobody listens, or as ``outcome`` says."""

    def __init__(
        self, reactor: Poller, told: Told, outcome: Outcome | None = Outcome.REFUSED
    ) -> None:
        self._timer = reactor.callLater(0, told, outcome)

    def cancel(self) -> None:
        """Give up without a word."""
        if self._timer.active():
            self._timer.cancel()


class TCPProbe(protocol.Protocol):
    """Connects, hangs up, and waits until the upstream does so too.

    Connecting alone proves nothing: the kernel takes connections for a process that hangs. No
    request is made, so nothing is counted as anybody's activity, and the connection is gone as soon
    as the upstream has looked at it.

    Docker's proxy takes connections for a container too, and hangs up by itself if nobody listens
    there. A server does not do so before we have, which is what ``patience.hold`` finds out.

    :param late: called if there is no answer in time.
    """

    transport: Any

    def __init__(
        self,
        reactor: Poller,
        address: Literal,
        patience: Patience,
        told: Told,
        late: Callable[[], None],
        dial: Dialling = Dial,
    ) -> None:
        self._reactor = reactor
        self._begin_to_dial = dial
        self._address = address
        self._patience = patience
        self._told: Told | None = told
        self._late = late
        self._has_hung_up = self._is_late = False
        self._timer: Call | None = None
        self._dial: Attempt | None = self._begin()

    def _begin(self) -> Attempt:
        connect = self._patience.connect
        return self._begin_to_dial(
            self._reactor, self._address, connect, self._connected, self._failed
        )

    def _connected(self, sock: socket.socket) -> None:
        self._dial = None
        TCPTransport(self._reactor, sock, self, peer_of(self._address)).start()

    def _failed(self, caught: OSError) -> None:
        self._dial = None
        self._end(_outcome(caught))

    def connectionMade(self) -> None:
        """Say what there is to say, but let the other end have the first word."""
        if self._patience.hold:
            self._timer = self._reactor.callLater(self._patience.hold, self._hang_up)
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        self._has_hung_up = True
        self._wait()
        self.transport.loseWriteConnection()

    def _wait(self) -> None:
        """It has been told all, so the answer is due."""
        self._timer = self._reactor.callLater(self._patience.answer, self._expire)

    def _expire(self) -> None:
        self._is_late = True
        self._late()

    def dataReceived(self, data: bytes) -> None:
        """Whoever speaks is there."""
        self._end(Outcome.ANSWERED)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        """The upstream hung up, or its process was killed while we waited in its queue."""
        self.transport = None
        if not self._has_hung_up or not reason.check(ConnectionDone):
            self._end(Outcome.HUNG_UP)
        elif self._is_late and self._patience.hold:
            # A server that is awake again, or Docker's proxy that has given up on a container
            # after a while? The next probe will know.
            self._end(Outcome.SILENT)
        else:
            self._end(Outcome.ANSWERED)

    def _end(self, outcome: Outcome | None) -> None:
        told = self._told
        if told is not None:
            self.cancel()
            told(outcome)

    def cancel(self) -> None:
        """Give up without a word."""
        self._told = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        if self.transport is not None:
            # In good order: some servers log a reset with a traceback.
            self.transport.loseConnection()
            self.transport = None


class HTTPProbe(TCPProbe):
    """Asks for a page; any status below 500 will do, and no more of it is read.

    :param target: the path to ask for.
    :param tls: whom to expect at the other end; None for plain TCP.
    """

    def __init__(
        self,
        reactor: Poller,
        address: Literal,
        target: bytes,
        patience: Patience,
        told: Told,
        late: Callable[[], None],
        tls: ClientTLS | None = None,
        dial: Dialling = Dial,
    ) -> None:
        self._tls = tls
        self._request = (
            b"GET %b HTTP/1.1\r\nHost: %b\r\nUser-Agent: ipyproxy\r\n"
            b"Accept: */*\r\nConnection: close\r\n\r\n" % (target, str(address).encode("ascii"))
        )
        self._received = b""
        super().__init__(reactor, address, patience, told, late, dial)

    def _begin(self) -> Attempt:
        if self._tls is None:
            return super()._begin()
        return SecureDial(
            self._reactor,
            self._address,
            self._patience.connect,
            self._tls,
            self._secured,
            self._failed,
            dialled=self._wait,
        )

    def _secured(self, transport: TLSTransport) -> None:
        self._dial = None
        transport.protocol = self
        self.makeConnection(transport)

    def connectionMade(self) -> None:
        """Ask."""
        if self._timer is None:
            self._wait()
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        """Read the status line."""
        self._received += data
        line, end, _ = self._received.partition(b"\r\n")
        if end or len(line) > _MOST_BYTES:
            self._end(Outcome.ANSWERED if end and _ANSWER.fullmatch(line) else Outcome.SILENT)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        """The upstream hung up without an answer, or we did."""
        self.transport = None
        self._end(Outcome.SILENT if self._received else Outcome.HUNG_UP)


def _outcome(caught: OSError) -> Outcome | None:
    if isinstance(caught, NotSecuredError):
        return Outcome.SILENT
    # Whatever is missing here is our own lack of descriptors, or of ports to dial from.
    return {
        errno.ECONNREFUSED: Outcome.REFUSED,
        # There is no such UNIX socket, or it lets others connect only.
        errno.ENOENT: Outcome.REFUSED,
        errno.EACCES: Outcome.REFUSED,
        errno.ECONNRESET: Outcome.HUNG_UP,
        errno.ETIMEDOUT: Outcome.MISSED,
        errno.EHOSTUNREACH: Outcome.MISSED,
        errno.ENETUNREACH: Outcome.MISSED,
    }.get(caught.errno or 0)
