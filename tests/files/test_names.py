"""A path either names something below the directory, or nothing at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.files.names import below
from ipyproxy.files.types import content_type, is_compressible


@pytest.mark.parametrize(
    ("prefix", "path", "segments", "slash"),
    [
        (b"", b"/", (), True),
        (b"", b"/a", (b"a",), False),
        (b"", b"/a/", (b"a",), True),
        (b"/static", b"/static", (), False),
        (b"/static", b"/static/", (), True),
        (b"/static", b"/static/a/b.js", (b"a", b"b.js"), False),
        (b"", b"/a%20b/%C3%A9;x", (b"a b", b"\xc3\xa9;x"), False),
        (b"", b"/%252e%252e", (b"%2e%2e",), False),
        (b"", b"/100%", (b"100%",), False),
        (b"", b"/.well-known/security.txt", (b".well-known", b"security.txt"), False),
        (b"", b"/a..b", (b"a..b",), False),
    ],
)
def test_what_names_something(
    prefix: bytes, path: bytes, segments: tuple[bytes, ...], slash: bool
) -> None:
    assert below(prefix, path) == (segments, slash)


@pytest.mark.parametrize(
    "path",
    [
        b"/..", b"/../x", b"/a/../b", b"/.", b"/./a", b"/%2e%2e/x", b"/.%2e/x", b"/a%2Fb",
        b"/a%2fb", b"/a%2f..%2fb", b"//a", b"/a//b", b"/%00", b"/a%00.html", b"/.git/config",
        b"/a/.htpasswd", b"/%2egit/config", b"/a/.well-known/x", b"/...", b"/" + b"a" * 256,
    ],
)  # fmt: skip
def test_what_names_nothing(path: bytes) -> None:
    with pytest.raises(ProxyError) as caught:
        below(b"", path)
    assert caught.value.problem is Problem.NOT_FOUND


@pytest.mark.parametrize("path", [b"/staticx", b"/static2/a", b"/", b"/other"])
def test_what_is_not_below_the_prefix(path: bytes) -> None:
    with pytest.raises(ProxyError):
        below(b"/static", path)


@given(some.lists(some.sampled_from(
    [b"/", b"..", b".", b"%2e", b"%2F", b"%2f", b"%5c", b"%00", b"a", b"%25", b";", b"\xc0\xae"]
), max_size=12))  # fmt: skip
def test_no_name_climbs(parts: list[bytes]) -> None:
    try:
        name = below(b"", b"/" + b"".join(parts))
    except ProxyError:
        return
    for segment in name.segments:
        assert segment not in (b"", b".", b"..")
        assert b"/" not in segment
        assert b"\0" not in segment


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"index.html", b"text/html; charset=utf-8"),
        (b"A.HTML", b"text/html; charset=utf-8"),
        (b"a.css", b"text/css; charset=utf-8"),
        (b"a.js", b"text/javascript; charset=utf-8"),
        (b"a.mjs", b"text/javascript; charset=utf-8"),
        (b"a.json", b"application/json"),
        (b"a.js.map", b"application/json"),
        (b"a.svg", b"image/svg+xml"),
        (b"a.png", b"image/png"),
        (b"a.webp", b"image/webp"),
        (b"favicon.ico", b"image/x-icon"),
        (b"a.woff2", b"font/woff2"),
        (b"a.wasm", b"application/wasm"),
        (b"a.pdf", b"application/pdf"),
        (b"a.mp4", b"video/mp4"),
        (b"a.ipynb", b"application/x-ipynb+json"),
        (b"a.tar.gz", b"application/gzip"),
        (b"a.vcf", b"text/plain; charset=utf-8"),
        (b"a.bam", b"application/octet-stream"),
        (b"Makefile", b"application/octet-stream"),
        (b"a." + b"x" * 200, b"application/octet-stream"),
        (b"a.\xff\xfe", b"application/octet-stream"),
    ],
)
def test_types(name: bytes, expected: bytes) -> None:
    assert content_type(name) == expected


def test_what_may_have_a_compressed_copy() -> None:
    assert all(map(is_compressible, (b"a.js", b"a.html", b"a.svg", b"a.json", b"a.wasm", b"a.ttf")))
    assert not any(map(is_compressible, (b"a.png", b"a.gz", b"a.woff2", b"a.bam", b"a")))
