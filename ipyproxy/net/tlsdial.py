"""One attempt at a TLS connection to an upstream: connect, handshake, check of the certificate.

Knows the order of these steps. Knows nothing of certificates, or of what the connection is for.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any, Final

from twisted.internet import protocol
from twisted.internet.interfaces import IHandshakeListener
from twisted.python.failure import Failure
from zope.interface import implementer

from ipyproxy.clock import Due
from ipyproxy.net.address import ClientTLS, Literal
from ipyproxy.net.descriptors import Descriptors
from ipyproxy.net.sockets import Dial, peer_of
from ipyproxy.net.tcp import HIGH_WATER
from ipyproxy.net.tlsclient import ClientTLSTransport

# Ends of a transport that have nothing to do with TLS.
_HUNG_UP: Final = ("TLS: connection ended", "TLS: unexpected eof while reading")


class NotSecuredError(OSError):
    """The other end speaks no TLS that we accept, or its certificate is not the expected one."""


class SilentError(TimeoutError):
    """The other end accepted the connection, but did not finish the handshake in time."""


@implementer(IHandshakeListener)
class SecureDial(protocol.Protocol):
    """One attempt to connect to an address and do the TLS handshake.

    :param timeout: seconds until the connection must be accepted.
    :param connected: called with the transport; it must replace the ``protocol`` at once.
    :param failed: called with an OSError: as for :class:`Dial`, :class:`NotSecuredError`, or
        :class:`SilentError`; with ``ECONNRESET`` if the other end closed without an alert.
    :param patience: seconds for the handshake, since a busy server may be slow; 0 to wait for ever.
    :param dialled: called once the connection is accepted.
    """

    transport: Any

    def __init__(
        self,
        reactor: Descriptors,
        address: Literal,
        timeout: float,
        tls: ClientTLS,
        connected: Callable[[ClientTLSTransport], None],
        failed: Callable[[OSError], None],
        *,
        high_water: int = HIGH_WATER,
        patience: float = 0.0,
        dialled: Callable[[], None] | None = None,
    ) -> None:
        self._reactor = reactor
        self._address = address
        self._patience = patience
        self._has_dialled = dialled
        self._tls = tls
        self._connected = connected
        self._failed: Callable[[OSError], None] | None = failed
        self._high_water = high_water
        self._timer: Due | None = None
        self._dial = Dial(reactor, address, timeout, self._dialled, self._give_up)

    def _dialled(self, sock: socket.socket) -> None:
        if self._patience:
            late = SilentError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            self._timer = self._reactor.callLater(self._patience, self._give_up, late)
        if self._has_dialled is not None:
            self._has_dialled()
        peer = peer_of(self._address)
        tls = self._tls.connection(sock)
        transport = ClientTLSTransport(
            self._reactor, sock, self, peer, tls, high_water=self._high_water
        )
        transport.start()
        # The client speaks first: a read makes OpenSSL send its ClientHello.
        if ended := transport.doRead():
            transport.connectionLost(Failure(ended))

    def handshakeCompleted(self) -> None:
        """The certificate is valid; check whether it is the expected one."""
        if self._failed is None:
            return
        fault = self._tls.fault(self.transport.tls)
        if fault is not None:
            self._give_up(NotSecuredError(errno.EPROTO, fault))
            return
        self._end()
        self._connected(self.transport)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        """The upstream or OpenSSL has ended the connection within the handshake."""
        said = " ".join(map(str, getattr(reason.value, "args", ())))
        if not said or said in _HUNG_UP:
            self._give_up(ConnectionResetError(errno.ECONNRESET, "hung up in the TLS handshake"))
        else:
            self._give_up(NotSecuredError(errno.EPROTO, said))

    def cancel(self) -> None:
        """Give up; call nothing."""
        self._end()
        if self.transport is not None:
            self.transport.abortConnection()

    def _give_up(self, caught: OSError) -> None:
        failed = self._failed
        if failed is not None:
            self.cancel()
            failed(caught)

    def _end(self) -> None:
        self._failed = None
        self._dial.cancel()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
