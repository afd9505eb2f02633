"""Limits how much work runs at a time; clients take turns.

Knows clients as text, and their running and waiting work. Knows nothing of what the work does.
"""

from __future__ import annotations

from collections.abc import Callable

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.server.clients import subscriber
from ipyproxy.upstream.places import Shares

Begin = Callable[[], object]
"""Starts some work; when it has ended, perhaps within this call, call :meth:`Turns.done` once."""


class Turns:
    """Shares the places for some work among clients; a whole IPv6 /64 is one client.

    A client may take another place while more are free than it holds (see :class:`Shares`). So a
    client without running work finds a place, however much another one asks for. Other work waits.
    A place that becomes free goes to the client that holds fewest.

    :param at_once: how many may run at a time.
    :param waiting: how many may wait; shared in the same way.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._taken = Shares(at_once)
        self._waiting = Shares(waiting)
        self._queues: dict[str, dict[Begin, None]] = {}
        self._handing_on = False

    def ask(self, address: str, begin: Begin) -> bool:
        """Call ``begin`` now or later, for the client at ``address``. Returns whether now.

        Raises :class:`ProxyError` (``OVERLOADED``) if too many wait, of this client or in all.
        """
        client = subscriber(address)
        if client not in self._queues and self._taken.has_room_for(client):
            self._taken.take(client)
            begin()
            return True
        if not self._waiting.has_room_for(client):
            raise ProxyError(Problem.OVERLOADED, f"{self._waiting.taken} others wait already")
        self._waiting.take(client)
        self._queues.setdefault(client, {})[begin] = None
        return False

    def leave(self, address: str, begin: Begin) -> bool:
        """Do not call ``begin``. Returns False if it was called already."""
        client = subscriber(address)
        if begin not in self._queues.get(client, ()):
            return False
        self._unqueue(client, begin)
        return True

    def done(self, address: str) -> None:
        """Work of this client has ended."""
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
            # Among clients that hold equally few, the one that has waited longest is next.
            self._queues[client] = queue
        self._waiting.give_back(client)
