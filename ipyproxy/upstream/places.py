"""Places that clients share: which client may take one, waits for one, or has to give one up.

Knows clients as text, and numbers; time is handed in. Knows nothing of what a place is for, such as
an exchange with a notebook, a password check or a question to a login server.
"""

from __future__ import annotations

from itertools import islice
from typing import Final, Protocol

from ipyproxy.errors import Problem, ProxyError

MOST_PLACES: Final = 128
"""Places at one upstream, by default."""
LONGEST_WAIT: Final = 5.0
"""Longest wait of a request for a place, in seconds."""
_LOOKED_AT: Final = 64


class Shares:
    """Counts how many of a number of places each client holds.

    There are no fixed shares. A client may take another place while more places are free than it
    holds (:meth:`has_room_for`). So a single client gets half of them, two clients that want all
    get a third each, and a client that holds none finds a free place until there are as many
    clients as places. Shared packet buffers use the same rule (Choudhury and Hahne, Dynamic Queue
    Length Thresholds, 1998). Every method takes constant time.

    :ivar places: the number of places; may be changed at any time.
    :ivar taken: how many of them are held.
    """

    __slots__ = ("_by_count", "_held", "_most", "places", "taken")

    def __init__(self, places: int) -> None:
        self.places = places
        self.taken = 0
        self._held: dict[str, int] = {}
        self._by_count: dict[int, dict[str, None]] = {}
        self._most = 0

    @property
    def free(self) -> int:
        """How many places are free; never below 0."""
        return max(0, self.places - self.taken)

    @property
    def most(self) -> int:
        """The largest number of places that one client holds."""
        return self._most

    def held(self, client: str) -> int:
        """How many places ``client`` holds."""
        return self._held.get(client, 0)

    def has_room_for(self, client: str) -> bool:
        """Whether ``client`` may take another place: more are free than it holds."""
        return self._held.get(client, 0) < self.places - self.taken

    def holds_most(self) -> str:
        """A client that holds most places; at least one place must be taken."""
        return next(iter(self._by_count[self._most]))

    def take(self, client: str) -> None:
        """``client`` takes a place. The caller has to check first whether it may."""
        self.taken += 1
        held = self._held.get(client, 0)
        self._move(client, held, held + 1)

    def give_back(self, client: str) -> None:
        """``client`` gives one of its places back."""
        self.taken -= 1
        held = self._held[client]
        self._move(client, held, held - 1)

    def _move(self, client: str, before: int, after: int) -> None:
        if before:
            equals = self._by_count[before]
            del equals[client]
            if not equals:
                del self._by_count[before]
                if before == self._most:
                    self._most = after
        if not after:
            del self._held[client]
            return
        self._held[client] = after
        equals_now = self._by_count.get(after)
        if equals_now is None:
            self._by_count[after] = {client: None}
        else:
            equals_now[client] = None
        if after > self._most:
            self._most = after


class Holder(Protocol):
    """Holds a place, or waits for one."""

    @property
    def is_slow(self) -> bool:
        """Whether its client is below the slowest pace at present."""

    def place_given(self) -> None:
        """It has waited, and now has a place."""

    def place_refused(self) -> None:
        """It has waited too long, and gets no place."""

    def give_way(self) -> None:
        """End the work that the place is for; calls :meth:`Places.leave`."""


class Places:
    """The places at one upstream.

    A client may take any free place. If none is free, the client that holds most gives one up to a
    client that holds at least two fewer: its newest slow one, or else its newest. If no client has
    to give one up, the request waits. A place that becomes free goes to the client that holds
    fewest. While requests wait, slow holders give way at the next sweep.
    """

    __slots__ = ("_handing_on", "_holders", "_most", "_queues", "_shares", "_waiting", "taken")

    def __init__(self, most: int = MOST_PLACES) -> None:
        self._most = most
        self.taken = 0
        """How many places are held."""
        # Holders by client, in the order in which they came.
        self._holders: dict[str, dict[Holder, None]] = {}
        # Counted only while all places are taken, because every request runs this code.
        self._shares: Shares | None = None
        self._waiting = Shares(most)
        self._queues: dict[str, dict[Holder, float]] = {}
        self._handing_on = False

    def resize(self, most: int) -> None:
        """Set the number of places, and of requests that may wait."""
        self._most = self._waiting.places = most

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return self._waiting.taken

    def ask(self, client: str, holder: Holder, now: float) -> bool:
        """Take a place for ``holder``, or let it wait. Returns whether it has one.

        Raises :class:`ProxyError` (``OVERLOADED``) if too many wait, in all or of this client.
        """
        if self.taken < self._most:
            self._seat(client, holder)
            return True
        shares = self._shares or self._count()
        if shares.most < shares.held(client) + 2:
            self._wait(client, holder, now + LONGEST_WAIT)
            return False
        giver = self._least_loss(shares.holds_most())
        # Before the place is given up; otherwise a waiting request would get it.
        self._seat(client, holder)
        giver.give_way()
        return True

    def leave(self, client: str, holder: Holder) -> None:
        """Give back the place of ``holder``, or stop waiting."""
        if self._queues and holder in self._queues.get(client, ()):
            self._unqueue(client, holder)
            return
        holders = self._holders[client]
        del holders[holder]
        if not holders:
            del self._holders[client]
        self.taken -= 1
        if self._shares is not None:
            self._shares.give_back(client)
            if self._queues:
                self._hand_on()

    def sweep(self, now: float) -> None:
        """Refuse requests that have waited too long, and end slow holders; called every second."""
        for client, queue in list(self._queues.items()):
            for holder in [holder for holder, until in queue.items() if until <= now]:
                self._unqueue(client, holder)
                holder.place_refused()
        if self._queues:
            # After a change of the configuration there may be more places.
            self._hand_on()
            everybody = [holder for holders in self._holders.values() for holder in holders]
            slow = [holder for holder in everybody if holder.is_slow]
            for holder in slow[: self._waiting.taken]:
                holder.give_way()
        elif self.taken < self._most:
            self._shares = None

    def _count(self) -> Shares:
        """Count the places of each client, at most once between two sweeps."""
        shares = self._shares = Shares(self._most)
        for client, holders in self._holders.items():
            for _ in holders:
                shares.take(client)
        return shares

    def _least_loss(self, client: str) -> Holder:
        """The holder of this client that has to give way."""
        newest = list(islice(reversed(self._holders[client]), _LOOKED_AT))
        return next((holder for holder in newest if holder.is_slow), newest[0])

    def _seat(self, client: str, holder: Holder) -> None:
        self.taken += 1
        if self._shares is not None:
            self._shares.take(client)
        holders = self._holders.get(client)
        if holders is None:
            self._holders[client] = {holder: None}
        else:
            holders[holder] = None

    def _wait(self, client: str, holder: Holder, until: float) -> None:
        if not self._waiting.has_room_for(client):
            raise ProxyError(
                Problem.OVERLOADED,
                f"{self.taken} open on this port, and {self._waiting.taken} wait",
            )
        self._waiting.take(client)
        self._queues.setdefault(client, {})[holder] = until

    def _unqueue(self, client: str, holder: Holder) -> None:
        queue = self._queues[client]
        del queue[holder]
        if not queue:
            del self._queues[client]
        self._waiting.give_back(client)

    def _hand_on(self) -> None:
        """Give free places to waiting requests, first to those of the client that holds fewest.

        A holder may give its place back within the call.
        """
        shares = self._shares
        if self._handing_on or shares is None:
            return
        self._handing_on = True
        try:
            while self._queues and self.taken < self._most:
                client = min(self._queues, key=shares.held)
                holder = next(iter(self._queues[client]))
                self._unqueue(client, holder)
                self._seat(client, holder)
                holder.place_given()
        finally:
            self._handing_on = False
