"""Follows the map: looks again and again, keeps what was last seen, and tells what has changed.

Knows when to look and what to log. Knows no kind of source, and nothing of requests.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipyproxy.galaxy.entries import NOTHING, Changes, Contents, Reader, read_part
from ipyproxy.galaxy.source import MapAwayError, Part, Source

T = TypeVar("T")
Run = Callable[[Callable[[], Any]], Deferred[Any]]
"""Does some work in a thread; one after the other."""

_Found = Contents | tuple[Changes, tuple[str, ...]] | None

FIRST_BACKOFF = 1.0
LONGEST_BACKOFF = 30.0
"""Seconds between looks at a map that is away: each wait is up to twice the last, up to this."""
PATIENCE = 30.0
"""Seconds that a look may take. A server or a disk that is silent for longer counts as away."""
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
        reactor: Any,
        run: Run,
        source: Source,
        name: str,
        holder: Holder,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._reactor = reactor
        self._run = run
        self._source = source
        self._name = name
        self._holder = holder
        self._draw = draw
        self._reader = Reader()
        self._contents: Contents | None = None
        self._away = ""
        self._failures = 0
        self._timer: Any = None
        self._deadline: Any = None
        self._stopped = False

    def start(self) -> None:
        """Begin to look."""
        self._look()

    def stop(self) -> None:
        """Look no more, and take nothing more of what is being looked at."""
        self._stopped = True
        for timer in (self._timer, self._deadline):
            if timer is not None and timer.active():
                timer.cancel()
        self._source.interrupt()
        self._run(self._source.close).addErrback(lambda _: None)

    def _look(self) -> None:
        self._wait()
        looking: Deferred[_Found] = self._run(self._read).addBoth(self._came_back)
        looking.addCallbacks(self._seen, self._missed).addErrback(self._broken)

    def _came_back(self, result: T) -> T:
        if self._deadline.active():
            self._deadline.cancel()
        return result

    def _wait(self) -> None:
        self._deadline = self._reactor.callLater(PATIENCE, self._wait_no_longer)

    def _wait_no_longer(self) -> None:
        """Tell people that a look does not end, and try to end it."""
        self._tell_away(f"no answer within {PATIENCE:g} seconds")
        self._source.interrupt()
        self._wait()

    def _read(self) -> _Found:
        """In the thread: what the map holds, or what of it has changed; None: nothing has."""
        found = self._source.look()
        if isinstance(found, Part):
            return read_part(found.keys, found.rows)
        contents = None if found is None else self._reader.read(found)
        # Here and not in the event loop, which it would keep for a while if there are very many.
        return None if contents == self._contents else contents

    def _seen(self, found: _Found) -> None:
        if self._stopped:
            return
        if self._away:
            self.log.info("the map {map} is there again", map=self._name)
        self._away, self._failures = "", 0
        if isinstance(found, Contents):
            self._take(found)
        elif found is not None:
            changes, problems = found
            self._tell(problems, (self._contents or NOTHING).problems)
            self._holder.change(changes)
        self._timer = self._reactor.callLater(self._source.pause, self._look)

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

    def _missed(self, failure: Failure) -> None:
        if self._stopped:
            return
        if not failure.check(MapAwayError):
            self.log.failure("the map could not be read; please report this", failure)
        self._tell_away(failure.getErrorMessage())
        self._failures += 1
        longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(self._failures - 1, 10))
        wait = longest * (0.5 + self._draw() / 2)
        self._timer = self._reactor.callLater(wait, self._look)

    def _tell_away(self, why: str) -> None:
        if not self._away:
            nothing = self._contents is None
            kept = "there are no tools until then" if nothing else "what it held counts until then"
            self.log.warn(
                "the map {map} is away: {why}; it is waited for, and {kept}",
                map=self._name,
                why=why,
                kept=kept,
            )
        self._away = why

    def _broken(self, failure: Failure) -> None:
        """A mistake of ours must not be the end of looking."""
        self.log.failure(
            "what the map holds could not be put in place; please report this", failure
        )
        self._timer = self._reactor.callLater(LONGEST_BACKOFF, self._look)
