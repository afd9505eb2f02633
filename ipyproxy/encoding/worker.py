"""One thread for work that would block the reactor.

Knows the reactor's thread and its own. Knows nothing of what the work does.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol, TypeVar

from twisted.logger import Logger
from twisted.python.failure import Failure

from ipyproxy.clock import Clock
from ipyproxy.threads import MainThread

T = TypeVar("T")

_log = Logger(namespace="ipyproxy.encoding")


class Reactor(Clock, MainThread, Protocol):
    """What a worker needs of the reactor."""


class Work(Protocol):
    """Runs work that would take too long in the reactor's thread."""

    @property
    def goes_on(self) -> bool:
        """Whether work is still wanted; long work checks from time to time."""

    def run(self, work: Callable[[], T], done: Callable[[T | None], None]) -> None:
        """Run ``work`` in the thread, then call ``done`` here with its result; None: it failed."""

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call ``call`` in the reactor's thread after so many seconds, if work is still wanted."""

    def close(self) -> None:
        """Start no further work, and drop the results of work that runs."""


class Worker:
    """One thread, started at the first work. Works in the order of the calls.

    :param niceness: the thread's nice value (setpriority(2)): 0 for none, 19 for most.
    """

    def __init__(self, reactor: Reactor, name: str, niceness: int) -> None:
        self._reactor = reactor
        self._niceness = niceness
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name, initializer=self._give_way)
        self._closed = False

    def _give_way(self) -> None:
        with suppress(OSError, AttributeError):
            thread = threading.get_native_id()
            own = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, min(own + self._niceness, 19))

    @property
    def goes_on(self) -> bool:
        """See :class:`Work`."""
        return not self._closed

    def run(self, work: Callable[[], T], done: Callable[[T | None], None]) -> None:
        """See :class:`Work`."""
        if self._closed:
            return
        future = self._executor.submit(work)
        future.add_done_callback(lambda ended: self._reactor.callFromThread(_tell, ended, done))

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """See :class:`Work`."""
        self._reactor.callLater(seconds, lambda: None if self._closed else call())

    def close(self) -> None:
        """See :class:`Work`."""
        self._closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)


def _tell(ended: Future[T], done: Callable[[T | None], None]) -> None:
    if ended.cancelled():
        return
    error = ended.exception()
    if error is not None:
        _log.failure("an answer could not be compressed; please report this", Failure(error))
    done(None if error is not None else ended.result())
