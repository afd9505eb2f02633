"""Files that have no compressed copy beside them: compressed while they are sent, and kept.

Knows which files gain by it, and what is told of them then. How it is done, how much of it goes on
at a time and how much is kept is :mod:`ipyproxy.encoding`'s.

What is kept of a file counts for exactly one state of it: each request finds the file anew, and
its entity tag has to be the one that was compressed. So a file may be changed or taken away at any
time, and who may have it is decided before.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from ipyproxy.encoding.body import EncodedBody, KeptBody
from ipyproxy.encoding.codecs import LARGEST
from ipyproxy.encoding.compression import Answer as Encoded
from ipyproxy.encoding.compression import Compression
from ipyproxy.encoding.decision import SMALLEST
from ipyproxy.encoding.etags import MARK, marked, unmarked_tags
from ipyproxy.encoding.store import Key
from ipyproxy.files.answers import Answer
from ipyproxy.files.finding import Found, validators_of
from ipyproxy.files.sending import Prepared, Sending
from ipyproxy.files.types import is_compressible
from ipyproxy.server.clients import subscriber
from ipyproxy.server.request import Request

SETTLED = 2.0
"""Seconds after which a file is taken to be whole: until then it may change once more within what
its filesystem counts as the same moment (4 ms and more), and have the same entity tag."""

_CONDITIONS = (b"if-none-match", b"if-match")
_ETAG, _RANGES = b"ETag: ", b"Accept-Ranges: "


def may_compress(found: Found) -> bool:
    """Whether a file is compressed for who wants that.

    What is larger than :data:`ipyproxy.encoding.codecs.LARGEST` is fetched to be kept, and not for
    a page: its length and its ranges, by which a download goes on where it broke off, are of more
    use than its compression.
    """
    return (
        not found.coding
        and SMALLEST <= found.file.size <= LARGEST
        and is_compressible(found.file.name)
    )


def unmarked_conditions(
    asked: Mapping[bytes, bytes], codings: Collection[bytes]
) -> tuple[Mapping[bytes, bytes], dict[bytes, bytes]]:
    """The fields of a request with the file's own tags for marked ones.

    A tag whose coding this request cannot get stays as it is, and so is no tag of what it gets: a
    cache may ask on behalf of a client for what it keeps for others, and ranges are of the file
    as it is.

    :param codings: those that the client takes.
    :returns: the fields, and the coding that each of the tags was marked with.
    """
    marks: dict[bytes, bytes] = {}
    without: dict[bytes, bytes] = {}
    if b"range" in asked:
        codings = ()
    for name in _CONDITIONS:
        if MARK in asked.get(name, b""):
            without[name], found = unmarked_tags(asked[name], codings)
            marks |= found
    return {**asked, **without} if without else asked, marks


class FileCompression:
    """What one request for a file of a directory gets, where the file may be compressed.

    :param directory: whose files they are; what is kept is kept for it.
    :param marks: what each tag of the request was marked with.
    """

    def __init__(
        self, compression: Compression, directory: bytes, marks: Mapping[bytes, bytes]
    ) -> None:
        self._compression = compression
        self._directory = directory
        self._marks = marks

    def begin(
        self, request: Request, found: Prepared, source: Sending
    ) -> tuple[Answer, EncodedBody | KeptBody | None]:
        """See :class:`ipyproxy.files.sending.Compressing`."""
        answer, compression = found.answer, self._compression
        validators = validators_of(found.file)
        if answer.status == 304:
            coding = self._marks.get(validators.etag)
            return (answer if coding is None else _marked(answer, coding)), None
        coding = compression.coding_for(request.head) if answer.status == 200 else None
        if coding is None:
            return answer, None
        key = Key(b"", found.path, coding)
        entry = compression.store.find(self._directory, key)
        if entry is not None and entry.condition == validators.etag:
            answer = _encoded(answer, coding, len(entry.body))
            if request.method == b"HEAD":
                return answer, None
            return answer, compression.send_kept(entry, self._directory, request)
        client = subscriber(request.client)
        if not compression.has_room(request.head, client):
            return answer, None
        answer = _encoded(answer, coding, None)
        if request.method == b"HEAD":
            return answer, None
        encoded = Encoded(200, answer.reason, b"", None)
        encoded.coding = coding
        if time.time() - validators.modified >= SETTLED:
            encoded.key, encoded.condition = key, validators.etag
        body = compression.encode(
            encoded,
            self._directory,
            client,
            request,
            source,
            found.file.size,
            source.could_not_compress,
        )
        return answer, body


def _marked(answer: Answer, coding: bytes) -> Answer:
    lines = [
        _ETAG + marked(line[len(_ETAG) :], coding) if line.startswith(_ETAG) else line
        for line in answer.lines
    ]
    return answer._replace(lines=lines)


def _encoded(answer: Answer, coding: bytes, length: int | None) -> Answer:
    """The head of an answer with the file encoded; ranges are of the file as it is."""
    made = _marked(answer, coding)
    lines = [line for line in made.lines if not line.startswith(_RANGES)]
    lines.append(b"Content-Encoding: " + coding)
    return made._replace(lines=lines, length=length)
