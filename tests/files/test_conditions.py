"""RFC 9110 section 13: what the conditions of a request come to."""

from __future__ import annotations

import pytest

from ipyproxy.files.conditions import Outcome, Validators, outcome, read_fields, wants_ranges
from ipyproxy.http1.head import HeadLimits, parse_request

# Sun, 06 Nov 1994 08:49:37 GMT
THEN = 784111777
FILE = Validators(b'"a-1"', THEN)
DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = b"Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = b"Sun, 06 Nov 1994 08:49:38 GMT"
SEND, UNCHANGED, FAILED = Outcome.SEND, Outcome.UNCHANGED, Outcome.FAILED


def head(*lines: bytes) -> dict[bytes, bytes]:
    block = b"\r\n".join([b"GET / HTTP/1.1", b"Host: here", *lines])
    return read_fields(parse_request(block, HeadLimits()).fields)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], SEND),
        ([b'If-None-Match: "a-1"'], UNCHANGED),
        ([b'if-none-match: W/"a-1"'], UNCHANGED),
        ([b"If-None-Match: *"], UNCHANGED),
        ([b'If-None-Match: "b", "a-1" , "c"'], UNCHANGED),
        ([b'If-None-Match: "b"', b'If-None-Match: "a-1"'], UNCHANGED),
        ([b'If-None-Match: "a-2"'], SEND),
        ([b"If-None-Match: a-1"], SEND),
        ([b'If-None-Match: "a-1'], SEND),
        ([b'If-None-Match: ",a-1"'], SEND),
        ([b"If-Modified-Since: " + DATE], UNCHANGED),
        ([b"If-Modified-Since: " + AFTER], UNCHANGED),
        ([b"If-Modified-Since: " + BEFORE], SEND),
        ([b"If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT"], UNCHANGED),
        ([b"If-Modified-Since: Sun Nov  6 08:49:37 1994"], UNCHANGED),
        ([b"If-Modified-Since: 784111777"], SEND),
        ([b"If-Modified-Since: Sun, 06 Nov 1994 08:49:37 CET"], SEND),
        ([b"If-Modified-Since: Sun, 99 Nov 1994 08:49:37 GMT"], SEND),
        # Where there is a tag, the date counts for nothing.
        ([b'If-None-Match: "b"', b"If-Modified-Since: " + DATE], SEND),
        ([b'If-Match: "a-1"'], SEND),
        ([b"If-Match: *"], SEND),
        ([b'If-Match: "b", "a-1"'], SEND),
        ([b'If-Match: W/"a-1"'], FAILED),
        ([b'If-Match: "b"'], FAILED),
        ([b"If-Unmodified-Since: " + DATE], SEND),
        ([b"If-Unmodified-Since: " + BEFORE], FAILED),
        ([b"If-Unmodified-Since: yesterday"], SEND),
        ([b'If-Match: "a-1"', b"If-Unmodified-Since: " + BEFORE], SEND),
        ([b'If-Match: "b"', b'If-None-Match: "a-1"'], FAILED),
    ],
)
def test_the_conditions_of_a_get(lines: list[bytes], expected: Outcome) -> None:
    assert outcome(head(*lines), FILE) is expected


@pytest.mark.parametrize(
    ("line", "later", "expected"),
    [
        (b"Accept: */*", 0, True),
        (b'If-Range: "a-1"', 0, True),
        (b'If-Range: W/"a-1"', 0, False),
        (b'If-Range: "b"', 0, False),
        (b"If-Range: " + DATE, 1, True),
        # It may change once more within that second.
        (b"If-Range: " + DATE, 0.9, False),
        (b"If-Range: " + AFTER, 60, False),
        (b"If-Range: " + BEFORE, 60, False),
        (b"If-Range: soon", 60, False),
    ],
)
def test_whether_a_range_counts(line: bytes, later: float, expected: bool) -> None:
    assert wants_ranges(head(line), FILE, THEN + later) is expected


def test_a_long_list_of_tags_is_read_once() -> None:
    tags = b", ".join(b'"%d"' % number for number in range(2000))
    assert outcome({b"if-none-match": tags}, FILE) is SEND
    assert outcome({b"if-none-match": b'"a-1"' + b"," * 30000 + b"x"}, FILE) is SEND
