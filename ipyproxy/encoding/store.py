"""Encoded bodies that are kept, so that what does not change is compressed once.

Knows how much is kept of whom, and who gives way. Knows nothing of codings, time or connections;
whether an entry may still be sent is for the notebook to say, each time.

What one upstream said is sent for that upstream only, even if another one has the same file: who
found that an answer comes well compressed at once would learn that somebody else has it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple

_OVERHEAD = 512
"""Bytes that an entry takes beside what is in it, about."""
_LARGEST_PART = 8
"""An entry may take such a part of the whole at most."""
_UNFINISHED_PART = 4
"""All that is not whole yet may take such a part together."""


class Key(NamedTuple):
    """What the answer depended on, besides the upstream itself."""

    public: bytes
    """The origin that the request was addressed to; some upstreams are told."""
    target: bytes
    """Byte for byte, with its query."""
    coding: bytes


class Entry:
    """One answer to GET, encoded.

    :ivar condition: the field line that asks the notebook whether it still is the same.
    :ivar fields: the field lines of the answer, but for framing and what is of one message only.
    :ivar size: bytes of the body before it was encoded.
    :ivar readers: clients that it is being sent to.
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
        """Bytes that it takes."""
        return len(self.body) + len(self.fields) + len(self.key.target) + _OVERHEAD


class _Shelf:
    """What is kept of one upstream, the entry that was used last at the end."""

    __slots__ = ("entries", "held")

    def __init__(self) -> None:
        self.entries: OrderedDict[Key, Entry] = OrderedDict()
        self.held = 0


class Store:
    """The entries of all upstreams, and what is being recorded.

    An owner is whatever stands for an upstream. When all is full, the one that has most gives way,
    so that no upstream can push out what is kept of the others.

    What is being sent counts until it is, even if it is not kept any more: else slow readers could
    hold more and more of what has given way.

    :param limit: bytes of all together; 0: nothing is kept.
    :ivar hits: how often an entry was sent.
    :ivar misses: how often a body was compressed that could have been kept before.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.hits = 0
        self.misses = 0
        self.drops = 0
        """How often an owner has lost all that was kept."""
        self._held = 0
        self._unfinished = 0
        self._lent = 0
        self._shelves: dict[Hashable, _Shelf] = {}

    @property
    def held(self) -> int:
        """Bytes that all of it takes, about."""
        return self._held + self._unfinished + self._lent

    def __len__(self) -> int:
        """How many entries there are."""
        return sum(len(shelf.entries) for shelf in self._shelves.values())

    def has_any_of(self, owner: Hashable) -> bool:
        """Whether anything is kept of ``owner``."""
        return owner in self._shelves

    def find(self, owner: Hashable, key: Key) -> Entry | None:
        """What is kept; None: nothing."""
        shelf = self._shelves.get(owner)
        entry = None if shelf is None else shelf.entries.get(key)
        if shelf is not None and entry is not None:
            shelf.entries.move_to_end(key)
        return entry

    def holds(self, owner: Hashable, entry: Entry) -> bool:
        """Whether ``entry`` is still kept."""
        shelf = self._shelves.get(owner)
        return shelf is not None and shelf.entries.get(entry.key) is entry

    def put(self, owner: Hashable, entry: Entry) -> bool:
        """Keep ``entry``; what was kept in its place goes. Whether it is kept."""
        self.discard(owner, entry.key)
        if not self._fits(entry.cost) or not self._make_room(entry.cost):
            return False
        shelf = self._shelves.setdefault(owner, _Shelf())
        shelf.entries[entry.key] = entry
        shelf.held += entry.cost
        self._held += entry.cost
        return True

    def replace(self, owner: Hashable, entry: Entry, body: bytes) -> None:
        """Keep ``body``, which says the same, instead of that of ``entry``, if that is kept."""
        if self.holds(owner, entry):
            self.put(owner, Entry(entry.key, entry.condition, entry.fields, body, entry.size))

    def lend(self, entry: Entry) -> None:
        """``entry`` is being sent to one more client; :meth:`give_back` is called in any case."""
        entry.readers += 1
        self.hits += 1

    def give_back(self, owner: Hashable, entry: Entry) -> None:
        """It was sent."""
        entry.readers -= 1
        if not entry.readers and not self.holds(owner, entry):
            self._lent -= entry.cost

    def discard(self, owner: Hashable, key: Key) -> None:
        """Keep nothing under ``key``."""
        shelf = self._shelves.get(owner)
        entry = None if shelf is None else shelf.entries.pop(key, None)
        if shelf is not None and entry is not None:
            self._forget(entry)
            shelf.held -= entry.cost
            if not shelf.entries:
                del self._shelves[owner]

    def drop(self, owner: Hashable) -> None:
        """Keep nothing of ``owner``, nor what is being recorded: somebody else has its port."""
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
        """Keep ``limit`` bytes at most from now on."""
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

    # What is being recorded.

    def grow(self, size: int, total: int) -> bool:
        """Take note of ``size`` more bytes of a recording, which then has ``total``.

        Whether it may go on; if not, what it has so far is given back by :meth:`shrink`.
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
    """The encoded body of one answer on its way, kept until it is whole."""

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
        """A further piece was sent."""
        if self._pieces is None:
            return
        if self._store.grow(len(piece), self._taken + len(piece)):
            self._pieces.append(piece)
            self._taken += len(piece)
        else:
            self.abandon()

    def abandon(self) -> None:
        """Keep nothing: there is no room, or the answer does not become whole."""
        self._pieces = None
        self._store.shrink(self._taken)
        self._taken = 0

    def finish(self, size: int) -> Entry | None:
        """The answer is whole, and had ``size`` bytes before. The entry, if it is kept."""
        pieces = self._pieces
        self.abandon()
        if pieces is None or self._drops != self._store.drops:
            return None
        entry = Entry(self._key, self._condition, self._fields, b"".join(pieces), size)
        return entry if self._store.put(self._owner, entry) else None
