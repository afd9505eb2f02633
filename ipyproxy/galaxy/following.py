"""Follows the map: reads it again and again, and reports changes.

Knows what to log. Knows nothing of the kinds of sources, or of requests.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ipyproxy.clock import Clock
from ipyproxy.database.watch import Watch
from ipyproxy.galaxy.entries import NOTHING, Changes, Contents, Reader, read_part
from ipyproxy.galaxy.source import Part, Source
from ipyproxy.threads import Run

_Found = Contents | tuple[Changes, tuple[str, ...]] | None
_TOLD_AT_ONCE = 10


class Holder(Protocol):
    """Gets the contents of the map."""

    def take(self, contents: Contents) -> None:
        """Replace the contents."""

    def change(self, changes: Changes) -> None:
        """Apply changes to the contents."""


class Follower:
    """Keeps ``holder`` up to date with the map.

    If the map cannot be read, or does not exist yet, that is logged once, and the last contents
    stay valid until it can. Only one look runs at a time.

    :param name: the map's name for people; contains no password.
    :param holder: gets the contents of the map whenever they change.
    :param draw: returns random numbers from 0 up to 1, so that many hosts don't come back at once.
    """

    log = Logger(namespace="ipyproxy.galaxy")

    def __init__(
        self,
        reactor: Clock,
        run: Run,
        source: Source,
        name: str,
        holder: Holder,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._run = run
        self._source = source
        self._name = name
        self._holder = holder
        self._reader = Reader()
        self._contents: Contents | None = None
        self._watch = Watch(reactor, self, draw)
        self.pause = source.pause

    def start(self) -> None:
        """Start to look."""
        self._watch.start()

    def stop(self) -> None:
        """Stop looking, and drop the result of a look that runs."""
        self._watch.stop()
        self._source.interrupt()
        self._run(self._source.close).addErrback(lambda _: None)

    def look(self) -> Deferred[None]:
        """See :class:`ipyproxy.database.watch.Watched`, also for the next three."""
        return self._run(self._read).addCallback(self._seen)

    def interrupt(self) -> None:
        """The look takes too long: interrupt it."""
        self._source.interrupt()

    def went_away(self, why: str) -> None:
        """The map cannot be read at present."""
        nothing = self._contents is None
        kept = "there are no tools until then" if nothing else "what it held counts until then"
        self.log.warn(
            "the map {map} is away: {why}; it is waited for, and {kept}",
            map=self._name,
            why=why,
            kept=kept,
        )

    def came_back(self) -> None:
        """The map can be read again."""
        self.log.info("the map {map} is there again", map=self._name)

    def _read(self) -> _Found:
        """In the thread: read the whole map, or its changes; None: nothing has changed."""
        found = self._source.look()
        if isinstance(found, Part):
            return read_part(found.keys, found.rows)
        contents = None if found is None else self._reader.read(found)
        # Here and not in the event loop, which very many rows would block.
        return None if contents == self._contents else contents

    def _seen(self, found: _Found) -> None:
        if self._watch.is_stopped:
            return
        if isinstance(found, Contents):
            self._take(found)
        elif found is not None:
            changes, problems = found
            self._tell(problems, (self._contents or NOTHING).problems)
            self._holder.change(changes)

    def _take(self, contents: Contents) -> None:
        before = self._contents
        self._contents = contents
        if before is None:
            self.log.info(
                "the map {map} has {count} interactive tools",
                map=self._name,
                count=len(contents.entries),
            )
        self._tell(contents.problems, (before or NOTHING).problems)
        self._holder.take(contents)

    def _tell(self, problems: tuple[str, ...], before: tuple[str, ...]) -> None:
        new = sorted(set(problems).difference(before))
        for problem in new[:_TOLD_AT_ONCE]:
            self.log.warn("left out of the map {map}: {problem}", map=self._name, problem=problem)
        if len(new) > _TOLD_AT_ONCE:
            more = len(new) - _TOLD_AT_ONCE
            self.log.warn("{more} more are left out of it", more=more)
