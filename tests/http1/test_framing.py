"""Framing: a body ends where its head says, however TCP cuts it, or the message is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.framing import (
    LAST_CHUNK,
    ChunkedDecoder,
    CloseDecoder,
    Decoder,
    LengthDecoder,
    chunk,
    request_framing,
    response_framing,
    stated_length,
)
from ipyproxy.http1.head import (
    HeadLimits,
    parse_request,
    parse_response,
)
from ipyproxy.http1.lines import lines_of

from . import grammar

LIMITS = HeadLimits()


def of_request(*fields: bytes, minor: int = 1, method: bytes = b"POST") -> Decoder | None:
    line = b"%b / HTTP/1.%d" % (method, minor)
    return request_framing(parse_request(b"\r\n".join([line, *fields]), LIMITS))[0]


def of_response(
    *fields: bytes, minor: int = 1, status: int = 200, method: bytes = b"GET"
) -> Decoder | None:
    line = b"HTTP/1.%d %d OK" % (minor, status)
    return response_framing(parse_response(b"\r\n".join([line, *fields])), method)[0]


def feed(decoder: Decoder, *pieces: bytes) -> tuple[bytes, bytes]:
    """Feed as a connection does; give the whole body and what was left over."""
    body, rest = b"", b""
    for piece in pieces:
        if decoder.done:
            rest += piece
        else:
            payload, rest = decoder.feed(piece)
            body += payload
    return body, rest


def one_by_one(stream: bytes) -> list[bytes]:
    return [stream[at : at + 1] for at in range(len(stream))]


# What a request says about its body.


@pytest.mark.parametrize("method", [b"GET", b"POST", b"DELETE", b"OPTIONS"])
def test_a_request_without_a_word_about_a_body_has_none(method: bytes) -> None:
    assert of_request(b"Host: a", method=method) is None
    assert of_request(b"Content-Length: 0", method=method) is None


@pytest.mark.parametrize("value", [b"5", b"05", b"000000000000000005"])
def test_a_request_states_its_length(value: bytes) -> None:
    decoder = of_request(b"Content-Length: " + value)
    assert decoder is not None
    assert decoder.length == 5
    assert feed(decoder, b"hello, next") == (b"hello", b", next")


@pytest.mark.parametrize("value", [b"chunked", b"Chunked", b"CHUNKED", b"  chunked\t"])
def test_a_request_is_chunked(value: bytes) -> None:
    decoder = of_request(b"Transfer-Encoding:" + value)
    assert isinstance(decoder, ChunkedDecoder)
    assert decoder.length is None


REPEATED = (b"5,5", b"5, 5")
NO_LENGTHS = [
    b"", b"+5", b"-5", b"-0", b"5_0", b"0x5", b"5 5", b"5,5", b"5, 5", b"5;", b"5.0", b"5e1",
    b"1e1", b"0b1", b"five", b'"5"', b"\xb2", "５".encode(), "٥".encode(), b"5\xa0", b"\x855",
    b"9999999999999999999", b"18446744073709551621", b"0000000000000000000", b"9" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("value", NO_LENGTHS)
def test_a_length_that_is_no_plain_number(value: bytes) -> None:
    with pytest.raises(ProxyError) as caught:
        of_request(b"Content-Length: " + value)
    assert caught.value.problem is Problem.BAD_REQUEST


NO_CODINGS = [
    b"", b",", b"chunked,", b",chunked", b"chunked, chunked", b"chunked, identity",
    b"identity, chunked", b"gzip, chunked", b"chunked;q=1", b"chunked;", b"chunked; a=b",
    b"xchunked", b"chunkedx", b"chunk", b"identity", b"gzip", b'"chunked"', b"chun ked",
    b"\xa0chunked", b"chunked\x85", "chunКed".encode(), b"cow",
]  # fmt: skip


@pytest.mark.parametrize("value", NO_CODINGS)
def test_a_coding_that_is_not_chunked_alone(value: bytes) -> None:
    with pytest.raises(ProxyError) as caught:
        of_request(b"Transfer-Encoding: " + value)
    assert caught.value.problem is Problem.NOT_IMPLEMENTED


AMBIGUOUS = [
    [b"Content-Length: 5", b"Content-Length: 6"],
    [b"Content-Length: 5", b"Content-Length: 05"],
    [b"Content-Length: 5, 6"],
    [b"Content-Length: 5,"],
    [b"Content-Length: 5", b"content-length:"],
    [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
    [b"Transfer-Encoding: chunked", b"Content-Length: 0"],
    [b"Transfer-Encoding: identity", b"Content-Length: 5"],
    [b"Transfer-Encoding:", b"Content-Length: 5"],
    [b"Transfer-Encoding: chunked", b"transfer-encoding: chunked"],
    [b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"],
    [b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"],
    [b"Transfer-Encoding:", b"Transfer-Encoding: chunked"],
]
EQUAL = [
    [b"Content-Length: 5", b"Content-Length: 5"],
    [b"Content-Length: 5, 5"],
    [b"Content-Length: 5,5", b"Content-Length:  5 "],
]


@pytest.mark.parametrize("fields", [*AMBIGUOUS, *EQUAL])
def test_two_statements_are_one_too_many(fields: list[bytes]) -> None:
    with pytest.raises(ProxyError):
        of_request(*fields)
    if fields in EQUAL:
        return
    with pytest.raises(ProxyError) as caught:
        of_response(*fields)
    assert caught.value.problem is Problem.UPSTREAM_BROKEN
    assert caught.value.rule == caught.value.detail != ""


@pytest.mark.parametrize("fields", EQUAL)
def test_a_response_may_state_one_length_several_times(fields: list[bytes]) -> None:
    """RFC 9110 section 8.6: one value takes the place of the duplicates, and we send that."""
    decoder = of_response(*fields)
    assert isinstance(decoder, LengthDecoder)
    assert decoder.length == 5
    head = parse_response(b"\r\n".join([b"HTTP/1.1 304 Not Modified", *fields]))
    assert stated_length(head) == 5


@pytest.mark.parametrize("padding", [b" ", b"\t", b"    ", b" \t "])
@pytest.mark.parametrize("extension", [b"", b";a=b"])
def test_blanks_behind_a_chunk_s_size_are_read_over_in_a_response_only(
    padding: bytes, extension: bytes
) -> None:
    body = b"5%b%b\r\nhello\r\n0%b\r\n\r\n" % (extension, padding, padding)
    decoder = of_response(b"Transfer-Encoding: chunked")
    assert decoder is not None
    assert decoder.feed(body) == (b"hello", b"")
    assert decoder.done
    of_a_request = of_request(b"Transfer-Encoding: chunked")
    assert of_a_request is not None
    with pytest.raises(ProxyError, match="does not begin with its size"):
        of_a_request.feed(body)


@pytest.mark.parametrize("line", [b" 5", b"5 5", b"5 x", b"5 \x0b", b"5\xa0", b"5 \n", b"5 ;"])
def test_other_blanks_about_a_chunk_s_size_stay_refused(line: bytes) -> None:
    decoder = of_response(b"Transfer-Encoding: chunked")
    assert decoder is not None
    with pytest.raises(ProxyError):
        decoder.feed(line + b"\r\nhello\r\n0\r\n\r\n")


def test_http_1_0_knows_no_transfer_coding() -> None:
    with pytest.raises(ProxyError) as caught:
        of_request(b"Transfer-Encoding: chunked", minor=0)
    assert caught.value.problem is Problem.BAD_REQUEST
    with pytest.raises(ProxyError) as caught:
        of_response(b"Transfer-Encoding: chunked", minor=0)
    assert caught.value.problem is Problem.UPSTREAM_BROKEN


@pytest.mark.parametrize(
    "field", [b"X-Transfer-Encoding: chunked", b"Transfer_Encoding: chunked", b"Content_Length: 5"]
)
def test_what_only_looks_like_framing_frames_nothing_and_does_not_travel_as_if(
    field: bytes,
) -> None:
    head = parse_request(b"POST / HTTP/1.1\r\n" + field, LIMITS)
    assert request_framing(head)[0] is None
    assert not [line for line in lines_of(head.fields.plain) if line.startswith((b"Tr", b"Co"))]


# What a response says about its body.


def test_a_response_without_a_word_lasts_until_the_connection_ends() -> None:
    decoder = of_response()
    assert isinstance(decoder, CloseDecoder)
    assert decoder.ends_at_close
    assert feed(decoder, b"a", b"", b"bc") == (b"abc", b"")
    assert not decoder.done


def test_a_response_of_length_0_is_whole_at_once() -> None:
    decoder = of_response(b"Content-Length: 0")
    assert decoder is not None
    assert decoder.done


@pytest.mark.parametrize(
    ("status", "method"), [(204, b"GET"), (304, b"GET"), (200, b"HEAD"), (404, b"HEAD")]
)
def test_a_response_that_has_no_body_whatever_it_says(status: int, method: bytes) -> None:
    assert of_response(status=status, method=method) is None
    assert of_response(b"Content-Length: 5", status=status, method=method) is None
    assert of_response(b"Transfer-Encoding: chunked", status=status, method=method) is None


@pytest.mark.parametrize("status", [200, 204, 304])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("value", [value for value in NO_LENGTHS if value not in REPEATED])
def test_a_response_s_length_is_looked_at_even_where_there_is_no_body(
    status: int, method: bytes, value: bytes
) -> None:
    with pytest.raises(ProxyError) as caught:
        of_response(b"Content-Length: " + value, status=status, method=method)
    assert caught.value.problem is Problem.UPSTREAM_BROKEN


@pytest.mark.parametrize("value", NO_CODINGS)
def test_a_response_s_coding_that_is_not_chunked_alone(value: bytes) -> None:
    with pytest.raises(ProxyError) as caught:
        of_response(b"Transfer-Encoding: " + value)
    assert caught.value.problem is Problem.UPSTREAM_BROKEN


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


@pytest.mark.parametrize(
    ("fields", "minor", "persistent"),
    [
        ([], 1, True),
        ([b"Connection: keep-alive"], 1, True),
        ([b"Connection: close"], 1, False),
        ([b"Connection: X, CLOSE"], 1, False),
        ([b"Connection: X", b"Connection: Close"], 1, False),
        ([b"Connection: closed"], 1, True),
        ([], 0, False),
        ([b"Connection: keep-alive"], 0, True),
        ([b"Connection: close, keep-alive"], 0, False),
        ([b"Proxy-Connection: keep-alive"], 0, False),
    ],
)
def test_who_keeps_a_connection_open(fields: list[bytes], minor: int, persistent: bool) -> None:
    line = b"GET / HTTP/1.%d" % minor
    head = parse_request(b"\r\n".join([line, *fields]), LIMITS)
    assert request_framing(head)[1] is persistent


def test_what_follows_a_connect_is_no_request() -> None:
    head = parse_request(b"CONNECT hub.example:443 HTTP/1.1\r\nHost: hub.example", LIMITS)
    assert request_framing(head)[1] is False
