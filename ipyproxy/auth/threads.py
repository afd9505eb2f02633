"""A few threads for work that would block the reactor.

Knows the reactor's thread and its own. Knows nothing of the work.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from ipyproxy.threads import MainThread

T = TypeVar("T")

MOST = 3
"""Number of threads: two for one client with many checks, and one for the next client. No more, so
that a flood of logins leaves cores and memory for others; argon2 takes 64 MiB for each check."""


class WorkThreads:
    """At most :data:`MOST` threads, started at the first work."""

    def __init__(self, reactor: MainThread) -> None:
        self._reactor = reactor
        self._executor = ThreadPoolExecutor(MOST, thread_name_prefix="password check")

    def run(self, work: Callable[[], T]) -> Deferred[T]:
        """Run ``work`` in a thread. Work that has not begun can be cancelled."""
        future = self._executor.submit(work)
        result: Deferred[T] = Deferred(lambda given_up: _give_up(future))
        future.add_done_callback(lambda done: self._reactor.callFromThread(_tell, done, result))
        return result

    def close(self) -> None:
        """Start no further work; running work ends by itself."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _give_up(future: Future[Any]) -> None:
    future.cancel()


def _tell(done: Future[T], result: Deferred[T]) -> None:
    if result.called:
        return  # it was cancelled
    try:
        outcome = done.result()
    except CancelledError:
        result.cancel()
    except Exception as error:
        result.errback(error)
    else:
        result.callback(outcome)
