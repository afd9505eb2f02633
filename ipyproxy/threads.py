"""Work that may take as long as it likes, away from the reactor's thread.

Knows nothing of what is done.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


class MainThread(Protocol):
    """The reactor's thread, as another thread sees it."""

    def callFromThread(self, call: Callable[..., object], /, *args: Any) -> object:
        """Call there; the one method that another thread may call."""


class Run(Protocol):
    """Does some work in a thread."""

    def __call__(self, work: Callable[[], T], /) -> Deferred[T]:
        """Begin; what the work gives, or raises, comes in the reactor's thread."""


class PatientThreads:
    """A few threads for work that may hang for ever: they keep no process from ending.

    They begin with the first work, since threads do not survive a fork.

    :param most: threads; while all are busy, work waits.
    """

    def __init__(self, reactor: MainThread, most: int, name: str) -> None:
        self._reactor = reactor
        self._most = most
        self._name = name
        self._begun = 0
        self._queue: SimpleQueue[tuple[Callable[[], Any], Deferred[Any]]] = SimpleQueue()

    def run(self, work: Callable[[], T]) -> Deferred[T]:
        """Do ``work`` in a thread; its result, or what it raises, comes in the reactor's."""
        result: Deferred[T] = Deferred()
        self._queue.put((work, result))
        if self._begun < self._most:
            self._begun += 1
            Thread(target=self._work, name=self._name, daemon=True).start()
        return result

    def _work(self) -> None:
        while True:
            work, result = self._queue.get()
            try:
                done = work()
            except Exception as error:
                self._reactor.callFromThread(result.errback, error)
            else:
                self._reactor.callFromThread(result.callback, done)
