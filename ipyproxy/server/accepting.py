"""Accepts a connected client: makes a channel on a transport, or closes the connection.

Knows which transport to make. Knows nothing of certificates, or of listeners.
"""

from __future__ import annotations

import socket
from typing import Protocol

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress

from ipyproxy.net.descriptors import Descriptors
from ipyproxy.net.tcp import TCPTransport
from ipyproxy.net.tls import TLSTransport
from ipyproxy.server.server import HTTPServer


class TLS(Protocol):
    """Makes sessions; see :class:`ipyproxy.tls.ServerTLS`."""

    def connection(self, sock: socket.socket, /) -> SSL.Connection:
        """A new session on ``sock``."""


def accept_client(
    server: HTTPServer,
    descriptors: Descriptors,
    sock: socket.socket,
    peer: IAddress,
    tls: TLS | None = None,
) -> None:
    """Let ``server`` serve the client on ``sock``; close it if there are too many.

    :param tls: makes TLS sessions; None: no TLS.
    """
    channel = server.open_channel(peer)
    high_water = server.limits.buffer_bytes
    if channel is None:
        sock.close()
    elif tls is None:
        TCPTransport(descriptors, sock, channel, peer, high_water=high_water).start()
    else:
        session = tls.connection(sock)
        TLSTransport(descriptors, sock, channel, peer, session, high_water=high_water).start()
