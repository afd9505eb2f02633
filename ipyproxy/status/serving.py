"""The status listener: a small server beside the public one, with its own connections.

So the status page is reachable when the public side is full, and until the end of a drain.
"""

from __future__ import annotations

import socket
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from ipyproxy.net.descriptors import Descriptors, Reactor
from ipyproxy.net.endpoints import listen, listen_privately
from ipyproxy.net.sockets import Listener
from ipyproxy.server.accepting import accept_client
from ipyproxy.server.private import private_server
from ipyproxy.server.site import ChannelLimits
from ipyproxy.status.site import StatusSite

SOCKET = "status.sock"
"""Name of the usual socket, in the state directory."""
_CONNECTIONS = 64
_BACKLOG = 64
_TRY_EVERY = 2.0
"""Seconds between two attempts to get the usual socket."""


class StatusServer:
    """Serves ``site`` on ``where``, which is a value of ``status.listen``.

    Its requests are neither counted nor logged; otherwise an idle proxy would show mostly these.

    :ivar where: the argument of :meth:`listen`.
    """

    _log = Logger(namespace="ipyproxy.status.serving")

    def __init__(
        self, reactor: Reactor, descriptors: Descriptors, site: StatusSite, limits: ChannelLimits
    ) -> None:
        self._reactor = reactor
        self._descriptors = descriptors
        self._listener: Listener | None = None
        self._path: Path | None = None
        self._try_again = 0.0
        self.where: int | str | None = None
        self.server = private_server(reactor, site, limits, _CONNECTIONS)

    def listen(self, where: int | str | None, directory: Path) -> IAddress | None:
        """Start to listen. Returns the address, or None.

        If the usual socket in ``directory`` is not available, that is no error, since it is only
        the default. A configured listener that fails ends the process (``SystemExit``).
        """
        self.where = where
        if where is None:
            return None
        if where != "unix":
            endpoint = f"tcp:{where}:interface=127.0.0.1" if isinstance(where, int) else where
            self._listener = listen(
                self._reactor, self._descriptors, endpoint, _BACKLOG, self._accept
            )
            return self._listener.address
        self._path = directory / SOCKET
        try:
            return self._listen_privately()
        except OSError as caught:
            reason = caught.strerror or caught
            self._log.warn(
                "the status page is not served: {path} cannot be had ({reason}); it is tried "
                "again, and status.listen in the configuration names another place",
                path=str(self._path),
                reason=str(reason),
            )
            return None

    def sweep(self) -> IAddress | None:
        """Check deadlines, and try again to get the usual socket.

        Returns its address once that works.

        Another process may have had the socket, and has ended or given it up since.
        """
        self.server.sweep()
        if self._path is None or self._listener is not None:
            return None
        now = self._reactor.seconds()
        if now < self._try_again:
            return None
        try:
            return self._listen_privately()
        except OSError:
            return None

    def _listen_privately(self) -> IAddress:
        assert self._path is not None
        self._try_again = self._reactor.seconds() + _TRY_EVERY
        self._listener = listen_privately(self._descriptors, self._path, _BACKLOG, self._accept)
        return self._listener.address

    def give_up_place(self) -> None:
        """Leave the usual socket to another process; open connections stay."""
        if self._path is not None and self._listener is not None:
            self._listener.stop()
            self._listener = None
        self._path = None

    def _accept(self, sock: socket.socket, peer: IAddress) -> None:
        accept_client(self.server, self._descriptors, sock, peer)

    def stop(self) -> Deferred[None] | None:
        """Listen no more, and end all connections; a Deferred is called back once that is done."""
        for channel in list(self.server.channels):
            channel.transport.abortConnection()
        return None if self._listener is None else self._listener.stop()
