"""The routes of one hub: their data, and when each was last used.

Knows the data of routes, and dates. Knows nothing of requests, of JSON on the wire, or of how a
route is served.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred

from ipyproxy.clock import Calendar
from ipyproxy.http.rewriting import Redirects
from ipyproxy.hub.reading import MalformedError, clean_path, place_of, read_target
from ipyproxy.net.address import ClientTLS
from ipyproxy.routes.route import Application, Route, Server
from ipyproxy.server.request import Unserved

MOST_ROUTES = 200_000
AT_ONCE = 500
"""Routes that are handled in one turn of the event loop."""


class Work(Protocol):
    """When a route was last used, in seconds of the reactor's clock; minus infinity: never."""

    active_at: float
    person_at: float


class Served(Protocol):
    """A served route."""

    @property
    def work(self) -> Work | None:
        """Its open work; None: there was no request yet."""


class Routes(Protocol):
    """The interface for setting routes; see :class:`ipyproxy.daemon.live.LiveRoutes`."""

    def put(
        self,
        host: bytes,
        path: bytes,
        route: Route,
        *,
        tls: ClientTLS | None,
        places: int,
        unserved: Unserved | None,
    ) -> Served:
        """Serve ``route`` there."""

    def check(self, path: bytes) -> None:
        """Raise ValueError if no route may be set at ``path``."""

    def at(self, host: bytes, path: bytes) -> Served | None:
        """The route there, from any source."""

    def remove(self, host: bytes, path: bytes) -> None:
        """Remove the route there."""

    def sweep(self, now: float) -> None:
        """Check which routes had traffic."""


@dataclass(frozen=True)
class Manner:
    """The settings that all routes of a hub share.

    :ivar host_routing: whether the first segment of a route's path is its host.
    :ivar prepends: whether the path of a target is put before that of a request.
    :ivar keeps_prefix: whether a request keeps the path of its route.
    :ivar sent: additional field lines for servers, in every request.
    :ivar timeout: seconds to wait for an answer to begin; None: as for all upstreams.
    :ivar places: most exchanges and WebSockets at once for each server.
    :ivar tells: whether servers get X-Forwarded-*.
    :ivar redirects: how Location is rewritten if it names the server itself; None: it stays.
    :ivar unserved: answers a request if the server does not; None: the site does.
    """

    host_routing: bool = False
    prepends: bool = True
    keeps_prefix: bool = True
    sent: tuple[bytes, ...] = ()
    timeout: float | None = None
    places: int = 4096
    tells: bool = True
    redirects: Redirects | None = None
    unserved: Unserved | None = None


class _Kept:
    """One route: its data, and when it was set; times are seconds of the reactor's clock."""

    __slots__ = ("active_at", "data", "person_at", "served")

    def __init__(self, data: dict[str, Any], served: Served, active_at: float) -> None:
        self.data = data
        self.served = served
        self.active_at = active_at
        self.person_at = -math.inf

    def last_used(self) -> tuple[float, float]:
        """When there was traffic last, and when a person was active last; minus infinity: never."""
        work = self.served.work
        if work is None:
            return self.active_at, self.person_at
        return max(self.active_at, work.active_at), max(self.person_at, work.person_at)


class Use(NamedTuple):
    """When a route was last used, in seconds before now.

    :ivar person_ago: when a person did something last; infinity: never.
    """

    path: str
    active_ago: float
    person_ago: float


class _Place(NamedTuple):
    """The place of a route, and its target."""

    path: str
    host: bytes
    below: bytes
    application: Application


class TooManyError(Exception):
    """There is no room for another route."""


class HubRoutes:
    """The routes of a hub, by path.

    :param routes: serves the routes.
    :param terms: the terms for TLS to servers.
    :ivar changed: called when there is something to save.
    """

    def __init__(
        self,
        routes: Routes,
        manner: Manner,
        calendar: Calendar,
        terms: Callable[[Server], ClientTLS],
    ) -> None:
        self._routes = routes
        self._manner = manner
        self._calendar = calendar
        self._terms = terms
        self.changed: Callable[[], None] = lambda: None
        self._kept: dict[str, _Kept] = {}

    def __len__(self) -> int:
        """How many routes there are."""
        return len(self._kept)

    def add(self, path: str, data: dict[str, Any]) -> None:
        """Set the route at ``path``; it replaces the former one.

        :raises MalformedError: if its target is invalid, or no route may be set there.
        :raises TooManyError: if there are too many.
        """
        self._put(self._checked(path, data), data)
        self.changed()

    def check(self, path: str, data: dict[str, Any]) -> str:
        """Raise what :meth:`add` would, without a change.

        Returns the canonical spelling of ``path``.
        """
        return self._checked(path, data).path

    def take(self, use: Use, data: dict[str, Any]) -> None:
        """Like :meth:`add`, for a route whose last use is known."""
        kept, now = self._put(self._checked(use.path, data), data), self._calendar.seconds()
        kept.active_at, kept.person_at = now - use.active_ago, now - use.person_ago

    def _checked(self, path: str, data: dict[str, Any]) -> _Place:
        path = self.known_as(path)
        if path not in self._kept and len(self._kept) >= MOST_ROUTES:
            raise TooManyError
        manner = self._manner
        application = read_target(data["target"])
        if not manner.prepends:
            application = type(application)(application.servers)
        host, below = place_of(path, host_routing=manner.host_routing)
        try:
            self._routes.check(below)
        except ValueError as error:
            raise MalformedError(str(error)) from None
        return _Place(path, host, below, application)

    def _put(self, place: _Place, data: dict[str, Any]) -> _Kept:
        manner, path = self._manner, place.path
        (server,) = place.application.servers
        route = Route(
            place.application,
            place.host.decode(),
            place.below.decode("utf-8", "surrogateescape"),
            strip=not manner.keeps_prefix,
            timeout=manner.timeout,
            sent=manner.sent,
            tells=manner.tells,
            redirects=manner.redirects,
        )
        served = self._routes.put(
            place.host,
            place.below,
            route,
            tls=self._terms(server) if server.tls_name else None,
            places=manner.places,
            unserved=manner.unserved,
        )
        if manner.host_routing and path != "/":
            data["host"] = path.split("/")[1]
        former = self._kept.get(path)
        kept = self._kept[path] = _Kept(data, served, self._calendar.seconds())
        if former is not None and former.served is served:
            kept.person_at = former.person_at
        return kept

    def remove(self, path: str) -> bool:
        """Remove the route at ``path``. Returns whether there was one."""
        path = self.known_as(path)
        kept = self._kept.pop(path, None)
        if kept is None:
            return False
        place = place_of(path, host_routing=self._manner.host_routing)
        # Another source, such as a container, may have set a route at the same place meanwhile.
        if self._routes.at(*place) is kept.served:
            self._routes.remove(*place)
        self.changed()
        return True

    def known_as(self, path: str) -> str:
        """The path under which a place is stored; the case of the host does not matter."""
        path = clean_path(path)
        if not self._manner.host_routing:
            return path
        host, slash, below = path[1:].partition("/")
        return f"/{host.lower()}{slash}{below}"

    def refresh(self) -> Deferred[None] | None:
        """Update for :meth:`get` and :meth:`all`; nothing to do here."""

    def get(self, path: str) -> Mapping[str, Any] | None:
        """What the API shows of the route at ``path``; None: there is none."""
        kept = self._kept.get(self.known_as(path))
        if kept is None:
            return None
        self._routes.sweep(self._calendar.seconds())
        return self._told(kept)

    def all(
        self, inactive_since: float | None = None
    ) -> Iterator[tuple[str, Mapping[str, Any]] | None]:
        """What the API shows of each route, with its path; None for one that is left out.

        The routes are those at the time of the first step, even if some are added or removed until
        the last.

        :param inactive_since: leave out routes that were active after this time, in seconds since
            the epoch.
        """
        self._routes.sweep(self._calendar.seconds())
        for path, kept in list(self._kept.items()):
            if inactive_since is None or self._calendar.date(kept.last_used()[0]) < inactive_since:
                yield path, self._told(kept)
            else:
                yield None

    def __iter__(self) -> Iterator[str]:
        """The paths of all present routes."""
        return iter(list(self._kept))

    def uses(self) -> Iterator[list[Use]]:
        """The uses at this node that :meth:`hear` does not know yet, some routes at a time."""
        self._routes.sweep(self._calendar.seconds())
        everything = list(self._kept.items())
        for start in range(0, len(everything), AT_ONCE):
            now, uses = self._calendar.seconds(), []
            for path, kept in everything[start : start + AT_ONCE]:
                active, person = kept.last_used()
                if active > kept.active_at or person > kept.person_at:
                    uses.append(Use(path, now - active, now - person))
            yield uses

    def hear(self, use: Use) -> None:
        """Record a use at another node, if the route still exists."""
        kept = self._kept.get(use.path)
        if kept is not None:
            now = self._calendar.seconds()
            kept.active_at = max(kept.active_at, now - use.active_ago)
            kept.person_at = max(kept.person_at, now - use.person_ago)

    def _told(self, kept: _Kept) -> Mapping[str, Any]:
        active, person = kept.last_used()
        return {
            **kept.data,
            "last_activity": self._spelled(active),
            "last_activity_person": self._spelled(person) if person > -math.inf else None,
        }

    def _spelled(self, at: float) -> str:
        date = datetime.fromtimestamp(self._calendar.date(at), UTC)
        return date.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def restore(self, kept: Mapping[str, Any]) -> int:
        """Restore saved routes, except invalid ones. Returns how many were restored.

        Routes that the hub has set since stay.
        """
        count = 0
        for path, told in kept.items():
            if path in self._kept or not isinstance(told, dict):
                continue
            data = {name: value for name, value in told.items() if name not in _OURS}
            try:
                if not isinstance(data.get("target"), str):
                    continue
                self.add(path, data)
            except (MalformedError, TooManyError):
                continue
            one = self._kept[path]
            one.active_at = self._since(told.get("last_activity"), one.active_at)
            one.person_at = self._since(told.get("last_activity_person"), -math.inf)
            count += 1
        return count

    def _since(self, date: object, otherwise: float) -> float:
        """The time on the reactor's clock of a past ``date``."""
        if not isinstance(date, str):
            return otherwise
        try:
            then = datetime.fromisoformat(date).timestamp()
        except ValueError:
            return otherwise
        now = self._calendar.seconds()
        return min(now, now - (self._calendar.now() - then))


_OURS = ("last_activity", "last_activity_person")
