"""Framing: what a head says about its body, or the message is refused."""

from __future__ import annotations

import pytest

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.framing import (
    ChunkedDecoder,
    CloseDecoder,
    Decoder,
    LengthDecoder,
    request_framing,
    response_framing,
    stated_length,
)
from ipyproxy.http1.head import HeadLimits, parse_request, parse_response
from ipyproxy.http1.lines import lines_of
from tests.http1.bodies import feed

LIMITS = HeadLimits()


def of_request(*fields: bytes, minor: int = 1, method: bytes = b"POST") -> Decoder | None:
    line = b"%b / HTTP/1.%d" % (method, minor)
    return request_framing(parse_request(b"\r\n".join([line, *fields]), LIMITS))[0]


def of_response(
    *fields: bytes, minor: int = 1, status: int = 200, method: bytes = b"GET"
) -> Decoder | None:
    line = b"HTTP/1.%d %d OK" % (minor, status)
    return response_framing(parse_response(b"\r\n".join([line, *fields])), method)[0]


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
