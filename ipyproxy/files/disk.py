"""Runs work that may wait for a disk in threads; clients take turns.

Knows threads and clients. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from ipyproxy.auth.turns import Turns
from ipyproxy.threads import MainThread, PatientThreads

T = TypeVar("T")

AT_ONCE = 4
"""Most reads at a time. A client with many requests leaves some of them to others."""
WAITING = 4096
"""Most reads that wait; one client may have half of what is free."""


class Disk:
    """The queue of one directory's disk, or file server.

    :param threads: runs work outside the reactor's thread.
    """

    def __init__(self, threads: PatientThreads) -> None:
        self._threads = threads
        self._turns = Turns(AT_ONCE, WAITING)

    def run(self, client: str, work: Callable[[], T]) -> Deferred[T]:
        """Run ``work``, now or when it is the turn of ``client`` (an address).

        Raises :class:`ipyproxy.errors.ProxyError` (``OVERLOADED``) if too many reads wait.
        """
        result: Deferred[T] = Deferred()

        def begin() -> None:
            self._threads.run(work).addBoth(end)

        def end(outcome: Any) -> None:
            self._turns.done(client)
            result.callback(outcome)

        self._turns.ask(client, begin)
        return result


class Disks:
    """A :class:`Disk` for each directory, so that one that hangs does not block the others.

    They outlive a reload, because reads may still be running.
    """

    def __init__(self, reactor: MainThread) -> None:
        self._reactor = reactor
        self._disks: dict[str, Disk] = {}

    def of(self, directory: str) -> Disk:
        """The disk for ``directory``; its threads start with its first work."""
        disk = self._disks.get(directory)
        if disk is None:
            threads = PatientThreads(self._reactor, AT_ONCE, f"disk of {directory}")
            disk = self._disks[directory] = Disk(threads)
        return disk
