"""Decides which answers may be encoded, which may be cached, and which fields the client then gets.

Knows field names and media types. Knows nothing of encoded bytes, of clients or notebooks. Pure.

Static content is always compressed: scripts, styles, vector graphics, and all answers that say by
``max-age`` or ``immutable`` that they do not change. Dynamic documents and data may contain a
secret beside text that an attacker chooses; then their compressed size reveals the secret (BREACH).
For that attack, a page of the attacker makes a visitor's browser repeat requests. Browsers mark
these: they are not ``same-origin``.
"""

from __future__ import annotations

import re

from ipyproxy.encoding.etags import is_strong, marked
from ipyproxy.http1.head import ResponseHead
from ipyproxy.http1.lines import SpecialFields, block_of, lines_of, remembered, split_tokens

SMALLEST = 1400
"""Smallest body, in bytes, that is compressed: one that fits into a packet would arrive no
sooner."""

_STATIC = frozenset(
    b"text/javascript application/javascript application/x-javascript text/css image/svg+xml "
    b"application/wasm application/manifest+json image/bmp image/x-icon image/vnd.microsoft.icon "
    b"font/ttf font/otf application/vnd.ms-fontobject application/x-font-ttf".split()
)
_DOCUMENTS = frozenset(
    b"application/json application/xml application/xhtml+xml application/x-ndjson "
    b"application/x-ipynb+json application/ld+json application/geo+json application/rss+xml "
    b"application/atom+xml application/vnd.api+json".split()
)
_NEVER = b"text/event-stream"
_FRESH = re.compile(rb"(?:s-maxage|max-age)=\"?0*[1-9][0-9]*\"?")
# If one of these fields is rewritten, the answer depends on the client and on the public origin.
_REWRITTEN = (b"set-cookie", b"location", b"content-location", b"service-worker-allowed")
# Fields about the unencoded bytes, which are dropped: digests (RFC 9530), and offers of ranges.
_UNDONE = frozenset(
    b"content-md5 digest content-digest repr-digest accept-ranges etag vary".split()
)
# Fields that a 304 lacks (RFC 9110 section 15.4.5), or that a cached answer has itself.
_KEPT_AS_IT_IS = frozenset(
    b"content-type content-encoding content-language content-disposition content-length etag "
    b"last-modified vary accept-ranges content-md5 digest content-digest repr-digest".split()
)
_OF_ONE_MESSAGE = frozenset(b"date age set-cookie".split())
_EVERYBODY = [b"*"]
_VARY = b"vary"
_ACCEPT_ENCODING = b"accept-encoding"


@remembered
def may_encode(special: SpecialFields, dynamic: bool) -> bool:
    """Whether an answer with these fields may be encoded.

    :param dynamic: whether this may be done to dynamic documents and data.
    """
    media = (special.first(b"content-type") or b"").partition(b";")[0].strip(b" \t").lower()
    if media == _NEVER or b"content-range" in special:
        return False
    if any(coding != b"identity" for coding in special.tokens(b"content-encoding")):
        return False
    if b"no-transform" in special.tokens(b"cache-control"):
        return False
    if media in _STATIC:
        return True
    if media.startswith(b"text/") or media in _DOCUMENTS:
        return dynamic or _is_static_by_its_word(special)
    return False


def _is_static_by_its_word(special: SpecialFields) -> bool:
    if b"set-cookie" in special:
        return False
    said = special.tokens(b"cache-control")
    if any(word.partition(b"=")[0] in (b"private", b"no-store", b"no-cache") for word in said):
        return False
    return b"immutable" in said or any(_FRESH.fullmatch(word) for word in said)


@remembered
def may_keep(special: SpecialFields, authorized: bool) -> bool:
    """Whether an answer that :func:`may_encode` allows may be cached (RFC 9111 section 3).

    :param authorized: whether the request had Authorization; then it must be ``public``.
    """
    said = {word.partition(b"=")[0] for word in special.tokens(b"cache-control")}
    if said & {b"private", b"no-store"} or (authorized and b"public" not in said):
        return False
    if any(name in special for name in _REWRITTEN):
        return False
    if special.get(b"access-control-allow-origin", _EVERYBODY) != _EVERYBODY:
        return False
    if not set(special.tokens(_VARY)) <= {_ACCEPT_ENCODING}:
        return False
    media = (special.first(b"content-type") or b"").partition(b";")[0].strip(b" \t").lower()
    return media in _STATIC or _is_static_by_its_word(special)


_ETAG = re.compile(rb"^etag: ([^\r\n]*)\r\n", re.IGNORECASE | re.MULTILINE)
_LAST_MODIFIED = re.compile(
    rb"^last-modified: ([A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT)\r\n",
    re.IGNORECASE | re.MULTILINE,
)


def condition_of(head: ResponseHead) -> bytes | None:
    """The field line that asks whether an answer is still the same; None: it has no validator.

    A strong ETag identifies the bytes. A date alone does not: a file may be replaced by an older
    one. So a date counts only if the answer is ``immutable`` (RFC 8246).
    """
    plain = head.fields.plain
    tags: list[bytes] = _ETAG.findall(plain)
    if tags:
        return b"If-None-Match: " + tags[0] if len(tags) == 1 and is_strong(tags[0]) else None
    dates: list[bytes] = _LAST_MODIFIED.findall(plain)
    if len(dates) == 1 and b"immutable" in head.fields.tokens(b"cache-control"):
        return b"If-Modified-Since: " + dates[0]
    return None


def encoded_fields(block: bytes, special: SpecialFields, coding: bytes) -> bytes:
    """The field lines of an answer that is encoded.

    :param block: its field lines before, each with its CRLF.
    """
    lines = []
    for line in lines_of(block):
        name, _, value = line.partition(b": ")
        lower = name.lower()
        if lower == b"etag":
            lines.append(b"ETag: " + marked(value, coding))
        elif lower not in _UNDONE and lower != b"content-encoding":
            lines.append(line)
    lines += [b"Content-Encoding: " + coding, _merged_vary(special)]
    return block_of(lines)


def varying_fields(block: bytes, special: SpecialFields) -> bytes:
    """The field lines of an unencoded answer that other clients get encoded."""
    lines = [line for line in lines_of(block) if not line.lower().startswith(b"vary:")]
    return block_of([*lines, _merged_vary(special)])


def unchanged_fields(block: bytes, special: SpecialFields, codings: dict[bytes, bytes]) -> bytes:
    """The field lines of a 304 to a client that has the encoded answer.

    :param codings: the coding of each marked tag in the request.
    """
    lines = []
    for line in lines_of(block):
        name, _, value = line.partition(b": ")
        if name.lower() == b"etag" and value in codings:
            lines.append(b"ETag: " + marked(value, codings[value]))
        else:
            lines.append(line)
    return varying_fields(block_of(lines), special)


def _merged_vary(special: SpecialFields) -> bytes:
    values = special.values_of(_VARY)
    said = split_tokens(b",".join(values))
    if b"*" in said or _ACCEPT_ENCODING in said:
        return b"Vary: " + b", ".join(values)
    return b"Vary: " + b", ".join([*values, b"Accept-Encoding"])


def fields_to_keep(block: bytes) -> bytes:
    """The lines of an encoded answer that are cached with it."""
    return block_of(
        line for line in lines_of(block) if line.partition(b":")[0].lower() not in _OF_ONE_MESSAGE
    )


def refreshed_fields(kept: bytes, block: bytes) -> bytes:
    """The field lines of a cached answer, updated from a 304 (RFC 9111 section 3.2).

    :param block: the field lines of the 304.
    """
    said = [
        line for line in lines_of(block) if line.partition(b":")[0].lower() not in _KEPT_AS_IT_IS
    ]
    anew = {line.partition(b":")[0].lower() for line in said}
    old = [line for line in lines_of(kept) if line.partition(b":")[0].lower() not in anew]
    return block_of([*old, *said])
