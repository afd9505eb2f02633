"""Work that may have to wait for a disk, done beside the reactor; each client has its turn.

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
"""Reads under way at once. A client that asks for much leaves some of them to others."""
WAITING = 4096
"""Reads that may wait; of one client, half of what is left."""


class Disk:
    """The disk, or the server, that some directory is on: whatever waits for it waits here.

    :param threads: runs work beside the reactor.
    """

    def __init__(self, threads: PatientThreads) -> None:
        self._threads = threads
        self._turns = Turns(AT_ONCE, WAITING)

    def run(self, client: str, work: Callable[[], T]) -> Deferred[T]:
        """Do ``work``, now or when it is the turn of ``client`` (an address).

        Raises :class:`ipyproxy.errors.ProxyError` (``OVERLOADED``) if too much waits.
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
    """A :class:`Disk` for each directory, so that one that hangs holds up no other.

    They outlive a reload, for as long as reads may be under way.
    """

    def __init__(self, reactor: MainThread) -> None:
        self._reactor = reactor
        self._disks: dict[str, Disk] = {}

    def of(self, directory: str) -> Disk:
        """The one for ``directory``; its threads begin with its first work."""
        disk = self._disks.get(directory)
        if disk is None:
            threads = PatientThreads(self._reactor, AT_ONCE, f"disk of {directory}")
            disk = self._disks[directory] = Disk(threads)
        return disk
