"""Which coding a client gets, by what it says of Accept-Encoding."""

from __future__ import annotations

import pytest

from ipyproxy.encoding.accepted import accepted, choose

ALL = (b"zstd", b"br", b"gzip")


@pytest.mark.parametrize(
    ("said", "coding"),
    [
        (b"gzip, deflate, br, zstd", b"zstd"),
        (b"gzip, deflate, br", b"br"),
        (b"gzip", b"gzip"),
        (b"x-gzip", b"gzip"),
        (b"GZIP", b"gzip"),
        (b"br;q=0.5, gzip;q=0.8, zstd;q=0.1", b"gzip"),
        (b"br;q=1.0, zstd;q=0.999", b"br"),
        (b"gzip;q=0, br ; q=0.2", b"br"),
        (b"*", b"zstd"),
        (b"*, zstd;q=0", b"br"),
        (b"*;q=0.1, gzip;q=0.2", b"gzip"),
        (b"zstd;q=0.5, identity", None),
        (b"zstd;q=0.5, identity;q=0.5", b"zstd"),
        (b"zstd, identity;q=0", b"zstd"),
        (b"deflate", None),
        (b"identity", None),
        (b"gzip;q=0", None),
        (b"", None),
        (b"zstd;q=2, gzip", b"gzip"),
        (b"zstd;q=0.1234, gzip", b"gzip"),
        (b"z std, br", b"br"),
        (b"gzip;level=9, br", b"br"),
        (b"," * 200 + b"gzip" + b"," * 200, None),
    ],
)
def test_weights_decide(said: bytes, coding: bytes | None) -> None:
    assert choose([said], ALL) == coding


def test_several_fields_are_one_list() -> None:
    assert choose([b"gzip;q=0.5", b"br"], ALL) == b"br"


def test_nothing_said_is_nothing_accepted() -> None:
    assert choose([], ALL) is None


def test_what_is_not_available_is_not_chosen() -> None:
    assert choose([b"zstd, br, gzip;q=0.1"], (b"gzip",)) == b"gzip"
    assert choose([b"zstd, br, gzip;q=0.1"], ()) is None


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"", ()),
        (b"gzip, deflate, br, zstd", (b"zstd", b"br", b"gzip")),
        (b"gzip;q=1.0, br;q=0.5", (b"gzip", b"br")),
        (b"GZIP", (b"gzip",)),
        (b"x-gzip", (b"gzip",)),
        (b"br;q=0, gzip", (b"gzip",)),
        (b"*", (b"zstd", b"br", b"gzip")),
        (b"*;q=0.1, br;q=0", (b"zstd", b"gzip")),
        (b"identity", ()),
        (b"gzip;q=nonsense", ()),
        (b"," * 8000 + b"gzip", ()),
    ],
)
def test_all_that_a_client_takes(field: bytes, expected: tuple[bytes, ...]) -> None:
    assert accepted([field], ALL) == expected
