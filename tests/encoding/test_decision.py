"""Which answers may be encoded and kept, and what the client is told of them."""

from __future__ import annotations

import pytest

from ipyproxy.encoding.decision import (
    condition_of,
    encoded_fields,
    may_encode,
    may_keep,
    refreshed_fields,
    varying_fields,
)
from ipyproxy.http1.head import ResponseHead, parse_response

SCRIPT = b"Content-Type: text/javascript; charset=utf-8"
PAGE = b"Content-Type: text/html"


def head(*lines: bytes) -> ResponseHead:
    return parse_response(b"\r\n".join([b"HTTP/1.1 200 OK", *lines]))


def block(*lines: bytes) -> bytes:
    return b"".join(line + b"\r\n" for line in lines)


@pytest.mark.parametrize(
    "lines",
    [
        (SCRIPT,),
        (b"Content-Type: TEXT/CSS",),
        (b"Content-Type: image/svg+xml", b"Cache-Control: private"),
        (b"Content-Type: application/wasm",),
        (SCRIPT, b"Content-Encoding: identity"),
        (PAGE, b"Cache-Control: public, max-age=3600"),
        (b"Content-Type: application/json", b"Cache-Control: immutable"),
    ],
)
def test_what_is_static_is_encoded(lines: tuple[bytes, ...]) -> None:
    assert may_encode(head(*lines).fields.special, False)


@pytest.mark.parametrize(
    "lines",
    [
        (PAGE,),
        (PAGE, b"Cache-Control: max-age=0"),
        (PAGE, b"Cache-Control: max-age=60, private"),
        (PAGE, b"Cache-Control: max-age=60", b"Set-Cookie: a=b"),
        (b"Content-Type: application/json", b"Cache-Control: no-cache, max-age=60"),
        (b"Content-Type: text/plain",),
    ],
)
def test_documents_and_data_only_if_that_is_wanted(lines: tuple[bytes, ...]) -> None:
    special = head(*lines).fields.special
    assert not may_encode(special, False)
    assert may_encode(special, True)


@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Type: text/event-stream", b"Cache-Control: max-age=60"),
        (SCRIPT, b"Content-Encoding: gzip"),
        (SCRIPT, b"Content-Encoding: identity, br"),
        (SCRIPT, b"Content-Range: bytes 0-9/10"),
        (SCRIPT, b"Cache-Control: max-age=60, no-transform"),
        (b"Content-Type: image/png",),
        (b"Content-Type: font/woff2",),
        (b"Content-Type: application/octet-stream",),
        (),
    ],
)
def test_what_is_never_encoded(lines: tuple[bytes, ...]) -> None:
    assert not may_encode(head(*lines).fields.special, True)


@pytest.mark.parametrize(
    ("lines", "authorized"),
    [
        ((SCRIPT,), False),
        ((SCRIPT, b"Cache-Control: no-cache"), False),
        ((SCRIPT, b"Vary: Accept-Encoding"), False),
        ((SCRIPT, b"Cache-Control: public"), True),
        ((SCRIPT, b"Access-Control-Allow-Origin: *"), False),
        ((PAGE, b"Cache-Control: max-age=60"), False),
    ],
)
def test_what_may_be_kept(lines: tuple[bytes, ...], authorized: bool) -> None:
    assert may_keep(head(*lines).fields.special, authorized)


@pytest.mark.parametrize(
    ("lines", "authorized"),
    [
        ((SCRIPT, b"Cache-Control: no-store"), False),
        ((SCRIPT, b'Cache-Control: private="x"'), False),
        ((SCRIPT,), True),
        ((SCRIPT, b"Set-Cookie: a=b"), False),
        ((SCRIPT, b"Vary: Cookie"), False),
        ((SCRIPT, b"Vary: Accept-Encoding, Origin"), False),
        ((SCRIPT, b"Vary: *"), False),
        ((SCRIPT, b"Access-Control-Allow-Origin: https://a.example"), False),
        ((SCRIPT, b"Content-Location: /a"), False),
        ((PAGE,), False),
    ],
)
def test_what_may_not(lines: tuple[bytes, ...], authorized: bool) -> None:
    assert not may_keep(head(*lines).fields.special, authorized)


def test_the_fields_of_what_is_encoded() -> None:
    lines = (
        b'ETag: "1"',
        b"Accept-Ranges: bytes",
        b"Repr-Digest: sha-256=:x:",
        b"Content-MD5: x",
        b"Vary: Cookie",
        b"Content-Encoding: identity",
        b"Server: TornadoServer",
    )
    told = encoded_fields(block(*lines), head(*lines).fields.special, b"zstd")
    assert told == block(
        b'ETag: "1~ipy-zstd"',
        b"Server: TornadoServer",
        b"Content-Encoding: zstd",
        b"Vary: Cookie, Accept-Encoding",
    )


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([], b"Vary: Accept-Encoding"),
        ([b"Vary: Origin", b"Vary: Cookie"], b"Vary: Origin, Cookie, Accept-Encoding"),
        ([b"Vary: accept-encoding"], b"Vary: accept-encoding"),
        ([b"Vary: *"], b"Vary: *"),
    ],
)
def test_vary_is_merged(said: list[bytes], told: bytes) -> None:
    assert varying_fields(block(*said), head(*said).fields.special) == block(told)


DATE = b"Last-Modified: Sat, 28 Nov 2026 23:38:04 GMT"
FOR_EVER = b"Cache-Control: public, max-age=31536000, immutable"


@pytest.mark.parametrize(
    ("lines", "condition"),
    [
        ((b'ETag: "1"',), b'If-None-Match: "1"'),
        ((b'etag:"1" ', DATE, FOR_EVER), b'If-None-Match: "1"'),
        ((DATE, FOR_EVER), b"If-Modified-Since: Sat, 28 Nov 2026 23:38:04 GMT"),
        ((b'ETag: W/"1"', DATE, FOR_EVER), None),
        ((b"ETag: 1",), None),
        ((b'ETag: "1"', b'ETag: "2"'), None),
        ((b'X-ETag: "1"',), None),
        # What is put in its place may be older.
        ((DATE,), None),
        ((DATE, b"Cache-Control: max-age=31536000"), None),
        ((DATE, DATE, FOR_EVER), None),
        ((b"Last-Modified: yesterday", FOR_EVER), None),
    ],
)
def test_how_to_ask_whether_it_is_still_the_same(
    lines: tuple[bytes, ...], condition: bytes | None
) -> None:
    assert condition_of(head(*lines)) == condition


def test_what_is_kept_with_what_a_304_says_anew() -> None:
    kept = block(
        SCRIPT, b'ETag: "1~ipy-zstd"', b"Content-Encoding: zstd", b"Cache-Control: no-cache",
        b"Content-Security-Policy: a", b"Vary: Accept-Encoding",
    )  # fmt: skip
    said = block(
        b"Date: now", b'ETag: "1"', b"Cache-Control: max-age=60", b"Set-Cookie: a=b", b"Vary: x",
        b"Content-Type: text/html", b"Content-Length: 7",
    )  # fmt: skip
    assert refreshed_fields(kept, said) == block(
        SCRIPT, b'ETag: "1~ipy-zstd"', b"Content-Encoding: zstd", b"Content-Security-Policy: a",
        b"Vary: Accept-Encoding", b"Date: now", b"Cache-Control: max-age=60", b"Set-Cookie: a=b",
    )  # fmt: skip
