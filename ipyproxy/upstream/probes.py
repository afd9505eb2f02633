"""One probe of an upstream: it connects and closes, or requests a page.

Knows how a probe is made, and its outcome. Knows nothing of when to probe, or of what follows.
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
"""Seconds that a probe waits before it closes, on a port that has not answered a request yet."""

_MOST_BYTES: Final = 1024
_ANSWER: Final = re.compile(rb"HTTP/1\.[01] [1-4][0-9][0-9](?: .*)?")

Told = Callable[[Outcome | None], None]
"""Called with the outcome of a probe; None if that says nothing about the upstream."""


class Patience(NamedTuple):
    """Time-outs of a probe, in seconds.

    :param connect: until the connection is accepted.
    :param answer: from then on until the probe is late. It goes on waiting.
    :param hold: after connecting, to see whether the other end closes by itself.
    """

    connect: float
    answer: float
    hold: float = 0.0


class Probe(Protocol):
    """A running probe. It reports its outcome once, however long that takes.

    A late probe goes on: in the backlog of a busy server it takes one slot. If probes gave up and
    new ones came, each would take a slot until the server accepts it.
    """

    def cancel(self) -> None:
        """Give up; call nothing."""


class NoProbe:
    """Makes no connection: reports that nobody listens, or ``outcome``."""

    def __init__(
        self, reactor: Poller, told: Told, outcome: Outcome | None = Outcome.REFUSED
    ) -> None:
        self._timer = reactor.callLater(0, told, outcome)

    def cancel(self) -> None:
        """Give up; call nothing."""
        if self._timer.active():
            self._timer.cancel()


class TCPProbe(protocol.Protocol):
    """Connects, closes its half, and waits until the upstream closes too.

    Connecting alone proves nothing: the kernel accepts connections for a process that hangs. No
    request is sent, so the upstream counts no activity, and it closes the connection as soon as it
    sees it.

    Docker's proxy accepts connections for a container, and closes them if nobody listens there. A
    server does not close before we do; ``patience.hold`` is the time to tell them apart.

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
        """Send what there is to send, but first wait whether the other end closes."""
        if self._patience.hold:
            self._timer = self._reactor.callLater(self._patience.hold, self._hang_up)
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        self._has_hung_up = True
        self._wait()
        self.transport.loseWriteConnection()

    def _wait(self) -> None:
        """Everything is sent, so the answer is due."""
        self._timer = self._reactor.callLater(self._patience.answer, self._expire)

    def _expire(self) -> None:
        self._is_late = True
        self._late()

    def dataReceived(self, data: bytes) -> None:
        """Any byte is an answer."""
        self._end(Outcome.ANSWERED)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        """The upstream closed, or its process was killed while we waited in its backlog."""
        self.transport = None
        if not self._has_hung_up or not reason.check(ConnectionDone):
            self._end(Outcome.HUNG_UP)
        elif self._is_late and self._patience.hold:
            # This may be a server that goes on, or Docker's proxy that has given up on its
            # container. The next probe will tell.
            self._end(Outcome.SILENT)
        else:
            self._end(Outcome.ANSWERED)

    def _end(self, outcome: Outcome | None) -> None:
        told = self._told
        if told is not None:
            self.cancel()
            told(outcome)

    def cancel(self) -> None:
        """Give up; call nothing."""
        self._told = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        if self.transport is not None:
            # Without a reset, which some servers log with a traceback.
            self.transport.loseConnection()
            self.transport = None


class HTTPProbe(TCPProbe):
    """Requests a page. Any status below 500 is good; nothing behind it is read.

    :param target: the path to request.
    :param tls: the terms for TLS; None for plain TCP.
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
        """Send the request."""
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
        """The upstream closed without an answer, or we did."""
        self.transport = None
        self._end(Outcome.SILENT if self._received else Outcome.HUNG_UP)


def _outcome(caught: OSError) -> Outcome | None:
    if isinstance(caught, NotSecuredError):
        return Outcome.SILENT
    # Errors that are not listed are our own lack of descriptors, or of ports to dial from.
    return {
        errno.ECONNREFUSED: Outcome.REFUSED,
        # There is no such UNIX socket, or this user may not connect to it.
        errno.ENOENT: Outcome.REFUSED,
        errno.EACCES: Outcome.REFUSED,
        errno.ECONNRESET: Outcome.HUNG_UP,
        errno.ETIMEDOUT: Outcome.MISSED,
        errno.EHOSTUNREACH: Outcome.MISSED,
        errno.ENETUNREACH: Outcome.MISSED,
    }.get(caught.errno or 0)
