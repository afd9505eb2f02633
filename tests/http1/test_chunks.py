"""Bodies: one ends where its head says, however TCP cuts it; chunks that are none are refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.framing import LAST_CHUNK, ChunkedDecoder, LengthDecoder, chunk
from tests.http1.bodies import feed

from . import grammar


def one_by_one(stream: bytes) -> list[bytes]:
    return [stream[at : at + 1] for at in range(len(stream))]


# Chunks.


@pytest.mark.parametrize(
    "stream",
    [
        b"5\r\nhello\r\n0\r\n\r\n",
        b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        b"0005\r\nhello\r\n000\r\n\r\n",
        b"5;a\r\nhello\r\n0;b=c\r\n\r\n",
        b'5 ; a = "q\\"\xff; "\t;b=t\r\nhello\r\n0\r\n\r\n',
        b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Empty:\r\n\r\n",
        b"5\r\nhello\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: gzip\r\nHost: b\r\n\r\n",
    ],
)
def test_chunks_hold_a_body(stream: bytes) -> None:
    for pieces in ([stream + b"GET"], [*one_by_one(stream), b"GET"]):
        decoder = ChunkedDecoder()
        assert feed(decoder, *pieces) == (b"hello", b"GET")
        assert decoder.done


@pytest.mark.parametrize(
    "stream",
    [
        b"\r\n",
        b"\n",
        b"5\nhello\n0\n\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\rhello\r0\r\r\n",
        b"5\r\nhello\r\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhellooo\r\n",
        b"6\r\nhello\r\n0\r\n\r\n",
        b"4\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n",
        b"-5\r\nhello\r\n",
        b"-0\r\n\r\n",
        b"0x5\r\nhello\r\n",
        b"5_0\r\n",
        b"5h\r\n",
        b"five\r\n",
        b" 5\r\nhello\r\n",
        b"\t5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"5\t\r\nhello\r\n",
        b"5\0\r\nhello\r\n",
        b"5\x0b\r\nhello\r\n",
        "５\r\nhello\r\n".encode(),
        b"5,\r\nhello\r\n",
        b"5;\r\nhello\r\n",
        b"5;;\r\nhello\r\n",
        b"5; a b\r\nhello\r\n",
        b"5;a=\r\nhello\r\n",
        b"5;=a\r\nhello\r\n",
        b'5;a="\r\nhello\r\n',
        b'5;a="\\"\r\nhello\r\n',
        b"5;a=b\n\r\nhello\r\n",
        b"5;a=b\nc\r\nhello\r\n",
        b"5;a=b\rc\r\nhello\r\n",
        b"5;a=\0\r\nhello\r\n",
        b"5;\xff\r\nhello\r\n",
        b"0\r\n: x\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\nX : y\r\n\r\n",
        b"0\r\n X: y\r\n\r\n",
        b"0\r\nX: y\n\r\n\r\n",
        b"0\r\nX: y\n\n",
        b"0\r\n\n",
        b"0\n\r\n",
        b"0\r\nX: \0\r\n\r\n",
        b"0000000000000005\r\nhello\r\n",
        b"FFFFFFFFFFFFFFFF\r\n",
        b"10000000000000005\r\nhello\r\n",
    ],
)
def test_chunks_that_are_none(stream: bytes) -> None:
    for pieces in ([stream], one_by_one(stream)):
        decoder = ChunkedDecoder()
        with pytest.raises(ProxyError) as caught:
            feed(decoder, *pieces)
        assert caught.value.problem is Problem.BAD_REQUEST


@pytest.mark.parametrize("start", [b"5;a=", b"0\r\nX: ", b"0\r\n" + b"X: y\r\n" * 1365])
def test_what_never_ends_is_refused_before_it_fills_memory(start: bytes) -> None:
    for pieces in ([start, b"a" * 20_000], [start, *one_by_one(b"a" * 20_000)]):
        with pytest.raises(ProxyError, match="too long"):
            feed(ChunkedDecoder(), *pieces)


def test_trailers_without_end_are_refused() -> None:
    with pytest.raises(ProxyError, match="too long"):
        feed(ChunkedDecoder(), b"0\r\n", *[b"X: y\r\n"] * 2000)


def test_a_size_line_at_its_limit_is_taken_wherever_it_is_cut() -> None:
    line = b"5;a=" + b"x" * 252
    stream = line + b"\r\nhello\r\n0\r\n\r\n"
    for at in range(len(stream)):
        assert feed(ChunkedDecoder(), stream[:at], stream[at:])[0] == b"hello"
    for at in range(len(stream)):
        with pytest.raises(ProxyError):
            feed(ChunkedDecoder(), (b"5;a=x" + stream[4:])[:at], (b"5;a=x" + stream[4:])[at:])


def test_a_trailer_at_its_limit_is_taken_wherever_it_is_cut() -> None:
    stream = b"0\r\nX: " + b"y" * 8187 + b"\r\n\r\n"
    for at in (1, 5, 8190, *range(len(stream) - 6, len(stream))):
        decoder = ChunkedDecoder()
        feed(decoder, stream[:at], stream[at:])
        assert decoder.done


def test_a_chunk_is_handed_out_as_it_comes() -> None:
    decoder = ChunkedDecoder()
    assert decoder.feed(b"FFFFFFFFFFFFFFF\r\nab") == (b"ab", b"")
    assert decoder.feed(b"cd") == (b"cd", b"")
    assert not decoder.done


# Any cut gives the same body; what is sent is what was received.

BODIES = st.lists(st.binary(min_size=1, max_size=20), max_size=5)


@st.composite
def cut(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    ends = sorted(draw(st.sets(st.integers(0, len(stream)), max_size=8)) | {0, len(stream)})
    return [stream[a:b] for a, b in pairwise(ends)]


@given(BODIES, st.binary(max_size=5), st.data())
def test_chunks_come_back_whole_however_they_are_cut(
    bodies: list[bytes], rest: bytes, data: st.DataObject
) -> None:
    stream = b"".join(map(chunk, bodies)) + LAST_CHUNK + rest
    assert grammar.chunked_body(stream) == (b"".join(bodies), rest)
    assert feed(ChunkedDecoder(), *data.draw(cut(stream))) == (b"".join(bodies), rest)


@given(st.binary(max_size=30), st.integers(0, 30), st.data())
def test_a_body_of_a_stated_length_comes_back_whole_however_it_is_cut(
    stream: bytes, length: int, data: st.DataObject
) -> None:
    decoder = LengthDecoder(length)
    assert feed(decoder, *data.draw(cut(stream))) == (stream[:length], stream[length:])
    assert decoder.done == (len(stream) >= length)


PIECES = [
    b"0", b"1", b"2", b"a", b"F", b"\r\n", b"\r\n", b"\r", b"\n", b";", b"=", b'"', b"\\", b"x",
    b" ", b"\t", b":", b"\0", b"\xff", b"+", b"_", b",", b"0\r\n", b"1\r\nx\r\n",
    b"2;a=b\r\nxy\r\n", b"0\r\n\r\n", b"X: y\r\n",
]  # fmt: skip
STREAMS = st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join)


@given(STREAMS, st.data())
@example(b'1 ;a="\\\xff"\r\nx\r\n0\r\n\r\nrest', None)
def test_chunks_are_taken_only_if_the_grammar_has_them(
    stream: bytes, data: st.DataObject | None
) -> None:
    pieces = data.draw(cut(stream)) if data else one_by_one(stream)
    decoder = ChunkedDecoder()
    try:
        result = feed(decoder, *pieces)
    except ProxyError:
        assert grammar.chunked_body(stream) is None
    else:
        assert (result if decoder.done else None) == grammar.chunked_body(stream)
