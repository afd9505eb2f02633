"""Stores a hub's routes in a file of the state directory, for the next process on this host.

Knows when the file is read and written. Knows nothing of the API, or of how a route is served.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ipyproxy import statefiles
from ipyproxy.auth.keeping import KeptFile
from ipyproxy.hub.api import spelled
from ipyproxy.hub.gathering import Gathering
from ipyproxy.hub.store import HubRoutes
from ipyproxy.net.descriptors import Reactor
from ipyproxy.threads import PatientThreads

KEPT = "hub-routes.json"
"""The file's name."""
_WRITE_EVERY = 2.0


class RoutesFile:
    """Stores the routes of a hub, as long as this process has the API.

    :param directory: the directory of the file; None: routes are not stored.
    """

    log = Logger(namespace="ipyproxy.hub")

    def __init__(self, reactor: Reactor, routes: HubRoutes, directory: Path | None) -> None:
        self._reactor = reactor
        self._routes = routes
        self._file = None if directory is None else directory / KEPT
        self._write_again = 0.0
        self._is_behind = self._spelling = self._is_leaving = False
        self._text = b""
        run = PatientThreads(reactor, 1, "hub routes").run
        self._kept = KeptFile(run, lambda: self._text, self._not_written)
        routes.changed = self._changed

    def start(self) -> None:
        """Restore the stored routes."""
        self._kept.path = self._file
        self.read()

    def read(self) -> None:
        """Add routes from the file that are not known yet."""
        file = self._file
        if file is None:
            return
        try:
            kept = json.loads(statefiles.read(file))
            count = self._routes.restore(kept) if isinstance(kept, dict) else 0
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            self.log.error(
                "{file} cannot be read ({why}): there are no routes of the hub until it says them",
                file=str(file),
                why=why,
            )
            return
        self.log.info("{count} routes of the hub are as they were", count=count)

    def sweep(self) -> None:
        """Store changes. To be called while this process has the API."""
        now = self._reactor.seconds()
        if self._is_behind and not self._spelling and now >= self._write_again:
            self._is_behind, self._spelling = False, True
            Gathering(self._reactor, spelled(self._routes.all()), partial(self._spelled, now))

    def _spelled(self, began: float, text: bytes) -> None:
        self._spelling = False
        # Each write contains all routes, and a starting hub sets thousands at once.
        now = self._reactor.seconds()
        self._write_again = now + _WRITE_EVERY + 20 * (now - began)
        if not self._is_leaving:
            self._write(text)

    def _write(self, text: bytes) -> None:
        self._text = text
        self._kept.change()

    def give_up_place(self) -> None:
        """Store all routes for another process, and then stop storing."""
        self._is_leaving = True
        if self._file is not None:
            self._write(b"".join(spelled(self._routes.all())))

    def written(self) -> Deferred[None]:
        """Fires once everything is written, or could not be."""
        return self._kept.written()

    def _changed(self) -> None:
        self._is_behind = self._file is not None and not self._is_leaving

    def _not_written(self, file: Path, why: str) -> None:
        self.log.error(
            "{file} cannot be written ({why}): after a restart there are no routes of the hub "
            "until it says them again",
            file=str(file),
            why=why,
        )
