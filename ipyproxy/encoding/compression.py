"""Compression of answers: the interface for exchanges.

Knows the order of the decisions, and how much of the cost each client may cause. The decisions
themselves are in ``decision``, ``accepted`` and ``etags``; bodies are in ``body``.

A cached body is never sent without asking the notebook. Each request goes to the notebook as a
conditional request (RFC 9110 section 13.1), with everything that the client sent about itself. Only
if the answer is 304, the cached body is sent. So each time the notebook decides who gets what, but
does not have to send the body.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Hashable
from enum import Enum
from typing import Any, Final

from twisted.logger import Logger

from ipyproxy.encoding import decision
from ipyproxy.encoding.accepted import accepted, choose
from ipyproxy.encoding.body import EncodedBody, KeptBody, Sink
from ipyproxy.encoding.codecs import CODINGS, LARGEST, compressed_anew, encoder, is_loaded, usable
from ipyproxy.encoding.decision import SMALLEST
from ipyproxy.encoding.etags import MARK, unmarked
from ipyproxy.encoding.store import Entry, Key, Recording, Store
from ipyproxy.encoding.worker import Work
from ipyproxy.http1.head import READING, RequestHead, ResponseHead
from ipyproxy.http1.lines import SpecialFields

_log = Logger(namespace="ipyproxy.encoding")

MOST_ENCODED = 32
"""Most bodies that are encoded at a time; each takes up to 1.5 MiB. Others are sent unchanged."""
_MOST_TO_IMPROVE = 256
IMPROVED_AFTER = 8.0
"""Seconds between sending a body and compressing it again: by then the page that it belongs to is
open and does not need the processor."""
_OWN_CONDITIONS = re.compile(rb"^(?:if-[a-z-]+|range):", re.IGNORECASE | re.MULTILINE)
_MARK_SIGN: Final = MARK[:1]

# The page itself sends the request, or a person does, from the address bar or a bookmark.
_NO_OTHER_PAGE = ([b"same-origin"], [b"none"])


class Dynamic(Enum):
    """For which requests dynamic documents and data are compressed."""

    NEVER = "never"
    SAME_ORIGIN = "same-origin"
    """For requests that, as the browser says, no other site's page has caused (Fetch Metadata)."""
    ALWAYS = "always"


class Asked:
    """The changes that were made to a request.

    :ivar kept: the cache entry about which the proxy asked the notebook.
    :ivar marks: the coding of each marked ETag in the client's conditions.
    """

    __slots__ = ("kept", "marks")

    def __init__(self, kept: Entry | None, marks: dict[bytes, bytes]) -> None:
        self.kept = kept
        self.marks = marks


class Answer:
    """The answer that the client gets instead of the notebook's.

    :ivar coding: the coding for its body; None: it stays unchanged.
    :ivar kept: the cache entry to send instead of the notebook's body; None: none.
    :ivar length: bytes of the body, if known.
    :ivar key: the key to cache the body under; None: it may not be cached.
    :ivar condition: the field line that asks whether the answer is still the same.
    """

    __slots__ = ("coding", "condition", "fields", "kept", "key", "length", "reason", "status")

    def __init__(self, status: int, reason: bytes, fields: bytes, length: int | None) -> None:
        self.status = status
        self.reason = reason
        self.fields = fields
        self.length = length
        self.coding: bytes | None = None
        self.kept: Entry | None = None
        self.key: Key | None = None
        self.condition = b""


class Compression:
    """Compresses the answers of the proxy, and caches them.

    :param worker: runs work that would block the reactor.
    :param idler: runs work that no client waits for.
    """

    def __init__(self, store: Store, worker: Work, idler: Work) -> None:
        self.store = store
        self._codings: tuple[bytes, ...] = ()
        self._dynamic = Dynamic.NEVER
        self._worker = worker
        self._improver = Improver(idler, store)
        self._encoding_for: dict[str, int] = {}
        self._in_all = 0

    def configure(self, codings: tuple[bytes, ...], limit: int, *, dynamic: Dynamic) -> None:
        """Use those of ``codings`` that have libraries, and cache up to ``limit`` bytes.

        :param dynamic: for which requests dynamic documents and data are compressed too.
        """
        self._codings = usable(codings)
        self._dynamic = dynamic
        self.store.resize(limit)

    def close(self) -> None:
        """Start no further work."""
        self._worker.close()
        self._improver.close()

    @property
    def encoding(self) -> int:
        """How many bodies are being encoded."""
        return self._in_all

    # Requests.

    def ask(
        self, owner: Hashable, head: RequestHead, public: bytes, fields: bytes
    ) -> tuple[bytes, Asked | None]:
        """Change a request's field lines. Returns them and the changes; None for no change.

        :param owner: the upstream of the request.
        :param public: the origin that the request was addressed to.
        """
        # Searching for one byte is ten times faster than for five.
        is_marked = fields.find(_MARK_SIGN) >= 0 and fields.find(MARK) >= 0
        has_any = self.store.has_any_of(owner)
        if not is_marked and not has_any:
            return fields, None
        marks: dict[bytes, bytes] = {}
        if is_marked:
            asking = head.fields.special.values_of(b"accept-encoding")
            fields, marks = unmarked(fields, accepted(asking, CODINGS))
        kept = None
        if has_any:
            kept = self._find(owner, head, public, fields)
            if kept is not None:
                fields += kept.condition + b"\r\n"
        return fields, Asked(kept, marks) if marks or kept is not None else None

    def _find(
        self, owner: Hashable, head: RequestHead, public: bytes, fields: bytes
    ) -> Entry | None:
        """The cache entry for a request; None too if the client has sent conditions of its own."""
        special = head.fields.special
        coding = self._choose(special)
        if coding is None or head.method != b"GET" or b"upgrade" in special or not head.minor:
            return None
        entry = self.store.find(owner, Key(public, head.target, coding))
        return None if entry is None or _OWN_CONDITIONS.search(fields) else entry

    # Answers.

    def answer(
        self,
        asked: Asked | None,
        request: RequestHead,
        public: bytes,
        head: ResponseHead,
        fields: bytes,
        length: int | None,
        client: str,
    ) -> Answer | None:
        """Decide what the client gets for an answer; None: the answer unchanged.

        :param fields: the answer's field lines for this client.
        :param length: bytes of the answer's body (for HEAD: of the body that GET would get).
        :param client: the client that gets it.
        """
        special = head.fields.special
        if head.status == 304 and asked is not None:
            if asked.kept is not None:
                return _kept_answer(asked.kept, fields)
            fields = decision.unchanged_fields(fields, special, asked.marks)
            return Answer(304, head.reason, fields, None)
        if not _is_for_encoding(request, head, length):
            return None
        asking = request.fields.special
        if not decision.may_encode(special, self._takes_dynamic(asking)):
            return None
        coding = self.coding_for(request)
        if coding is None or not self.has_room(request, client):
            return Answer(200, head.reason, decision.varying_fields(fields, special), length)
        fields = decision.encoded_fields(fields, special, coding)
        answer = Answer(200, head.reason, fields, None)
        if request.method == b"GET":
            answer.coding = coding
            condition = decision.condition_of(head)
            if condition is not None and decision.may_keep(special, b"authorization" in asking):
                answer.key, answer.condition = Key(public, request.target, coding), condition
        return answer

    def coding_for(self, request: RequestHead) -> bytes | None:
        """The coding to send to the client of ``request``; None for none."""
        return self._choose(request.fields.special) if request.minor else None

    def _choose(self, asking: SpecialFields) -> bytes | None:
        coding = choose(asking.values_of(b"accept-encoding"), self._codings)
        if coding is not None and not is_loaded(coding):
            _log.warn("{coding} is not used: its library cannot be loaded", coding=coding.decode())
            self._codings = tuple(other for other in self._codings if other != coding)
            return self._choose(asking)
        return coding

    def _takes_dynamic(self, asking: SpecialFields) -> bool:
        """Whether dynamic documents and data may be encoded for a request with these fields."""
        if self._dynamic is Dynamic.SAME_ORIGIN:
            return asking.values_of(b"sec-fetch-site") in _NO_OTHER_PAGE
        return self._dynamic is Dynamic.ALWAYS

    def has_room(self, request: RequestHead, client: str) -> bool:
        """Whether one more body may be encoded for ``client``; always for HEAD, which has none.

        As with all shared places, a client may have one more while more are free than it has.
        """
        free = MOST_ENCODED - self._in_all
        return request.method == b"HEAD" or self._encoding_for.get(client, 0) < free

    def encode(
        self,
        answer: Answer,
        owner: Hashable,
        client: str,
        sink: Sink,
        source: Any,
        length: int | None,
        broken: Callable[[], None],
    ) -> EncodedBody:
        """Encode a body as it arrives.

        :param source: the notebook's transport.
        :param length: bytes of the body, if known.
        :param broken: called where it cannot be encoded.
        """
        assert answer.coding is not None
        encodes = encoder(answer.coding, length)
        self._in_all += 1
        self._encoding_for[client] = self._encoding_for.get(client, 0) + 1
        recording = None
        if answer.key is not None:
            self.store.misses += 1
            if self._is_new(owner, answer.key, answer.condition):
                kept = decision.fields_to_keep(answer.fields)
                recording = Recording(self.store, owner, answer.key, answer.condition, kept)

        def left(whole: Recording | None, size: int) -> None:
            self._leave(client)
            entry = None if whole is None else whole.finish(size)
            if entry is not None:
                self._improver.improve(owner, entry)

        return EncodedBody(encodes, self._worker, sink, source, length, recording, left, broken)

    def _is_new(self, owner: Hashable, key: Key, condition: bytes) -> bool:
        """Whether to cache an answer: not if the same one is cached already."""
        entry = self.store.find(owner, key)
        return self.store.limit > 0 and (entry is None or entry.condition != condition)

    def _leave(self, client: str) -> None:
        self._in_all -= 1
        self._encoding_for[client] -= 1
        if not self._encoding_for[client]:
            del self._encoding_for[client]

    def send_kept(self, entry: Entry, owner: Hashable, sink: Sink) -> KeptBody:
        """Send a cached body, as fast as the client reads it."""
        self.store.lend(entry)
        return KeptBody(entry, sink, lambda: self.store.give_back(owner, entry))


def _is_for_encoding(request: RequestHead, head: ResponseHead, length: int | None) -> bool:
    """Whether method, status and length allow encoding; the fields are checked elsewhere."""
    if length is not None and length < SMALLEST:
        return False
    if head.status != 200 or request.method not in READING:
        return False
    return b"upgrade" not in request.fields.special


def _kept_answer(entry: Entry, fields: bytes) -> Answer:
    fields = decision.refreshed_fields(entry.fields, fields)
    answer = Answer(200, b"OK", fields, len(entry.body))
    answer.kept = entry
    return answer


class Improver:
    """Compresses cached bodies again, as well as possible, one by one in idle time.

    It starts from the quickly compressed body, so no second copy is needed.
    """

    def __init__(self, worker: Work, store: Store) -> None:
        self._worker = worker
        self._store = store
        self._queue: deque[tuple[Hashable, Key]] = deque()
        self._waiting = 0
        self._busy = False

    def improve(self, owner: Hashable, entry: Entry) -> None:
        """Queue ``entry``, unless too many wait or it is too large."""
        if entry.size <= LARGEST and self._waiting < _MOST_TO_IMPROVE:
            self._waiting += 1
            self._worker.later(IMPROVED_AFTER, lambda: self._take(owner, entry.key))

    def _take(self, owner: Hashable, key: Key) -> None:
        self._queue.append((owner, key))
        self._go_on()

    def _go_on(self) -> None:
        while self._queue and not self._busy:
            owner, key = self._queue.popleft()
            self._waiting -= 1
            entry = self._store.find(owner, key)
            if entry is not None:
                self._busy = True
                self._begin(owner, entry)

    def _begin(self, owner: Hashable, entry: Entry) -> None:
        coding, body = entry.key.coding, entry.body
        worker = self._worker

        def done(smaller: bytes | None) -> None:
            self._busy = False
            if smaller is not None:
                self._store.replace(owner, entry, smaller)
            self._go_on()

        worker.run(lambda: compressed_anew(coding, body, lambda: worker.goes_on), done)

    def close(self) -> None:
        """Stop the work."""
        self._queue.clear()
        self._worker.close()
