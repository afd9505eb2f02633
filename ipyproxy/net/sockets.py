"""Makes connections: accepts those of clients, dials upstreams.

Knows sockets, time-outs and the kernel's errors. Knows nothing of the bytes on a connection.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import select
import socket
from collections.abc import Callable
from typing import Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReadDescriptor, IWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ipyproxy.clock import Due
from ipyproxy.net.address import Literal, UNIXPath
from ipyproxy.net.descriptors import Descriptors
from ipyproxy.net.proxyprotocol import ProxyProtocolError, parse_header
from ipyproxy.net.tcp import INHERITED, address_of

_ACCEPTS_PER_EVENT: Final = 8
_ACCEPT_PAUSE: Final = 0.2

_LONGEST_HEADER: Final = 4096
_QUEUE_FULL_PAUSE: Final = 0.02

Accept = Callable[[socket.socket, IAddress], None]

_log: Final = Logger(namespace="ipyproxy.sockets")


class Port(Protocol):
    """A socket that listens, as ``twisted.internet.tcp.Port`` and its kin do."""

    def fileno(self) -> int:
        """Its descriptor."""

    def stopReading(self) -> object:
        """Accept nothing by itself."""

    def stopListening(self) -> Deferred[None] | None:
        """Close it; a Deferred is called back once it is."""


@implementer(IReadDescriptor)
class Listener:
    """Accepts connections on a port that Twisted has bound.

    Twisted's endpoints (``tcp:``, ``systemd:``, ``unix:`` …) bind the port. Its descriptor is
    duplicated, because the port's own accept loop would use Twisted's transports.

    :param port: what an endpoint's ``listen`` gave.
    :param accept: called with each connected socket (non-blocking) and its peer.
    """

    def __init__(self, reactor: Descriptors, port: Port, accept: Accept) -> None:
        self._reactor = reactor
        self._port = port
        self._accept = accept
        self._resuming: Due | None = None
        self._port.stopReading()
        self._socket = socket.socket(fileno=os.dup(self._port.fileno()))
        self._socket.setblocking(False)
        # A UNIX socket doesn't have these.
        with contextlib.suppress(OSError):
            for level, option, value in INHERITED:
                self._socket.setsockopt(level, option, value)
        reactor.addReader(self)

    @property
    def address(self) -> IAddress:
        """Where it listens."""
        return address_of(self._socket.getsockname())

    def fileno(self) -> int:
        """The listening descriptor; -1 once it is closed."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """What Twisted puts before a log line."""
        return "ipyproxy"

    def doRead(self) -> None:
        """Accept a bounded number of waiting connections, so that open ones get their turn."""
        for _ in range(_ACCEPTS_PER_EVENT):
            try:
                sock, name = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as caught:
                self._pause(caught)
                return
            sock.setblocking(False)
            _hand_on(self._accept, sock, address_of(name))

    def _pause(self, caught: OSError) -> None:
        # The socket stays readable as long as a client waits: without a pause we would spin.
        _log.warn(
            "no connection is accepted for {pause} s: {reason}",
            pause=_ACCEPT_PAUSE,
            reason=os.strerror(caught.errno or 0),
        )
        self._reactor.removeReader(self)
        self._resuming = self._reactor.callLater(_ACCEPT_PAUSE, self._resume)

    def _resume(self) -> None:
        self._resuming = None
        self._reactor.addReader(self)

    def connectionLost(self, reason: Failure) -> None:
        """Called by the reactor when it shuts down."""
        self.stop()

    def stop(self) -> Deferred[None] | None:
        """Accept nothing more and close. Returns what the port's ``stopListening`` returns."""
        if self._resuming is not None:
            self._resuming.cancel()
            self._resuming = None
        self._reactor.removeReader(self)
        self._socket.close()
        return self._port.stopListening()


@implementer(IReadDescriptor)
class Announcement:
    """Waits for the PROXY header at the start of a connection; reads nothing behind it.

    The connection is closed if no such header comes within ``timeout`` seconds.

    :param accept: called with the socket and the client's real address.
    """

    def __init__(
        self,
        reactor: Descriptors,
        sock: socket.socket,
        peer: IAddress,
        timeout: float,
        accept: Accept,
    ) -> None:
        self._reactor = reactor
        self._socket = sock
        self._peer = peer
        self._accept = accept
        self._taken = b""
        self._timer = reactor.callLater(timeout, self._refuse, "no PROXY header in time")
        reactor.addReader(self)

    def fileno(self) -> int:
        """The socket's descriptor; -1 once it is closed."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """What Twisted puts before a log line."""
        return "ipyproxy"

    def doRead(self) -> None:
        """Read the header, and leave the bytes behind it in the socket."""
        try:
            seen = self._socket.recv(_LONGEST_HEADER, socket.MSG_PEEK)
            header = parse_header(self._taken + seen)
            if not seen:
                self._refuse("closed before its PROXY header")
                return
            rest = len(seen) if header is None else header.size - len(self._taken)
            self._taken += self._socket.recv(rest)
        except BlockingIOError:
            return
        except (OSError, ProxyProtocolError) as caught:
            self._refuse(str(caught))
            return
        if header is not None:
            self._leave()
            peer = self._peer if header.source is None else address_of(header.source)
            _hand_on(self._accept, self._socket, peer)

    def connectionLost(self, reason: Failure) -> None:
        """Called by the reactor when it shuts down."""
        self._leave()
        self._socket.close()

    def _refuse(self, why: str) -> None:
        _log.warn("connection of {peer} refused: {why}", peer=self._peer, why=why)
        self._leave()
        self._socket.close()

    def _leave(self) -> None:
        self._reactor.removeReader(self)
        if self._timer.active():
            self._timer.cancel()


def peer_of(address: Literal) -> IAddress:
    """Twisted's address object for the other end of a dialled connection."""
    return address_of(address.path if isinstance(address, UNIXPath) else address)


class Attempt(Protocol):
    """A connection that is being made."""

    def cancel(self) -> None:
        """Give up; call nothing."""


Dialling = Callable[
    [Descriptors, Literal, float, Callable[[socket.socket], None], Callable[[OSError], None]],
    Attempt,
]
"""Begins an attempt to connect, as :class:`Dial` does."""


@implementer(IWriteDescriptor)
class Dial:
    """One attempt to connect to a literal IP address or a UNIX socket; never to a name.

    If the backlog of a UNIX socket is full, the kernel reports an error at once, instead of waiting
    as for TCP. Then the attempt is repeated until ``timeout``.

    :param connected: called with the socket (non-blocking) once it is connected.
    :param failed: called with an OSError; ``TimeoutError`` after ``timeout`` seconds.
    """

    def __init__(
        self,
        reactor: Descriptors,
        address: Literal,
        timeout: float,
        connected: Callable[[socket.socket], None],
        failed: Callable[[OSError], None],
    ) -> None:
        self._reactor = reactor
        self._address = address
        self._connected = connected
        self._failed = failed
        self._socket: socket.socket | None = None
        self._again: Due | None = None
        try:
            is_begun = self._start()
        except OSError as caught:
            self._timer = reactor.callLater(0, self._give_up, caught)
            return
        self._timer = reactor.callLater(timeout, self._expire)
        if is_begun:
            reactor.addWriter(self)
        else:
            self._again = reactor.callLater(_QUEUE_FULL_PAUSE, self._retry)

    def _start(self) -> bool:
        """Begin to connect. Returns False if the backlog is full."""
        address = self._address
        where: str | tuple[str, int]
        if isinstance(address, UNIXPath):
            family, where = socket.AF_UNIX, address.path
        else:
            family, where = socket.AF_INET6 if ":" in address[0] else socket.AF_INET, address
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        if family != socket.AF_UNIX:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = self._socket.connect_ex(where)
        if code == errno.EAGAIN and family == socket.AF_UNIX:
            self._socket.close()
            return False
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        return True

    def _retry(self) -> None:
        self._again = None
        try:
            if self._start():
                self._reactor.addWriter(self)
            else:
                self._again = self._reactor.callLater(_QUEUE_FULL_PAUSE, self._retry)
        except OSError as caught:
            self._give_up(caught)

    def fileno(self) -> int:
        """The descriptor that connects; -1 once the attempt is over."""
        return -1 if self._socket is None else self._socket.fileno()

    def logPrefix(self) -> str:
        """What Twisted puts before a log line."""
        return "ipyproxy"

    def doWrite(self) -> None:
        """The kernel has finished connecting, with or without success."""
        if self._socket is None:
            return
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not code and _is_its_own_peer(self._socket):
            code = errno.ECONNREFUSED
        if code:
            self._give_up(OSError(code, os.strerror(code)))
            return
        if self._timer.active():
            self._timer.cancel()
        self._reactor.removeWriter(self)
        sock, self._socket = self._socket, None
        self._connected(sock)

    def connectionLost(self, reason: Failure) -> None:
        """Called by the reactor when the descriptor failed, or when it shuts down."""
        if self._socket is not None:
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNRESET
            self._give_up(OSError(code, os.strerror(code)))

    def cancel(self) -> None:
        """Give up; call nothing."""
        self._close()

    def _expire(self) -> None:
        if self._again is not None:
            self._give_up(TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))
            return
        # Timers run before sockets: if this process was delayed, the connection may be made long
        # since.
        watch = select.poll()
        watch.register(self, select.POLLOUT)
        if watch.poll(0):
            self.doWrite()
        else:
            self._give_up(TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))

    def _give_up(self, caught: OSError) -> None:
        self._close()
        self._failed(caught)

    def _close(self) -> None:
        if self._timer.active():
            self._timer.cancel()
        if self._again is not None:
            self._again.cancel()
            self._again = None
        self._reactor.removeWriter(self)
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def claim_descriptors(wanted: int) -> int:
    """Raise this process's limit to ``wanted`` descriptors. Returns how many it may have.

    Services start with a low soft limit, because of ``select``, and should raise it themselves
    (systemd.exec(5), LimitNOFILE).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    return wanted if soft == resource.RLIM_INFINITY else soft


def _hand_on(accept: Accept, sock: socket.socket, peer: IAddress) -> None:
    try:
        accept(sock, peer)
    except Exception:
        # An exception that left this function would end the listener.
        _log.failure("a connection could not be taken; please report this")
        sock.close()


def _is_its_own_peer(sock: socket.socket) -> bool:
    """Whether this is a TCP self-connect: nobody listens, and the kernel chose that port as ours.

    It happens with ports in ``ip_local_port_range``. The request would come back as its own answer.
    """
    try:
        return bool(sock.getsockname() == sock.getpeername())
    except OSError:
        return False  # gone already; the next read will tell
