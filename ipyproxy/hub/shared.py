"""The routes of a hub that all nodes of a fleet have alike.

What a hub says to any node is written into the table that they share, and put in place here, as on
every node, when the table is seen to hold it. Knows when the table is read and written. Knows no
statement, nothing of requests, and nothing of how a route is served.
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
"""Seconds from one look at the table to the next, however many changes there are."""
LONGEST_BACKOFF = 5.0
"""Seconds between looks at a database that is away; until the next one, its news is not known."""
SILENCE = 10.0
"""Seconds for which a database may be silent before it counts as away."""
PATIENCE = 5.0
"""Seconds that a call of the hub's may wait for its turn; the hub tries again after ten."""
TELL_EVERY = 10.0
"""Seconds from one time to the next that the table is told of what was used."""
LONGEST_PATH = 2000
"""Bytes of a path that the table's index takes."""
_TOLD_AT_ONCE = 10


class Table(Protocol):
    """The table; see :class:`ipyproxy.hub.table.RoutesTable`."""

    def look(self, *, waits: bool = False) -> Page:
        """The changes since the last look."""

    def add(self, path: str, target: str, data: str) -> None:
        """Let there be a route."""

    def remove(self, path: str) -> bool:
        """Let there be none; whether there was one."""

    def tell(self, uses: Iterable[Use]) -> None:
        """Note when routes were last used here."""

    def uses(self) -> Sequence[Use]:
        """When each route was last used."""

    def ring(self) -> None:
        """Have a look that waits return at once."""

    def interrupt(self) -> None:
        """Have a call fail soon that waits for a silent server."""

    def close(self) -> None:
        """Let go of whatever is open."""


class SharedRoutes:
    """The routes of a hub, as a table has them.

    While the table is away, what was seen last counts, and nothing is changed. Methods that give a
    Deferred fail with :class:`AwayError` then.

    :param run: does what asks the table, in a thread.
    :param name: what people know the table by; holds no password.
    :param here: the routes of this node. Nobody else changes them.
    :param draw: gives random numbers from 0 up to 1, so that nodes do not all write at once.
    :ivar is_known: whether the table was read to its end once.
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

    # The time of the process.

    def start(self) -> None:
        """Begin to read the table."""
        self._watch.start()
        self._tell_later()

    def stop(self) -> Deferred[None]:
        """Read no more; called back once the table knows what was used, or could not be told."""
        self._watch.stop()
        if self._telling is not None and self._telling.active():
            self._telling.cancel()
        return Deferred.fromCoroutine(self._end())

    async def _end(self) -> None:
        await self._tell()
        await self._run(self._table.close)

    # What the hub says and asks; see ipyproxy.hub.api.

    def add(self, path: str, data: dict[str, Any]) -> Deferred[None]:
        """Let a route stand at ``path`` on all nodes; called back once it does on this one.

        :raises MalformedError: as :meth:`HubRoutes.add` does, and TooManyError.
        """
        path = self._here.check(path, data)
        others = json.dumps({name: value for name, value in data.items() if name != "target"})
        work = partial(self._table.add, _storable(path), _text(data["target"]), others)
        return Deferred.fromCoroutine(self._write(work))

    def remove(self, path: str) -> Deferred[bool]:
        """Let nothing stand at ``path`` on any node; called back with whether something did."""
        work = partial(self._table.remove, _storable(self._here.known_as(path)))
        return Deferred.fromCoroutine(self._write(work))

    def refresh(self) -> Deferred[None]:
        """Learn what all nodes know, for :meth:`get` and :meth:`all`.

        While the table is away they tell what was known last; fails if that is nothing.
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
        with suppress(AwayError):  # it is written all the same, and the next look finds it
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
        """Do ``work`` in the thread, unless its turn comes too late for whoever waits."""
        asked, seconds = self._reactor.seconds(), self._reactor.seconds

        def in_time() -> T:
            if seconds() - asked > PATIENCE:
                raise AwayError(f"no answer within {PATIENCE:g} seconds")
            return work()

        self._table.ring()
        done: T = await self._run(in_time)
        return done

    # What the table says; see ipyproxy.database.watch.

    def look(self) -> Deferred[None]:
        """Wait a while for changes, and put them in place."""
        return Deferred.fromCoroutine(self._catch_up(waits=True))

    async def _catch_up(self, *, waits: bool = False) -> None:
        while True:
            page: Page = await self._run(partial(self._table.look, waits=waits))
            self._take(page)
            self._watch.goes_on()
            if page.is_last:
                break
            waits = False
        # Everything may be read anew meanwhile, and then it is not known yet what is gone.
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
        """Put one change in place; why that cannot be done, if it cannot."""
        if change.data is None:
            self._here.remove(path)
            return ""
        try:
            self._here.take(change.use, change.data)
        except (MalformedError, TooManyError) as error:
            # Whatever stood there before is not what the hub wants any more.
            self._here.remove(path)
            return str(error) or "there are too many"
        return ""

    async def _turn(self) -> None:
        """Let others have theirs."""
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

    # What the table is told.

    def _tell_later(self, took: float = 0.0) -> None:
        # Where the database is slow, all nodes ask it less often.
        wait = TELL_EVERY * (0.5 + self._draw() / 2) + 20 * took
        self._telling = self._reactor.callLater(wait, self._tell_again)

    def _tell_again(self) -> None:
        began = self._reactor.seconds()
        done = Deferred.fromCoroutine(self._tell())
        done.addCallback(lambda _: self._tell_later(self._reactor.seconds() - began))

    async def _tell(self) -> None:
        """Tell the table which routes were used here since the last time."""
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
            pass  # people hear of it from the watch, and the table the next time
        except CancelledError:
            raise  # the process ends, and waits no longer
        except Exception:
            self.log.failure("the last use of routes cannot be kept; please report this")


def _storable(path: str) -> str:
    if len(path.encode()) > LONGEST_PATH:
        raise MalformedError(f"the path has more than {LONGEST_PATH} bytes")
    return _text(path)


def _text(said: str) -> str:
    """Text that a database takes, or MalformedError."""
    try:
        said.encode()
    except UnicodeEncodeError:
        raise MalformedError("there is half a character") from None
    if "\0" in said:
        raise MalformedError("there is a NUL character")
    return said
