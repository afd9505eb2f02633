"""Ranges of bytes (RFC 9110 section 14): which parts of a file a request asks for.

Knows the field Range and the size of a file. No request costs more than sending the whole file: a
field that asks for more is ignored, as section 14.2 allows.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MOST_RANGES = 64
"""Most ranges of one request; with more, the whole file is sent."""

_FIELD = re.compile(rb"bytes=([0-9, \t-]*)", re.IGNORECASE)
# At most 18 digits, an exabyte.
_RANGE = re.compile(rb"([0-9]{0,18})-([0-9]{0,18})")


class Span(NamedTuple):
    """Bytes of a file from ``start`` up to, not including, ``end``."""

    start: int
    end: int


def spans(field: bytes, size: int) -> tuple[Span, ...] | None:
    """The ranges that a Range field asks for in a file of ``size`` bytes, in its order.

    :returns: None if the field is ignored and the whole file is sent; () if the file has none of
        the requested bytes.
    """
    match = _FIELD.fullmatch(field)
    if match is None or not size:
        return None
    ranges = [part.strip(b" \t") for part in match[1].split(b",", 2 * MOST_RANGES)]
    ranges = [part for part in ranges if part]
    if not 0 < len(ranges) <= MOST_RANGES:
        return None
    found = []
    for part in ranges:
        span = _span(part, size)
        if span is None:
            return None
        if span.start < span.end:
            found.append(span)
    # Many overlapping ranges made short requests expensive (CVE-2011-3192).
    if sum(span.end - span.start for span in found) > size:
        return None
    return tuple(found)


def _span(part: bytes, size: int) -> Span | None:
    """One range; empty if the file ends before it, None if it is malformed."""
    match = _RANGE.fullmatch(part)
    if match is None or part == b"-":
        return None
    first, last = match.groups()
    if not first:
        return Span(max(size - int(last), 0), size)
    if last and int(last) < int(first):
        return None
    return Span(min(int(first), size), min(int(last) + 1, size) if last else size)


def content_range(span: Span | None, size: int) -> bytes:
    """The value of Content-Range for ``span``; for None, that of a 416 answer."""
    if span is None:
        return b"bytes */%d" % size
    return b"bytes %d-%d/%d" % (span.start, span.end - 1, size)
