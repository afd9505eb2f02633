"""Work of which only so much is done at once: it begins at once, or when its client's turn comes.

Knows clients as text, and what each of them has under way and waiting. Knows nothing of the work.
"""

from __future__ import annotations

from collections.abc import Callable

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.server.clients import subscriber
from ipyproxy.upstream.places import Shares

Begin = Callable[[], object]
"""Begins some work; :meth:`Turns.done` is called once when it has ended, perhaps within."""


class Turns:
    """Shares of some work among clients; of IPv6 a whole /64 is one client.

    A client may begin more while more places are free than it has taken (see :class:`Shares`), so
    that somebody who has nothing under way finds a place however much another one asks for. What
    cannot begin waits. A place that gets free goes to the client that has taken fewest.

    :param at_once: how much is under way at once.
    :param waiting: how much may wait; it is shared in the same way.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._taken = Shares(at_once)
        self._waiting = Shares(waiting)
        self._queues: dict[str, dict[Begin, None]] = {}
        self._handing_on = False

    def ask(self, address: str, begin: Begin) -> bool:
        """Call ``begin`` now or later, for the client at ``address``; whether now.

        Raises :class:`ProxyError` (``OVERLOADED``) if too much of this client's waits, or of all.
        """
        client = subscriber(address)
        if client not in self._queues and self._taken.has_room_for(client):
            self._taken.take(client)
            begin()
            return True
        if not self._waiting.has_room_for(client):
            raise ProxyError(Problem.OVERLOADED, f"{self._waiting.taken} logins wait for a check")
        self._waiting.take(client)
        self._queues.setdefault(client, {})[begin] = None
        return False

    def leave(self, address: str, begin: Begin) -> bool:
        """Never call ``begin``; False if that has been done already."""
        client = subscriber(address)
        if begin not in self._queues.get(client, ()):
            return False
        self._unqueue(client, begin)
        return True

    def done(self, address: str) -> None:
        """Some work of this client's has ended."""
        self._taken.give_back(subscriber(address))
        if self._handing_on:
            return
        self._handing_on = True
        try:
            while (client := self._next()) is not None:
                begin = next(iter(self._queues[client]))
                self._unqueue(client, begin)
                self._taken.take(client)
                begin()
        finally:
            self._handing_on = False

    def _next(self) -> str | None:
        """The client whose turn it is."""
        client = min(self._queues, key=self._taken.held, default=None)
        return client if client is not None and self._taken.has_room_for(client) else None

    def _unqueue(self, client: str, begin: Begin) -> None:
        queue = self._queues.pop(client)
        del queue[begin]
        if queue:
            # Of clients that have taken equally few, the one that has waited longest is next.
            self._queues[client] = queue
        self._waiting.give_back(client)
