"""Tags of what is encoded: marked on the way out, and understood when they come back."""

from __future__ import annotations

import pytest

from ipyproxy.encoding.etags import is_strong, marked, unmarked

ALL = (b"zstd", b"br", b"gzip")


def test_a_strong_tag_is_marked_and_a_weak_one_stands_for_both() -> None:
    assert marked(b'"abc"', b"zstd") == b'"abc~ipy-zstd"'
    assert marked(b'W/"abc"', b"zstd") == b'W/"abc"'
    assert marked(b"abc", b"zstd") == b"abc"


@pytest.mark.parametrize("tag", [b'"a b"', b'"a"b"', b"a", b'W/"a"', b'"', b""])
def test_what_is_no_strong_tag(tag: bytes) -> None:
    assert not is_strong(tag)


@pytest.mark.parametrize("name", [b"If-None-Match", b"if-match"])
def test_marks_are_taken_off_conditions(name: bytes) -> None:
    block = b'Accept: */*\r\n%b: "a~ipy-br", W/"b", "c~ipy-gzip"\r\n' % name
    bare = b'Accept: */*\r\n%b: "a", W/"b", "c"\r\n' % name
    assert unmarked(block, ALL) == (bare, {b'"a"': b"br", b'"c"': b"gzip"})


@pytest.mark.parametrize(
    "block",
    [
        # A part of what was not encoded must not be put together with one of what was.
        b'If-Range: "a~ipy-zstd"\r\n',
        b'X-If-Match: "a~ipy-zstd"\r\n',
        b"Cookie: a~ipy-zstd\r\n",
        b'If-Match: "a~ipy-lzma"\r\n',
        b"If-Match: a~ipy-zstd\r\n",
    ],
)
def test_nothing_else_is(block: bytes) -> None:
    assert unmarked(block, ALL) == (block, {})


def test_of_two_marks_one_is_ours() -> None:
    block = b'If-None-Match: "a~ipy-zstd~ipy-gzip"\r\n'
    assert unmarked(block, ALL) == (b'If-None-Match: "a~ipy-zstd"\r\n', {b'"a~ipy-zstd"': b"gzip"})


def test_a_cache_that_asks_for_a_client_hears_of_no_coding_that_this_one_does_not_take() -> None:
    block = b'If-None-Match: "a~ipy-zstd", "b~ipy-gzip"\r\n'
    assert unmarked(block, (b"gzip",)) == (
        b'If-None-Match: "a~ipy-zstd", "b"\r\n',
        {b'"b"': b"gzip"},
    )


def test_what_was_read_in_any_coding_may_be_changed() -> None:
    block = b'If-Match: "a~ipy-zstd"\r\n'
    assert unmarked(block, ()) == (b'If-Match: "a"\r\n', {b'"a"': b"zstd"})
