"""RFC 9110 section 14: which parts of a file a request asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ipyproxy.files.ranges import MOST_RANGES, content_range, spans


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"bytes=0-0", [(0, 1)]),
        (b"bytes=0-", [(0, 1000)]),
        (b"bytes=500-599", [(500, 600)]),
        (b"bytes=999-", [(999, 1000)]),
        (b"bytes=0-5000", [(0, 1000)]),
        (b"bytes=-1", [(999, 1000)]),
        (b"bytes=-5000", [(0, 1000)]),
        (b"Bytes=1-2", [(1, 3)]),
        (b"bytes=1-2, 5-6", [(1, 3), (5, 7)]),
        (b"bytes=5-6,1-2", [(5, 7), (1, 3)]),
        (b"bytes= 1-2 ,, 5-6\t", [(1, 3), (5, 7)]),
        (b"bytes=1-2,5000-6000", [(1, 3)]),
        # Nothing of these is there.
        (b"bytes=1000-", []),
        (b"bytes=1000-2000,3000-", []),
        (b"bytes=-0", []),
        # These count for nothing.
        (b"bytes=", None),
        (b"bytes=,", None),
        (b"bytes=-", None),
        (b"bytes=5-4", None),
        (b"bytes=1-2,x", None),
        (b"bytes=1--2", None),
        (b"bytes=+1-2", None),
        (b"bytes=0x1-2", None),
        (b"bytes 1-2", None),
        (b"lines=1-2", None),
        (b"bytes=1-2;q=1", None),
        (b"bytes=" + b"9" * 19 + b"-", None),
    ],
)
def test_a_field(field: bytes, expected: list[tuple[int, int]] | None) -> None:
    found = spans(field, 1000)
    assert (None if found is None else [tuple(span) for span in found]) == expected


@pytest.mark.parametrize(
    "field",
    [
        b"bytes=0-,0-",
        b"bytes=0-999,0-0",
        b"bytes=" + b",".join([b"5-"] * 8000),
        b"bytes=0-" + b"".join(b",%d-" % number for number in range(1300)),
        b"bytes=" + b",".join(b"%d-%d" % (n, n) for n in range(MOST_RANGES + 1)),
        b"bytes=" + b"," * 8000 + b"1-2",
    ],
)
def test_no_field_costs_more_than_the_whole_file(field: bytes) -> None:
    assert spans(field, 1000) is None


def test_of_an_empty_file_there_is_only_the_whole() -> None:
    assert spans(b"bytes=0-", 0) is None


@given(some.binary(max_size=60), some.integers(0, 50))
def test_whatever_is_asked_for_is_in_the_file(field: bytes, size: int) -> None:
    found = spans(b"bytes=" + field, size) or ()
    assert all(0 <= span.start < span.end <= size for span in found)
    assert sum(span.end - span.start for span in found) <= size


def test_how_a_part_is_told() -> None:
    (span,) = spans(b"bytes=1-2", 5) or ()
    assert content_range(span, 5) == b"bytes 1-2/5"
    assert content_range(None, 5) == b"bytes */5"
