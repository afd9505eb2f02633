"""Keeps the routes up to date: lists the containers at each event, and changes the routes.

An event only triggers a new list, and the routes follow from the list, so a missed event leaves no
wrong route. While the engine is away, the routes stay. Knows nothing of how an engine is queried,
or of how a route is served.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipyproxy.clock import Clock, twisted_clock
from ipyproxy.containers.engine import Engine, EngineError
from ipyproxy.containers.labels import Offer, Place, Plan, plan
from ipyproxy.routes.route import Route

LIST_EVERY = 60.0
"""Seconds after which the containers are listed without an event."""
LEAST_BETWEEN = 0.25
"""Least seconds between two lists, however many events there are."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


class Routes(Protocol):
    """The interface of the live routes; see :class:`ipyproxy.daemon.live.LiveRoutes`."""

    def at(self, host: bytes, path: bytes) -> object | None:
        """The route there, from any source."""

    def put(self, host: bytes, path: bytes, route: Route) -> object:
        """Set ``route`` there; returns what is served there then. Raises ValueError.

        If the present route leads to the same place, it goes on unchanged.
        """

    def remove(self, host: bytes, path: bytes) -> None:
        """Remove the route there."""


class Watcher:
    """Keeps ``routes`` up to date with ``engine``, from :meth:`start` to :meth:`stop`.

    :ivar trouble: why the engine cannot be queried; None if it can; "" before the first attempt.
    """

    log = Logger(namespace="ipyproxy.containers")

    def __init__(self, reactor: Clock, engine: Engine, routes: Routes) -> None:
        self._reactor = reactor
        self._engine = engine
        self._routes = routes
        self._wanted = Plan({}, ())
        self._mine: dict[Place, tuple[Offer, object]] = {}
        self._told: frozenset[str] = frozenset()
        self._running: Deferred[None] | None = None
        self._is_stopped = False
        self._wakes: Deferred[None] | None = None
        self._happened = False
        self._ended: EngineError | None = None
        self.trouble: str | None = ""

    def start(self) -> None:
        """Start to follow the engine."""
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(lambda failure: failure.trap(CancelledError))

    def stop(self) -> None:
        """Stop; the routes stay."""
        self._is_stopped = True
        if self._running is not None:
            self._running.cancel()

    def leave(self) -> None:
        """Remove the routes."""
        for place in list(self._mine):
            self._remove(place)

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._is_stopped:
            began = self._reactor.seconds()
            try:
                await self._follow(await self._engine.version())
            except EngineError as error:
                if self._is_stopped:
                    return  # stop() has cancelled the query
                self._tell_trouble(str(error))
            except CancelledError:
                raise
            except Exception:
                self.log.failure("containers were not looked after; please report this")
            if self._reactor.seconds() > began + _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            await deferLater(twisted_clock(self._reactor), pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _tell_trouble(self, why: str) -> None:
        if why != self.trouble:
            self.trouble = why
            self.log.warn(
                "containers cannot be listed at {address}: {why}; the routes to them stay as they "
                "are",
                address=self._engine.address,
                why=why,
            )

    def _tell_success(self, version: str) -> None:
        if self.trouble is not None:
            self.trouble = None
            said = "containers are followed at {address}, version {version} of its API"
            self.log.info(said, address=self._engine.address, version=version)

    # While the engine answers.

    async def _follow(self, version: str) -> None:
        """List the containers at each event. Raises EngineError when the engine is gone."""
        self._ended, self._happened = None, False
        events = self._engine.events(version, self._wake).addErrback(self._end)
        try:
            while True:
                self._happened = False
                self._take_over(await self._engine.containers(version))
                await deferLater(twisted_clock(self._reactor), LEAST_BETWEEN)
                if self._ended is not None:
                    raise self._ended
                self._tell_success(version)
                await self._until_something_happens()
        finally:
            events.cancel()

    def _wake(self) -> None:
        self._happened = True
        waiting, self._wakes = self._wakes, None
        if waiting is not None:
            waiting.callback(None)

    def _end(self, failure: Failure) -> None:
        error = failure.value
        self._ended = error if isinstance(error, EngineError) else EngineError(repr(error))
        self._wake()

    async def _until_something_happens(self) -> None:
        if self._happened:
            return
        self._wakes = Deferred()
        later = self._reactor.callLater(LIST_EVERY, self._wake)
        try:
            await self._wakes
        finally:
            if later.active():
                later.cancel()

    # The routes.

    def _take_over(self, containers: Sequence[object]) -> None:
        self._wanted = plan(containers)
        self.judge()

    def judge(self) -> None:
        """Set the routes that the containers ask for, as far as they are allowed.

        To be called when the allowed routes have changed.
        """
        for place in [place for place in self._mine if place not in self._wanted.offers]:
            self._remove(place)
        refusals = list(self._wanted.refusals)
        for place, offer in self._wanted.offers.items():
            try:
                self._put(place, offer)
            except ValueError as error:
                refusals.append(f"the container {offer.container} gets no route: {error}")
        for refusal in refusals:
            if refusal not in self._told:
                self.log.warn("{refusal}", refusal=refusal)
        self._told = frozenset(refusals)

    def _put(self, place: Place, offer: Offer) -> None:
        held = self._mine.get(place)
        stands = self._routes.at(*place)
        if stands is not None and (held is None or held[1] is not stands):
            self._mine.pop(place, None)
            raise ValueError(f"another route stands at {offer.host}{offer.path}")
        try:
            mine = self._routes.put(*place, offer.route())
        except ValueError:
            if held is not None:
                self._remove(place)
            raise
        self._mine[place] = offer, mine
        if held is None or held[0] != offer:
            self.log.info(
                "{route} leads to the container {container}, {address}",
                route=offer.host + offer.path,
                container=offer.container,
                address=offer.address,
            )

    def _remove(self, place: Place) -> None:
        offer, mine = self._mine.pop(place)
        if self._routes.at(*place) is mine:
            self._routes.remove(*place)
            self.log.info(
                "{route} leads to the container {container} no more",
                route=offer.host + offer.path,
                container=offer.container,
            )
