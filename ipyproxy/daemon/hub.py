"""A JupyterHub beside the other routes of the service: its API, its routes, and their storage.

Knows how to make and wire these. Decides nothing about requests.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from ipyproxy.config.hub import JupyterHub
from ipyproxy.daemon.components import Components
from ipyproxy.daemon.hubfile import RoutesFile
from ipyproxy.daemon.hubterms import HubFiles, TermsOf
from ipyproxy.database.place import PostgreSQL
from ipyproxy.hub.api import ApiSite
from ipyproxy.hub.errorpages import ErrorPages, ErrorTarget
from ipyproxy.hub.figures import Figures
from ipyproxy.hub.reading import read_target
from ipyproxy.hub.shared import SharedRoutes
from ipyproxy.hub.store import HubRoutes, Manner
from ipyproxy.hub.table import RoutesTable
from ipyproxy.net.address import UNIXPath
from ipyproxy.net.descriptors import Descriptors, Reactor
from ipyproxy.net.endpoints import listen_privately, try_listen
from ipyproxy.net.sockets import Listener
from ipyproxy.server.accepting import accept_client
from ipyproxy.server.private import private_server
from ipyproxy.server.site import ChannelLimits
from ipyproxy.threads import PatientThreads
from ipyproxy.tls import ServerTLS

CONNECTIONS = 256
"""Most connections to the API; a hub uses about ten."""
_BACKLOG = 128
_TRY_EVERY = 1.0


def make_error_pages(
    components: Components, target: str, terms: TermsOf, files: Mapping[int, bytes]
) -> ErrorPages:
    """Make the error pages for requests that cannot be carried.

    :param target: the URL of the server of pages; empty: none.
    """
    if not target:
        return ErrorPages(files)
    application = read_target(target)
    (server,) = application.servers
    tls = terms(server) if server.tls_name else None
    upstream = components.upstreams.acquire(server.name, server.address, tls)
    return ErrorPages(files, ErrorTarget(components.pool, upstream, application.below))


class Hub:
    """A hub's routes and its API.

    :param directory: where routes are stored; None: nowhere.
    """

    log = Logger(namespace="ipyproxy.hub")

    def __init__(
        self,
        reactor: Reactor,
        descriptors: Descriptors,
        components: Components,
        limits: ChannelLimits,
        config: JupyterHub,
        files: HubFiles,
        directory: Path | None,
    ) -> None:
        assert config.api is not None
        self._reactor = reactor
        self._descriptors = descriptors
        self._where = config.api
        self._tls: ServerTLS | None = None
        self._listener: Listener | None = None
        self._has_told = False
        self._is_leaving = False
        self._try_again = 0.0
        terms = TermsOf(files.servers)
        pages = make_error_pages(components, config.error_target, terms, {})
        manner = Manner(
            host_routing=config.host_routing, places=config.connections, unserved=pages.answer
        )
        calendar = components.condition.calendar
        self.routes = HubRoutes(components.live, manner, calendar, terms)
        self._shared = (
            None if config.routes is None else _shared(reactor, config.routes, self.routes)
        )
        components.condition.missing = self._missing
        self._file = RoutesFile(reactor, self.routes, directory if config.routes is None else None)
        self._figures = Figures()
        self.server = private_server(reactor, self._api(files.token), limits, CONNECTIONS)
        self.follow(files)

    def follow(self, files: HubFiles) -> None:
        """Use another token and another certificate for the API."""
        self.server.site = self._api(files.token)
        self._tls = None
        if files.api is not None:
            self._tls = ServerTLS((files.api.certificate,), files.api.terms, self._reactor.seconds)

    def _missing(self) -> str:
        """Why load balancers should not send requests here yet: other nodes have the routes."""
        if self._shared is None or self._shared.is_known:
            return ""
        return "the routes of the hub are not read yet"

    def _api(self, token: bytes) -> ApiSite:
        return ApiSite(self._reactor, self._shared or self.routes, token, self._figures)

    def start(self) -> None:
        """Restore the stored routes, and start to listen."""
        self._file.start()
        if self._shared is not None:
            self._shared.start()
        self.sweep()

    def sweep(self) -> None:
        """Check deadlines, listen once that is possible, and store changes."""
        self.server.sweep()
        now = self._reactor.seconds()
        if self._listener is None and not self._is_leaving and now >= self._try_again:
            self._try_again = now + _TRY_EVERY
            self._listen()
        if self._listener is not None:
            self._file.sweep()

    def _listen(self) -> None:
        where = self._where
        try:
            if isinstance(where, UNIXPath):
                path = Path(where.path)
                self._listener = listen_privately(self._descriptors, path, _BACKLOG, self._accept)
            else:
                self._listener = try_listen(self._descriptors, where, _BACKLOG, self._accept)
        except OSError as error:
            if not self._has_told:
                self.log.warn(
                    "the hub's API cannot be had at {where} ({why}); it is tried again",
                    where=str(where),
                    why=error.strerror or str(error),
                )
            self._has_told = True
            return
        if self._has_told:
            # The process that listened until now may have got routes after the file was read.
            self._file.read()
        self._has_told = False
        self.log.info("the hub's API is at {where}", where=str(where))

    def _accept(self, sock: socket.socket, peer: IAddress) -> None:
        accept_client(self.server, self._descriptors, sock, peer, self._tls)

    def give_up_place(self) -> None:
        """Leave the API to another process, which reads the stored routes."""
        self._is_leaving = True
        if self._listener is not None:
            self._listener.stop()
            self._listener = None
            self._file.give_up_place()
        for channel in list(self.server.channels):
            channel.disconnect()

    def stop(self) -> Deferred[None]:
        """Stop listening, and end all connections. Fires once the routes are stored."""
        self.give_up_place()
        for channel in list(self.server.channels):
            channel.transport.abortConnection()
        return self._file.written() if self._shared is None else self._shared.stop()


def _shared(reactor: Reactor, database: PostgreSQL, here: HubRoutes) -> SharedRoutes:
    """The routes that are in ``database``."""
    run = PatientThreads(reactor, 1, "hub routes").run
    return SharedRoutes(reactor, run, RoutesTable(database.conninfo), str(database), here)
