"""The routes of a hub that all nodes of a fleet share.

If the hub sets a route at any node, that node writes it into the shared table. Every node, this one
included, serves the route once it has read it from the table. Knows when the table is read and
written. Knows nothing of SQL, of requests, or of how a route is served.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ipyproxy.clock import Call, Clock, twisted_clock
from ipyproxy.database.watch import AwayError, Watch
from ipyproxy.hub.reading import MalformedError
from ipyproxy.hub.store import AT_ONCE, HubRoutes, TooManyError, Use
from ipyproxy.hub.table import Change, Page
from ipyproxy.threads import Run

T = TypeVar("T")

PAUSE = 0.2
"""Least seconds between two looks at the table, however many changes there are."""
LONGEST_BACKOFF = 5.0
"""Longest time in seconds between two looks at a database that is away."""
SILENCE = 10.0
"""Seconds of silence after which a database counts as away."""
PATIENCE = 5.0
"""Seconds that a call of the hub may wait for its turn; the hub tries again after ten."""
TELL_EVERY = 10.0
"""Seconds between two updates of the table with the times at which routes were used."""
LONGEST_PATH = 2000
"""Most bytes of a path, because of the table's index."""
_TOLD_AT_ONCE = 10


class Table(Protocol):
    """The interface of the table; see :class:`ipyproxy.hub.table.RoutesTable`."""

    def look(self, *, waits: bool = False) -> Page:
        """The changes since the last look."""

    def add(self, path: str, target: str, data: str) -> None:
        """Set a route."""

    def remove(self, path: str) -> bool:
        """Remove a route. Returns whether there was one."""

    def tell(self, uses: Iterable[Use]) -> None:
        """Record when routes were last used at this node."""

    def uses(self) -> Sequence[Use]:
        """When each route was last used."""

    def ring(self) -> None:
        """Make a look that waits return at once."""

    def interrupt(self) -> None:
        """Make a call that waits for a silent server fail soon."""

    def close(self) -> None:
        """Close everything that is open."""


class SharedRoutes:
    """The routes of a hub, stored in a table.

    While the table is away, the routes seen last are served and nothing can be changed; methods
    that return a Deferred fail with :class:`AwayError`.

    :param run: runs calls of the table, in a thread.
    :param name: the table's name for people; contains no password.
    :param here: the routes of this node; only this object changes them.
    :param draw: returns random numbers from 0 up to 1, so that nodes do not all write at once.
    :ivar is_known: whether the whole table has been read once.
    """

    log = Logger(namespace="ipyproxy.hub")
    pause = PAUSE

    def __init__(
        self,
        reactor: Clock,
        run: Run,
        table: Table,
        name: str,
        here: HubRoutes,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._reactor = reactor
        self._run = run
        self._table = table
        self._name = name
        self._here = here
        self._draw = draw
        self._watch = Watch(reactor, self, draw, LONGEST_BACKOFF, SILENCE)
        self.is_known = self._is_away = False
        self._unseen: set[str] | None = None
        self._telling: Call | None = None

    # Start and stop.

    def start(self) -> None:
        """Start to read the table."""
        self._watch.start()
        self._tell_later()

    def stop(self) -> Deferred[None]:
        """Stop reading. Fires once the last uses of routes are written, or could not be."""
        self._watch.stop()
        if self._telling is not None and self._telling.active():
            self._telling.cancel()
        return Deferred.fromCoroutine(self._end())

    async def _end(self) -> None:
        await self._tell()
        await self._run(self._table.close)

    # Calls of the hub; see ipyproxy.hub.api.

    def add(self, path: str, data: dict[str, Any]) -> Deferred[None]:
        """Set the route at ``path`` on all nodes. Fires once this node serves it.

        :raises MalformedError: as :meth:`HubRoutes.add` does, and TooManyError.
        """
        path = self._here.check(path, data)
        others = json.dumps({name: value for name, value in data.items() if name != "target"})
        work = partial(self._table.add, _storable(path), _text(data["target"]), others)
        return Deferred.fromCoroutine(self._write(work))

    def remove(self, path: str) -> Deferred[bool]:
        """Remove the route at ``path`` from all nodes. Fires with whether there was one."""
        work = partial(self._table.remove, _storable(self._here.known_as(path)))
        return Deferred.fromCoroutine(self._write(work))

    def refresh(self) -> Deferred[None]:
        """Read what all nodes have written, for :meth:`get` and :meth:`all`.

        While the table is away they return what was read last; fails if nothing ever was.
        """
        return Deferred.fromCoroutine(self._refresh())

    def get(self, path: str) -> Mapping[str, Any] | None:
        """See :meth:`HubRoutes.get`."""
        return self._here.get(path)

    def all(
        self, inactive_since: float | None = None
    ) -> Iterator[tuple[str, Mapping[str, Any]] | None]:
        """See :meth:`HubRoutes.all`."""
        return self._here.all(inactive_since)

    async def _write(self, work: Callable[[], T]) -> T:
        done = await self._in_turn(work)
        with suppress(AwayError):  # it is written already, and the next look finds it
            await self._catch_up()
        return done

    async def _refresh(self) -> None:
        if self.is_known and self._is_away:
            return
        try:
            self._table.ring()
            await self._catch_up()
            uses = await self._in_turn(self._table.uses)
        except AwayError:
            if not self.is_known:
                raise
            return
        for start in range(0, len(uses), AT_ONCE):
            for use in uses[start : start + AT_ONCE]:
                self._here.hear(use)
            await self._turn()

    async def _in_turn(self, work: Callable[[], T]) -> T:
        """Run ``work`` in the thread, unless its turn comes too late for the caller."""
        asked, seconds = self._reactor.seconds(), self._reactor.seconds

        def in_time() -> T:
            if seconds() - asked > PATIENCE:
                raise AwayError(f"no answer within {PATIENCE:g} seconds")
            return work()

        self._table.ring()
        done: T = await self._run(in_time)
        return done

    # Reading the table; see ipyproxy.database.watch.

    def look(self) -> Deferred[None]:
        """Wait a while for changes, and apply them."""
        return Deferred.fromCoroutine(self._catch_up(waits=True))

    async def _catch_up(self, *, waits: bool = False) -> None:
        while True:
            page: Page = await self._run(partial(self._table.look, waits=waits))
            self._take(page)
            self._watch.goes_on()
            if page.is_last:
                break
            waits = False
        # While everything is read anew, it is not known yet which routes are gone.
        gone = self._unseen
        while gone and gone is self._unseen:
            for _ in range(min(len(gone), AT_ONCE)):
                self._here.remove(gone.pop())
            await self._turn()
        if gone is not None and gone is self._unseen:
            self._unseen = None
            if not self.is_known:
                count = len(self._here)
                self.log.info("{table} has {count} routes", table=self._name, count=count)
            self.is_known = True

    def _take(self, page: Page) -> None:
        if page.begins:
            self._unseen = set(self._here)
        left_out = []
        for change in page.changes:
            path = self._here.known_as(change.use.path)
            if self._unseen is not None:
                self._unseen.discard(path)
            if problem := self._put(path, change):
                left_out.append(f"{path} ({problem})")
        for told in left_out[:_TOLD_AT_ONCE]:
            self.log.warn("{table}: {route} is left out", table=self._name, route=told)
        if len(left_out) > _TOLD_AT_ONCE:
            more = len(left_out) - _TOLD_AT_ONCE
            self.log.warn("{table}: {more} more are left out", table=self._name, more=more)

    def _put(self, path: str, change: Change) -> str:
        """Apply one change. Returns the reason if that fails."""
        if change.data is None:
            self._here.remove(path)
            return ""
        try:
            self._here.take(change.use, change.data)
        except (MalformedError, TooManyError) as error:
            # The hub does not want the former route any more.
            self._here.remove(path)
            return str(error) or "there are too many"
        return ""

    async def _turn(self) -> None:
        """Let other connections have their turn."""
        await deferLater(twisted_clock(self._reactor), 0)

    def interrupt(self) -> None:
        """See :class:`ipyproxy.database.watch.Watched`."""
        self._table.interrupt()

    def went_away(self, why: str) -> None:
        """See :class:`ipyproxy.database.watch.Watched`."""
        self._is_away = True
        kept = "those that are known stay" if self.is_known else "there are none until then"
        self.log.warn(
            "the routes in {table} are away: {why}; they are waited for, and {kept}",
            table=self._name,
            why=why,
            kept=kept,
        )

    def came_back(self) -> None:
        """See :class:`ipyproxy.database.watch.Watched`."""
        self._is_away = False
        self.log.info("the routes in {table} are there again", table=self._name)

    # Writing to the table.

    def _tell_later(self, took: float = 0.0) -> None:
        # If the database is slow, all nodes use it less often.
        wait = TELL_EVERY * (0.5 + self._draw() / 2) + 20 * took
        self._telling = self._reactor.callLater(wait, self._tell_again)

    def _tell_again(self) -> None:
        began = self._reactor.seconds()
        done = Deferred.fromCoroutine(self._tell())
        done.addCallback(lambda _: self._tell_later(self._reactor.seconds() - began))

    async def _tell(self) -> None:
        """Write which routes were used at this node since the last time."""
        if not self.is_known or self._is_away:
            return
        try:
            for uses in self._here.uses():
                if uses:
                    await self._in_turn(partial(self._table.tell, uses))
                    for use in uses:
                        self._here.hear(use)
                else:
                    await self._turn()
        except AwayError:
            pass  # the watch logs it, and the next call writes it
        except CancelledError:
            raise  # the process ends
        except Exception:
            self.log.failure("the last use of routes cannot be kept; please report this")


def _storable(path: str) -> str:
    if len(path.encode()) > LONGEST_PATH:
        raise MalformedError(f"the path has more than {LONGEST_PATH} bytes")
    return _text(path)


def _text(said: str) -> str:
    """``said``, if a database can store it; otherwise raises MalformedError."""
    try:
        said.encode()
    except UnicodeEncodeError:
        raise MalformedError("there is half a character") from None
    if "\0" in said:
        raise MalformedError("there is a NUL character")
    return said
