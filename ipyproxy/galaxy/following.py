"""Follows the map: keeps what was last seen of it, and tells what has changed.

Knows what to log. Knows no kind of source, and nothing of requests.
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
    """Who has to know what the map holds."""

    def take(self, contents: Contents) -> None:
        """Take what it holds now in place of what it held."""

    def change(self, changes: Changes) -> None:
        """Put what has changed into what was taken."""


class Follower:
    """Keeps ``holder`` up to date with what the map holds.

    A map that is away, that does not answer, or that is not there yet, is told once and waited
    for; what was seen last counts until then. One look is under way at once.

    :param name: what people know the map by; holds no password.
    :param holder: is told what the map holds, whenever that is something else.
    :param draw: gives random numbers from 0 up to 1, so that many hosts come back one by one.
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
        """Begin to look."""
        self._watch.start()

    def stop(self) -> None:
        """Look no more, and take nothing more of what is being looked at."""
        self._watch.stop()
        self._source.interrupt()
        self._run(self._source.close).addErrback(lambda _: None)

    def look(self) -> Deferred[None]:
        """See :class:`ipyproxy.database.watch.Watched`, as for the next three."""
        return self._run(self._read).addCallback(self._seen)

    def interrupt(self) -> None:
        """The look does not end."""
        self._source.interrupt()

    def went_away(self, why: str) -> None:
        """There is no map for now."""
        nothing = self._contents is None
        kept = "there are no tools until then" if nothing else "what it held counts until then"
        self.log.warn(
            "the map {map} is away: {why}; it is waited for, and {kept}",
            map=self._name,
            why=why,
            kept=kept,
        )

    def came_back(self) -> None:
        """There is one again."""
        self.log.info("the map {map} is there again", map=self._name)

    def _read(self) -> _Found:
        """In the thread: what the map holds, or what of it has changed; None: nothing has."""
        found = self._source.look()
        if isinstance(found, Part):
            return read_part(found.keys, found.rows)
        contents = None if found is None else self._reader.read(found)
        # Here and not in the event loop, which it would keep for a while if there are very many.
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
