"""TCP transports: byte streams on the reactor, each on one connected socket.

Knows descriptors and buffers. Knows nothing of TLS or HTTP. The transport provides Twisted's
interfaces, so that tests can run every protocol on ``StringTransport``. It replaces Twisted's
transport, which costs three times as much per event.

Longer than other modules, because it is one class with all methods that a protocol may call.

Other than Twisted's, it sends a write at once and buffers only what the kernel does not take.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from twisted.internet import error
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IPushProducer,
    IReadWriteDescriptor,
    ITCPTransport,
)
from twisted.python.failure import Failure
from zope.interface import classImplements

from ipyproxy.net.descriptors import Descriptors
from ipyproxy.net.protocol import CLOSED

READ_SIZE: Final = 65536
"""Most bytes read from a socket in one event, so that no stream starves another."""
FIRST_READ: Final = 4096
"""Bytes read in the first event. Each event reads twice as many, unless the last held too many
pieces."""
LEAST_READ: Final = 512
"""Fewest bytes read in one event, while they hold too many pieces (chunks, frames)."""
MANY_PIECES: Final = 64
"""Pieces in one event above which the protocol has to call :meth:`TCPTransport.read_less`."""
HIGH_WATER: Final = 65536
"""The producer is paused while more bytes wait to be sent; it resumes when all are sent."""

# A connection whose peer has vanished ends within about two minutes (seconds, seconds, probes).
_PROBES: Final = (
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)
INHERITED: Final = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *_PROBES,
)
"""Options (level, name, value) of a listening socket; accepted connections inherit them. So a
client that vanishes while a notebook computes is noticed, however long the notebook is silent."""
_INPUT: Final = select.POLLIN | select.POLLRDHUP
# TCP_CLOSE and TCP_CLOSE_WAIT, the first byte of struct tcp_info.
_HUNG_UP: Final = (7, 8)
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

_ABORTED: Final = Failure(error.ConnectionAborted())


class Ending(Enum):
    """What a transport does once everything written has been sent."""

    NO = "stay open"
    HALF = "send FIN, read on"
    FULL = "close"


# A module's global is found ten times faster than an enumeration's member (Python 3.11).
_NO: Final = Ending.NO
_HALF: Final = Ending.HALF
_FULL: Final = Ending.FULL


class TCPTransport:
    """One connected socket (TCP or UNIX) and the protocol on it."""

    __slots__ = (
        "_appetite",
        "_ending",
        "_fault",
        "_high_water",
        "_paused_producer",
        "_peer",
        "_poll",
        "_producer",
        "_put",
        "_reactor",
        "_socket",
        "_unsent",
        "bytes_sent",
        "connected",
        "is_reading",
        "protocol",
    )

    def __init__(
        self,
        reactor: Descriptors,
        sock: socket.socket,
        protocol: Any,
        peer: IAddress,
        *,
        high_water: int = HIGH_WATER,
    ) -> None:
        self.protocol = protocol
        self.connected = True
        self.bytes_sent = 0
        self._reactor = reactor
        self._socket = sock
        self._peer = peer
        self._unsent = bytearray()
        self._high_water = high_water
        self._ending = _NO
        self._put: Callable[[Any], int] = sock.send
        """Sends bytes and returns how many were taken; raises BlockingIOError if none, or another
        OSError."""
        self._fault: OSError | None = None
        self._poll: Any = None
        """Polls for input; made at its first use."""
        self.is_reading = False
        """Whether the socket is being read at present."""
        self._appetite = FIRST_READ
        self._producer: Any = None
        self._paused_producer = False

    def start(self) -> None:
        """Start reading; tell the protocol that the connection is made."""
        self.protocol.makeConnection(self)
        self.resumeProducing()

    # Called by the reactor. What has ended the connection is given as an exception, as Twisted's
    # own transports do; the type in its interface, which is Failure, is never what is given.

    def fileno(self) -> int:
        """The socket's descriptor; -1 once it is closed."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """What Twisted puts before a log line."""
        return "ipyproxy"

    def doRead(self) -> Any:
        """Read what has come, at most one buffer full."""
        try:
            data = self._socket.recv(self._appetite)
        except BlockingIOError:
            return None
        except OSError as caught:
            return _lost(caught)
        if data:
            if self._appetite < READ_SIZE:
                self._read_more()
            self.protocol.dataReceived(data)
            return None
        # The kernel reports a reset once. If a write has got it, this end is not clean.
        return error.ConnectionDone() if self._fault is None else _lost(self._fault)

    def call_soon(self, call: Callable[[], object]) -> None:
        """Call in a later turn of the event loop, after other connections."""
        self._reactor.callLater(0, call)

    def read_less(self, pieces: int) -> None:
        """Read fewer bytes in the next event, because this one held ``pieces`` pieces.

        A piece (chunk, frame) costs about the same however small it is, and other connections wait
        during an event. Protocols call this for more than :data:`MANY_PIECES` pieces.
        """
        self._appetite = max(LEAST_READ, self._appetite * MANY_PIECES // pieces)

    def _read_more(self) -> None:
        self._appetite = min(READ_SIZE, 2 * self._appetite)

    def doWrite(self) -> Any:
        """Send what waits; then resume the producer, or end."""
        unsent = self._unsent
        try:
            if unsent:
                sent = self._put(unsent)
                self.bytes_sent += sent
                del unsent[:sent]
                if unsent:
                    return None
            if self._ending is not _NO:
                self._say_goodbye()
        except BlockingIOError:
            return None
        except OSError as caught:
            return self._write_failed(caught)
        self._reactor.removeWriter(self)
        if self._ending is _FULL:
            return error.ConnectionDone()
        if self._ending is _HALF:
            self._shut_down()
        elif self._paused_producer:
            self._paused_producer = False
            self._producer.resumeProducing()
        return None

    def _say_goodbye(self) -> None:
        """Tell the peer that the stream ends here, if there is a message for it, as in TLS.

        Raises what ``_put`` does.
        """

    def _write_failed(self, caught: OSError) -> Exception | None:
        """The peer takes nothing more, but may have sent a reason: go on reading."""
        self._fault = self._fault or caught
        if not self.is_reading:
            return _lost(self._fault)
        self._unsent.clear()
        self._reactor.removeWriter(self)
        return None

    def connectionLost(self, reason: Failure) -> None:
        """Close the socket and tell the protocol."""
        if not self.connected:
            return
        self.connected = False
        self._ending = _FULL
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self._socket.close()
        self._unsent.clear()
        self._producer = None
        self._paused_producer = False
        protocol, self.protocol = self.protocol, None
        protocol.connectionLost(reason)

    # Called by protocols, to write.

    @property
    def bytes_waiting(self) -> int:
        """Bytes that were written and that the kernel has not taken yet."""
        return len(self._unsent)

    @property
    def is_full(self) -> bool:
        """Whether so many bytes wait to be sent that the producer is paused."""
        return len(self._unsent) > self._high_water

    def write(self, data: bytes) -> None:
        """Send ``data`` at once, as far as the kernel takes it; buffer the rest."""
        # TLS would make a record even of no bytes.
        if self._ending is not _NO or not data:
            return
        unsent = self._unsent
        if not unsent:
            sent = 0
            try:
                sent = self._put(data)
            except BlockingIOError:
                pass
            except OSError as caught:
                # The reactor calls doWrite, which gets the error again and handles it. So no
                # protocol loses its connection within its own call of write().
                self._fault = caught
            self.bytes_sent += sent
            if sent == len(data):
                return
            data = data[sent:]
            self._reactor.addWriter(self)
        unsent += data
        if len(unsent) > self._high_water:
            self._pause_producer()

    def writeSequence(self, iovec: Any) -> None:
        """Send all of ``iovec``."""
        self.write(b"".join(iovec))

    def _pause_producer(self) -> None:
        if self._producer is not None and not self._paused_producer:
            self._paused_producer = True
            self._producer.pauseProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Pause ``producer`` (an IPushProducer) while too much waits to be sent."""
        if not streaming:
            raise TypeError("only push producers are supported")
        if self._producer is not None:
            raise RuntimeError("a producer is registered already")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer = producer
        if self.is_full:
            self._pause_producer()

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        self._producer = None
        self._paused_producer = False

    # Called by protocols, to read.

    @property
    def server_name(self) -> bytes | None:
        """The host name that the peer sent by SNI: None without TLS."""
        return None

    @property
    def has_input(self) -> bool:
        """Whether bytes, or the end of the stream, wait to be read."""
        if not self.connected:
            return True
        # A read without input raises an exception, which takes five times as long as this poll.
        poll = self._poll
        if poll is None:
            poll = self._poll = select.poll()
            poll.register(self._socket.fileno(), _INPUT)
        return bool(poll.poll(0))

    @property
    def has_hung_up(self) -> bool:
        """Whether the peer has closed or reset; known even while reading is paused."""
        try:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        except OSError:
            return False  # a UNIX socket
        return info[0] in _HUNG_UP

    def pauseProducing(self) -> None:
        """Stop reading until :meth:`resumeProducing`, so that the peer has to wait."""
        if self.is_reading:
            self.is_reading = False
            self._reactor.removeReader(self)

    def resumeProducing(self) -> None:
        """Read again."""
        if self.connected and not self.is_reading and self._ending is not _FULL:
            self.is_reading = True
            self._reactor.addReader(self)

    def stopProducing(self) -> None:
        """End the connection."""
        self.loseConnection()

    # Called by protocols, to end.

    def loseConnection(self) -> None:
        """Close once everything written has been sent; read nothing more."""
        if self._ending is not _FULL:
            self._ending = _FULL
            self.unregisterProducer()
            self.pauseProducing()
            if self._has_said_all():
                self._end_soon(CLOSED)

    def loseWriteConnection(self) -> None:
        """Send FIN once everything written has been sent; go on reading."""
        if self._ending is _NO:
            self._ending = _HALF
            self.unregisterProducer()
            if self._has_said_all():
                self._shut_down()

    def _has_said_all(self) -> bool:
        """Whether everything is sent, TLS's close_notify too; if not, the reactor sends it."""
        if not self._unsent:
            try:
                self._say_goodbye()
            except BlockingIOError:
                self._reactor.addWriter(self)
                return False
            except OSError as caught:
                self._fault = self._fault or caught
            return True
        return False

    def abortConnection(self) -> None:
        """Close now with a reset, so that the peer knows that the stream is incomplete."""
        if self.connected:
            self._ending = _FULL
            self.unregisterProducer()
            self.pauseProducing()
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._end_soon(_ABORTED)

    def _shut_down(self) -> None:
        # An OSError means that the peer has closed: the next read reports it.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def _end_soon(self, reason: Failure) -> None:
        self._reactor.removeWriter(self)
        self._reactor.callLater(0, self.connectionLost, reason)

    # Facts and options.

    def getPeer(self) -> Any:
        """The other end's address."""
        return self._peer

    def getHost(self) -> Any:
        """Our end's address."""
        return address_of(self._socket.getsockname())

    def getTcpNoDelay(self) -> bool:
        """Whether small writes are sent at once."""
        return bool(self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Send small writes at once (or not)."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        """Whether the kernel probes a silent peer."""
        return bool(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Turn TCP keepalive on or off; a UNIX socket's peer can't vanish unnoticed."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)
        if enabled and self._socket.family != socket.AF_UNIX:
            for level, option, value in _PROBES:
                self._socket.setsockopt(level, option, value)
            # Not for HTTP, where it would end a download that the client has paused.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)


# Not by a decorator, behind which mypyc could not compile the class.
classImplements(TCPTransport, IReadWriteDescriptor, ITCPTransport, IPushProducer, IConsumer)


def address_of(name: Any) -> IAddress:
    """Twisted's address object for one of the socket module; IPv4-mapped IPv6 becomes IPv4."""
    if not isinstance(name, tuple):
        return UNIXAddress(name or None)
    host, port = name[0], name[1]
    if host.startswith("::ffff:") and "." in host:
        return IPv4Address("TCP", host[7:], port)
    return (IPv6Address if ":" in host else IPv4Address)("TCP", host, port)


def _lost(caught: OSError) -> Exception:
    return error.ConnectionLost(os.strerror(caught.errno or 0))
