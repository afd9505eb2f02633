"""The status listener: a small server beside the public one, with connections of its own.

So the status page can be reached when the public side is full, and until the very end of a drain.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from ipyproxy.http.forwarding import TrustedProxies
from ipyproxy.net.descriptors import Descriptors
from ipyproxy.net.endpoints import listen, listen_privately
from ipyproxy.net.sockets import Listener
from ipyproxy.net.tcp import TCPTransport
from ipyproxy.server.clients import Clients, ClientsLimits
from ipyproxy.server.server import HTTPServer
from ipyproxy.server.site import ChannelLimits
from ipyproxy.status.site import StatusSite

SOCKET = "status.sock"
"""Name of the usual socket, in the state directory."""
_CONNECTIONS = 64
_BACKLOG = 64


class StatusServer:
    """Serves ``site`` on ``where``, which is a value of ``status.listen``.

    Its requests are neither counted nor logged, or they would be most of what an idle proxy shows.

    :ivar where: what :meth:`listen` was told.
    """

    _log = Logger(namespace="ipyproxy.status.serving")

    def __init__(
        self, reactor: Any, descriptors: Descriptors, site: StatusSite, limits: ChannelLimits
    ) -> None:
        self._reactor = reactor
        self._descriptors = descriptors
        self._listener: Listener | None = None
        self.where: int | str | None = None
        self.server = HTTPServer(
            reactor,
            site,
            limits,
            Clients(ClientsLimits(_CONNECTIONS, _CONNECTIONS)),
            TrustedProxies(),
            lambda request, duration: None,
        )

    def listen(self, where: int | str | None, directory: Path) -> IAddress | None:
        """Begin to listen; gives the address, or None if there is none.

        The usual socket, in ``directory``, may be missing, for nobody has asked for it. What was
        asked for and cannot be had ends the process (``SystemExit``).
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
        path = directory / SOCKET
        try:
            self._listener = listen_privately(self._descriptors, path, _BACKLOG, self._accept)
        except OSError as caught:
            reason = caught.strerror or caught
            self._log.warn(
                "the status page is not served: {path} cannot be had ({reason}); "
                "see status.listen in the configuration",
                path=str(path),
                reason=str(reason),
            )
            return None
        return self._listener.address

    def _accept(self, sock: socket.socket, peer: IAddress) -> None:
        channel = self.server.open_channel(peer)
        if channel is None:
            sock.close()
            return
        TCPTransport(self._descriptors, sock, channel, peer).start()

    def stop(self) -> Any:
        """Listen no more, and end all connections; gives a Deferred or None."""
        for channel in list(self.server.channels):
            channel.transport.abortConnection()
        return None if self._listener is None else self._listener.stop()
