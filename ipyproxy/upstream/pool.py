"""The pool of connections to upstreams: dials them, keeps idle ones, and reuses them.

Knows upstreams, and which connections are idle. Knows nothing of the bytes on one.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Final

from twisted.logger import Logger

from ipyproxy.clock import Clock
from ipyproxy.errors import HungUpError, Problem, ProxyError
from ipyproxy.net.address import ClientTLS, Literal, NamedAddress, TCPAddress
from ipyproxy.net.descriptors import Descriptors
from ipyproxy.net.names import Names
from ipyproxy.net.sockets import Attempt, Dial, Dialling, peer_of
from ipyproxy.net.tcp import TCPTransport
from ipyproxy.net.tls import TLSTransport
from ipyproxy.net.tlsdial import NotSecuredError, SecureDial, SilentError
from ipyproxy.upstream.connection import ClientLimits, Receiver, UpstreamConnection
from ipyproxy.upstream.upstream import Upstream

CLOSES_EARLIER: Final = 1.0
"""If a server says when it closes an idle connection, we close it so many seconds earlier."""
JUST_USED: Final = 1.0
"""Seconds for which an idle connection is used for requests that cannot be sent again.

Servers close idle connections after a while, few after less than two seconds (gunicorn after 2,
Node and uvicorn after 5). A request that is sent at that moment is lost.
"""

_log: Final = Logger(namespace="ipyproxy.pool")


class Pool:
    """The connections to all upstreams.

    :param confirm: called with an upstream that was just connected to, the time, and the mark given
        to :meth:`dial`. Raises :class:`ProxyError` if nothing may be sent there.
    :param dial: begins to connect to an address without TLS.
    """

    def __init__(
        self,
        reactor: Clock,
        descriptors: Descriptors,
        limits: ClientLimits,
        confirm: Callable[[Upstream, float, int | None], None],
        dial: Dialling = Dial,
    ) -> None:
        self.reactor = reactor
        self._descriptors = descriptors
        self._confirm = confirm
        self._begin = dial
        self.limits = limits
        self.names: Names | None = None
        """Looks up upstreams with host names; None: there are none."""
        self._idle: dict[Upstream, list[UpstreamConnection]] = {}
        self._kept = 0
        self._connections: dict[UpstreamConnection, Upstream] = {}

    def connect(
        self, upstream: Upstream, receiver: Receiver, *, once: bool, mark: int | None = None
    ) -> Attempt | None:
        """Find or make a connection to ``upstream`` for ``receiver``.

        An idle connection is passed to the receiver within this call. Otherwise the attempt to
        connect is returned, so that it can be cancelled.

        :param once: the request cannot be sent again, so it needs a connection that was used within
            the last :data:`JUST_USED` seconds, or a new one.
        """
        connection = self._find_kept(upstream, once=once)
        if connection is None:
            return self.dial(upstream, receiver, mark)
        self._offer(connection, receiver)
        return None

    def _find_kept(self, upstream: Upstream, *, once: bool) -> UpstreamConnection | None:
        """Take the idle connection that was used last; None if none can be used."""
        idle = self._idle.get(upstream)
        if not idle:
            return None
        now = self.reactor.seconds()
        while idle:
            if once and now - idle[-1].kept_at > JUST_USED:
                return None  # the others have been idle longer
            connection = idle.pop()
            self._kept -= 1
            # Input would be the end of the connection, or an answer to no request, which the next
            # request would get.
            if now < connection.kept_until and not connection.transport.has_input:
                return connection
            self.drop(connection)
        return None

    def keeps(self, upstream: Upstream) -> bool:
        """Whether there is an idle connection to ``upstream``."""
        return bool(self._idle.get(upstream))

    def dial(self, upstream: Upstream, receiver: Receiver, mark: int | None = None) -> Attempt:
        """Make a new connection to ``upstream`` for ``receiver``; returns the attempt."""
        address = upstream.address

        def failed(caught: OSError) -> None:
            receiver.failed(_dial_error(caught))

        if not isinstance(address, NamedAddress):
            return self._dial(upstream, address, receiver, mark, failed)
        assert self.names is not None

        def begin(found: TCPAddress, failed: Callable[[OSError], None]) -> Attempt:
            return self._dial(upstream, found, receiver, mark, failed)

        return self.names.dial(address, begin, failed)

    def _dial(
        self,
        upstream: Upstream,
        address: Literal,
        receiver: Receiver,
        mark: int | None,
        failed: Callable[[OSError], None],
    ) -> Attempt:
        tls = upstream.tls

        def connected(sock: socket.socket) -> None:
            if not self._is_confirmed(upstream, receiver, mark, tls):
                sock.close()
                return
            connection = self._made(upstream)
            high_water = self.limits.buffer_bytes
            peer = peer_of(address)
            TCPTransport(self._descriptors, sock, connection, peer, high_water=high_water).start()
            self._offer(connection, receiver)

        def secured(transport: TLSTransport) -> None:
            if not self._is_confirmed(upstream, receiver, mark, tls):
                transport.abortConnection()
                return
            connection = transport.protocol = self._made(upstream)
            connection.makeConnection(transport)
            self._offer(connection, receiver)

        timeout = self.limits.connect_timeout
        if tls is None:
            return self._begin(self._descriptors, address, timeout, connected, failed)
        high_water = self.limits.buffer_bytes
        # A busy upstream does not answer a TLS handshake either.
        patience = self.limits.response_timeout
        return SecureDial(
            self._descriptors,
            address,
            timeout,
            tls,
            secured,
            failed,
            high_water=high_water,
            patience=patience,
        )

    def _is_confirmed(
        self, upstream: Upstream, receiver: Receiver, mark: int | None, tls: ClientTLS | None
    ) -> bool:
        try:
            if upstream.is_retired:
                # The process that listens there now is not the one that the request was for.
                raise ProxyError(Problem.UPSTREAM_DEAD, "no route leads there any more")
            if tls != upstream.tls:
                raise ProxyError(Problem.DRAINING, "the terms of TLS have changed meanwhile")
            self._confirm(upstream, self.reactor.seconds(), mark)
        except ProxyError as error:
            receiver.failed(error)
            return False
        return True

    def _made(self, upstream: Upstream) -> UpstreamConnection:
        connection = UpstreamConnection(self)
        self._connections[connection] = upstream
        return connection

    def _offer(self, connection: UpstreamConnection, receiver: Receiver) -> None:
        try:
            receiver.connected(connection)
        except Exception:
            _log.failure("a request could not be sent; please report this")
            connection.abandon()
            receiver.failed(ProxyError(Problem.INTERNAL))

    def keep(self, connection: UpstreamConnection) -> None:
        """Keep a connection whose exchange has ended, unless too many are kept.

        It is kept for ``idle_timeout``, or until shortly before the upstream has said it will
        close.
        """
        limits = self.limits
        timeout = limits.idle_timeout
        if connection.keep_alive < timeout + CLOSES_EARLIER:
            timeout = connection.keep_alive - CLOSES_EARLIER
        if connection.retired or timeout <= 0 or self._kept >= limits.idle_connections:
            self.drop(connection)
            return
        self._kept += 1
        connection.kept_at = now = self.reactor.seconds()
        connection.kept_until = connection.deadline = now + timeout
        connection.transport.resumeProducing()
        upstream = self._connections[connection]
        idle = self._idle.get(upstream)
        if idle is None:
            self._idle[upstream] = [connection]
        else:
            idle.append(connection)

    def drop(self, connection: UpstreamConnection) -> None:
        """Close an idle connection, and never use it again."""
        self._unkeep(connection)
        if connection.transport.bytes_waiting:
            # An upstream that does not read would keep it open for ever.
            connection.transport.abortConnection()
        else:
            connection.transport.loseConnection()

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection has ended."""
        self._unkeep(connection)
        del self._connections[connection]

    def _unkeep(self, connection: UpstreamConnection) -> None:
        upstream = self._connections[connection]
        idle = self._idle.get(upstream, [])
        if connection in idle:
            idle.remove(connection)
            self._kept -= 1
        if not idle:
            self._idle.pop(upstream, None)

    def end_tunnels(self, name: str | None = None) -> None:
        """Abort the tunnels to the upstream ``name``, or to all."""
        for connection, upstream in list(self._connections.items()):
            if connection.is_tunnel and name in (upstream.name, None):
                connection.transport.abortConnection()

    def part(self, name: str | None = None) -> None:
        """Never reuse the present connections to the upstream ``name``, or to any.

        Open requests are answered first. Tunnels end.
        """
        self.end_tunnels(name)
        for connection, upstream in list(self._connections.items()):
            if name in (upstream.name, None):
                connection.retired = True
        for upstream, idle in list(self._idle.items()):
            if name in (upstream.name, None):
                for connection in list(idle):
                    self.drop(connection)

    def leave(self, upstream: Upstream) -> None:
        """Never reuse connections to ``upstream``; open requests may still be answered."""
        for connection in list(self._idle.get(upstream, ())):
            self.drop(connection)
        if upstream.open_work:
            for connection in self._of(upstream):
                connection.retired = True

    def break_off(self, upstream: Upstream) -> None:
        """Close every connection to ``upstream``, even with open requests."""
        for connection in self._of(upstream):
            connection.transport.abortConnection()

    def _of(self, upstream: Upstream) -> list[UpstreamConnection]:
        return [each for each, whose in self._connections.items() if whose is upstream]

    def sweep(self) -> None:
        """Check every connection's deadline; to be called about once a second."""
        now = self.reactor.seconds()
        for connection in list(self._connections):
            if connection.retired and connection.is_tunnel:
                # Its request was sent before, and it became a tunnel since.
                connection.transport.abortConnection()
            else:
                connection.check(now)

    def close(self) -> None:
        """Close all idle connections."""
        for connection in [kept for idle in self._idle.values() for kept in idle]:
            self.drop(connection)


def _dial_error(caught: OSError) -> ProxyError:
    if isinstance(caught, NotSecuredError):
        return ProxyError(Problem.UPSTREAM_BROKEN, caught.strerror or "TLS")
    if caught.errno == errno.ECONNREFUSED:
        return ProxyError(Problem.UPSTREAM_DEAD, "connection refused")
    if caught.errno == errno.ENOENT:
        return ProxyError(Problem.UPSTREAM_DEAD, "there is no such socket")
    if caught.errno == errno.EACCES:
        return ProxyError(Problem.UPSTREAM_DEAD, "no permission to connect to its socket")
    if caught.errno == errno.ECONNRESET:
        return HungUpError("it hung up at once")
    if isinstance(caught, SilentError):
        return ProxyError(Problem.UPSTREAM_TIMEOUT, "no answer in the TLS handshake")
    if isinstance(caught, TimeoutError):
        return ProxyError(Problem.CONNECT_TIMEOUT, "connect timed out")
    if caught.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return ProxyError(Problem.CONNECT_TIMEOUT, "there is no way to its host")
    return ProxyError(Problem.OVERLOADED, f"cannot dial: {caught.strerror}")
