"""Compression of answers: the one thing that an exchange asks, and what it does with the reply.

Knows in what order it is decided, and who may have how much of what it costs. The decisions
themselves are in ``decision``, ``accepted`` and ``etags``; bodies are in ``body``.

What is kept is never sent by its own right. Each request goes to the notebook, on the condition
that it still is what is kept (RFC 9110 section 13.1), with all that the client
says of itself. Only a 304 lets the kept body be sent: so the notebook decides who gets what, each
time, and has to send nothing for it.
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
"""Bodies that are encoded at a time; each takes up to 1.5 MiB. Others are sent as they are."""
_MOST_TO_IMPROVE = 256
IMPROVED_AFTER = 8.0
"""Seconds from a body to its second compression: by then the page that it belongs to is open, for
which the processor is needed more."""
_OWN_CONDITIONS = re.compile(rb"^(?:if-[a-z-]+|range):", re.IGNORECASE | re.MULTILINE)
_MARK_SIGN: Final = MARK[:1]

# The page itself asks, or a person: by the address bar or a bookmark.
_NO_OTHER_PAGE = ([b"same-origin"], [b"none"])


class Dynamic(Enum):
    """For whom documents and data are compressed, that may differ from moment to moment."""

    NEVER = "never"
    SAME_ORIGIN = "same-origin"
    """For whoever's browser says that no other site's page asks (Fetch Metadata)."""
    ALWAYS = "always"


class Asked:
    """What was changed in a request.

    :ivar kept: what the notebook was asked about, on our own behalf.
    :ivar marks: the coding that each tag of the client's conditions was marked with.
    """

    __slots__ = ("kept", "marks")

    def __init__(self, kept: Entry | None, marks: dict[bytes, bytes]) -> None:
        self.kept = kept
        self.marks = marks


class Answer:
    """What the client gets instead of a notebook's answer.

    :ivar coding: what its body is to be encoded with; None: it stays as it is.
    :ivar kept: what is sent instead of a body of the notebook's; None: nothing is.
    :ivar length: bytes of the body, if known.
    :ivar key: under what the body may be kept; None: it may not.
    :ivar condition: asks whether it still is the same.
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
    """Compression of one proxy's answers.

    :param worker: does what takes longer than a moment.
    :param idler: does what nobody waits for.
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
        """Use these ``codings``, as far as there are libraries, and keep ``limit`` bytes.

        :param dynamic: for whom documents and data are compressed too.
        """
        self._codings = usable(codings)
        self._dynamic = dynamic
        self.store.resize(limit)

    def close(self) -> None:
        """Begin nothing new."""
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
        """Change a request's field lines, and say what was changed; None: nothing.

        :param owner: the upstream that it goes to.
        :param public: the origin that it was addressed to.
        """
        # One byte is found ten times faster than five.
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
        """What is kept for a request, if it may be asked about: the client has no conditions."""
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
        """What the client gets of an answer; None: the answer as it is.

        :param fields: the answer's field lines for this client.
        :param length: bytes of its body, or what they would be for HEAD.
        :param client: who is to get it.
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
        """The coding that the client of ``request`` wants an answer in; None: it wants none."""
        return self._choose(request.fields.special) if request.minor else None

    def _choose(self, asking: SpecialFields) -> bytes | None:
        coding = choose(asking.values_of(b"accept-encoding"), self._codings)
        if coding is not None and not is_loaded(coding):
            _log.warn("{coding} is not used: its library cannot be loaded", coding=coding.decode())
            self._codings = tuple(other for other in self._codings if other != coding)
            return self._choose(asking)
        return coding

    def _takes_dynamic(self, asking: SpecialFields) -> bool:
        """Whether documents and data may be encoded for who asks so."""
        if self._dynamic is Dynamic.SAME_ORIGIN:
            return asking.values_of(b"sec-fetch-site") in _NO_OTHER_PAGE
        return self._dynamic is Dynamic.ALWAYS

    def has_room(self, request: RequestHead, client: str) -> bool:
        """Whether another body may be encoded for ``client``; of HEAD there is none.

        A client may have another one while more are free than it has, as with all that is shared.
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
        """Encode a body as it comes.

        :param source: the transport that it comes from.
        :param length: bytes that will come, if known.
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
        """Whether it is worth keeping; a notebook may send again what is kept of it already."""
        entry = self.store.find(owner, key)
        return self.store.limit > 0 and (entry is None or entry.condition != condition)

    def _leave(self, client: str) -> None:
        self._in_all -= 1
        self._encoding_for[client] -= 1
        if not self._encoding_for[client]:
            del self._encoding_for[client]

    def send_kept(self, entry: Entry, owner: Hashable, sink: Sink) -> KeptBody:
        """Send what is kept, as far as the client takes it."""
        self.store.lend(entry)
        return KeptBody(entry, sink, lambda: self.store.give_back(owner, entry))


def _is_for_encoding(request: RequestHead, head: ResponseHead, length: int | None) -> bool:
    """Whether method, status and length allow an encoding; the fields are another question."""
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
    """Compresses what is kept as well as can be, one after the other, when nobody else wants to.

    It works from what was compressed quickly, so nothing has to be kept twice.
    """

    def __init__(self, worker: Work, store: Store) -> None:
        self._worker = worker
        self._store = store
        self._queue: deque[tuple[Hashable, Key]] = deque()
        self._waiting = 0
        self._busy = False

    def improve(self, owner: Hashable, entry: Entry) -> None:
        """Do so with ``entry`` when its turn comes, unless too many wait or it is too large."""
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
        """Give up what is under way."""
        self._queue.clear()
        self._worker.close()
