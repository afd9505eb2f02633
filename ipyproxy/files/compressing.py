"""Files without a compressed copy beside them: compressed while they are sent, and cached.

Knows which files are compressed, and which fields change then. :mod:`ipyproxy.encoding` does the
compressing, limits it, and caches the results.

A cached body is valid for exactly one state of its file: each request finds the file anew, and its
entity tag must be that of the compressed one. So a file may change or be removed at any time.
Access has been decided before.
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
"""Seconds after its last change until a file counts as complete. Before, it may change again within
one tick of its filesystem's clock (4 ms and more) and keep its entity tag."""

_CONDITIONS = (b"if-none-match", b"if-match")
_ETAG, _RANGES = b"ETag: ", b"Accept-Ranges: "


def may_compress(found: Found) -> bool:
    """Whether a file is compressed for clients that accept it.

    A file larger than :data:`ipyproxy.encoding.codecs.LARGEST` is a download and not a part of a
    page: its length, and ranges to resume it, are of more use than compression.
    """
    return (
        not found.coding
        and SMALLEST <= found.file.size <= LARGEST
        and is_compressible(found.file.name)
    )


def unmarked_conditions(
    asked: Mapping[bytes, bytes], codings: Collection[bytes]
) -> tuple[Mapping[bytes, bytes], dict[bytes, bytes]]:
    """The fields of a request, with marked tags replaced by the file's own.

    A tag whose coding this request cannot get stays, so it does not match the answer: a cache may
    ask, on behalf of a client, about what it stores for others, and ranges are of the unencoded
    file.

    :param codings: the codings that the client accepts.
    :returns: the fields, and the coding of each marked tag.
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
    """Answers one request for a file that may be compressed.

    :param directory: the owner of the cache entries.
    :param marks: the coding of each marked tag in the request.
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
    """The head of an answer with the encoded file; ranges are of the unencoded file."""
    made = _marked(answer, coding)
    lines = [line for line in made.lines if not line.startswith(_RANGES)]
    lines.append(b"Content-Encoding: " + coding)
    return made._replace(lines=lines, length=length)
