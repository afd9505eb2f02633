"""Runs work that may take long outside the reactor's thread.

Knows nothing of what the work does.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


class MainThread(Protocol):
    """The reactor, as other threads may use it."""

    def callFromThread(self, call: Callable[..., object], /, *args: Any) -> object:
        """Call in the reactor's thread; the only method that another thread may call."""


class Run(Protocol):
    """Runs work in a thread."""

    def __call__(self, work: Callable[[], T], /) -> Deferred[T]:
        """Start ``work``; the Deferred fires with its result or failure in the reactor's thread."""


class PatientThreads:
    """A few threads for work that may hang for ever; they do not keep the process from ending.

    They are started at the first work, since threads do not survive a fork.

    :param most: the number of threads; while all are busy, work waits.
    """

    def __init__(self, reactor: MainThread, most: int, name: str) -> None:
        self._reactor = reactor
        self._most = most
        self._name = name
        self._begun = 0
        self._queue: SimpleQueue[tuple[Callable[[], Any], Deferred[Any]]] = SimpleQueue()

    def run(self, work: Callable[[], T]) -> Deferred[T]:
        """Run ``work`` in a thread; the Deferred fires in the reactor's thread."""
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
