"""The cache of encoded bodies, so that static content is compressed only once.

Knows how much each upstream has in the cache, and what is evicted. Knows nothing of codings, time
or connections. The notebook decides each time whether an entry may still be sent.

An entry is used for its own upstream only, even if another one has the same file. Otherwise a user
could learn from a well compressed answer that somebody else has that file.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple

_OVERHEAD = 512
"""Rough overhead of an entry, in bytes."""
_LARGEST_PART = 8
"""An entry may take at most 1/8 of the cache."""
_UNFINISHED_PART = 4
"""All incomplete recordings together may take at most 1/4 of the cache."""


class Key(NamedTuple):
    """What the answer depends on, in addition to the upstream."""

    public: bytes
    """The origin that the request was addressed to, which some upstreams learn."""
    target: bytes
    """The request's target, byte for byte, with its query."""
    coding: bytes


class Entry:
    """An encoded answer to GET.

    :ivar condition: the field line that asks the notebook whether it is still the same.
    :ivar fields: the field lines of the answer, without framing and without those for one message.
    :ivar size: bytes of the body before encoding.
    :ivar readers: how many clients it is being sent to.
    """

    __slots__ = ("body", "condition", "fields", "key", "readers", "size")

    def __init__(self, key: Key, condition: bytes, fields: bytes, body: bytes, size: int) -> None:
        self.key = key
        self.condition = condition
        self.fields = fields
        self.body = body
        self.size = size
        self.readers = 0

    @property
    def cost(self) -> int:
        """Bytes of memory that it takes."""
        return len(self.body) + len(self.fields) + len(self.key.target) + _OVERHEAD


class _Shelf:
    """The entries of one upstream, the most recently used one last."""

    __slots__ = ("entries", "held")

    def __init__(self) -> None:
        self.entries: OrderedDict[Key, Entry] = OrderedDict()
        self.held = 0


class Store:
    """The entries of all upstreams, and recordings of bodies that are being sent.

    An owner is an upstream, or any other key. If the cache is full, entries of the owner with most
    bytes are evicted, so that no upstream can evict those of the others.

    A body that is being sent counts even after its eviction; otherwise slow readers could keep more
    and more evicted bodies in memory.

    :param limit: most bytes in all; 0: nothing is cached.
    :ivar hits: how often an entry was sent.
    :ivar misses: how often a body was compressed that could have been in the cache.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.hits = 0
        self.misses = 0
        self.drops = 0
        """How often all entries of an owner were evicted."""
        self._held = 0
        self._unfinished = 0
        self._lent = 0
        self._shelves: dict[Hashable, _Shelf] = {}

    @property
    def held(self) -> int:
        """Roughly how many bytes the cache takes."""
        return self._held + self._unfinished + self._lent

    def __len__(self) -> int:
        """How many entries there are."""
        return sum(len(shelf.entries) for shelf in self._shelves.values())

    def has_any_of(self, owner: Hashable) -> bool:
        """Whether ``owner`` has any entry."""
        return owner in self._shelves

    def find(self, owner: Hashable, key: Key) -> Entry | None:
        """The entry for ``key``; None: there is none."""
        shelf = self._shelves.get(owner)
        entry = None if shelf is None else shelf.entries.get(key)
        if shelf is not None and entry is not None:
            shelf.entries.move_to_end(key)
        return entry

    def holds(self, owner: Hashable, entry: Entry) -> bool:
        """Whether ``entry`` is still in the cache."""
        shelf = self._shelves.get(owner)
        return shelf is not None and shelf.entries.get(entry.key) is entry

    def put(self, owner: Hashable, entry: Entry) -> bool:
        """Add ``entry``, in place of an older one. Returns whether it was added."""
        self.discard(owner, entry.key)
        if not self._fits(entry.cost) or not self._make_room(entry.cost):
            return False
        shelf = self._shelves.setdefault(owner, _Shelf())
        shelf.entries[entry.key] = entry
        shelf.held += entry.cost
        self._held += entry.cost
        return True

    def replace(self, owner: Hashable, entry: Entry, body: bytes) -> None:
        """Replace the body of ``entry`` by a better compressed one, if it is still in the cache."""
        if self.holds(owner, entry):
            self.put(owner, Entry(entry.key, entry.condition, entry.fields, body, entry.size))

    def lend(self, entry: Entry) -> None:
        """``entry`` is being sent to one more client; :meth:`give_back` must follow."""
        entry.readers += 1
        self.hits += 1

    def give_back(self, owner: Hashable, entry: Entry) -> None:
        """``entry`` is not being sent to that client any more."""
        entry.readers -= 1
        if not entry.readers and not self.holds(owner, entry):
            self._lent -= entry.cost

    def discard(self, owner: Hashable, key: Key) -> None:
        """Remove the entry for ``key``."""
        shelf = self._shelves.get(owner)
        entry = None if shelf is None else shelf.entries.pop(key, None)
        if shelf is not None and entry is not None:
            self._forget(entry)
            shelf.held -= entry.cost
            if not shelf.entries:
                del self._shelves[owner]

    def drop(self, owner: Hashable) -> None:
        """Remove all of ``owner``, recordings too: another process has its port."""
        self.drops += 1
        shelf = self._shelves.pop(owner, None)
        if shelf is not None:
            for entry in shelf.entries.values():
                self._forget(entry)

    def _forget(self, entry: Entry) -> None:
        self._held -= entry.cost
        if entry.readers:
            self._lent += entry.cost

    def resize(self, limit: int) -> None:
        """Set the limit, in bytes."""
        self.limit = limit
        self._make_room(0)

    def _fits(self, size: int) -> bool:
        return size <= self.limit // _LARGEST_PART

    def _make_room(self, size: int) -> bool:
        while self.held + size > self.limit:
            if not self._shelves:
                return False
            owner, shelf = max(self._shelves.items(), key=lambda item: item[1].held)
            self.discard(owner, next(iter(shelf.entries)))
        return True

    # Recordings.

    def grow(self, size: int, total: int) -> bool:
        """Count ``size`` more bytes of a recording, which then has ``total``.

        Returns whether it may go on; if not, call :meth:`shrink` for the bytes that it has.
        """
        if not self._fits(total) or self._unfinished + size > self.limit // _UNFINISHED_PART:
            return False
        if not self._make_room(size):
            return False
        self._unfinished += size
        return True

    def shrink(self, size: int) -> None:
        """A recording with so many bytes has ended."""
        self._unfinished -= size


class Recording:
    """Records the encoded body of an answer while it is sent."""

    __slots__ = ("_condition", "_drops", "_fields", "_key", "_owner", "_pieces", "_store", "_taken")

    def __init__(
        self, store: Store, owner: Hashable, key: Key, condition: bytes, fields: bytes
    ) -> None:
        self._store = store
        self._owner = owner
        self._key = key
        self._condition = condition
        self._fields = fields
        self._pieces: list[bytes] | None = []
        self._taken = 0
        self._drops = store.drops

    def take(self, piece: bytes) -> None:
        """One more piece was sent."""
        if self._pieces is None:
            return
        if self._store.grow(len(piece), self._taken + len(piece)):
            self._pieces.append(piece)
            self._taken += len(piece)
        else:
            self.abandon()

    def abandon(self) -> None:
        """Drop the recording: there is no room, or the answer stays incomplete."""
        self._pieces = None
        self._store.shrink(self._taken)
        self._taken = 0

    def finish(self, size: int) -> Entry | None:
        """The answer is complete; it had ``size`` bytes before encoding.

        Returns the entry, if it was added.
        """
        pieces = self._pieces
        self.abandon()
        if pieces is None or self._drops != self._store.drops:
            return None
        entry = Entry(self._key, self._condition, self._fields, b"".join(pieces), size)
        return entry if self._store.put(self._owner, entry) else None
