"""Heads of requests: what is no HTTP/1.1 is refused, whatever it was meant to be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.head import HeadLimits, parse_request, request_fields_reader, too_large
from ipyproxy.http1.lines import lines_of, split_field_line, split_tokens
from ipyproxy.http1.memory import FieldReader
from tests.http1.heads import LIMITS, refusal_of, request, response

# A request that is one.


def test_a_request_head_comes_apart() -> None:
    head = request(
        b"POST /ipython/10000/api?x=1 HTTP/1.1",
        b"Host: localhost:8443",
        b"X-One:1",
        b"Cookie: a=b",
        b"x-two: \t 2 2\t ",
        b"cookie: c=d",
        b"X-One: 3",
        b"X-Empty:",
    )
    assert (head.method, head.target, head.minor) == (b"POST", b"/ipython/10000/api?x=1", 1)
    assert lines_of(head.fields.plain) == [b"X-One: 1", b"x-two: 2 2", b"X-One: 3", b"X-Empty: "]
    assert head.fields.special == {b"host": [b"localhost:8443"], b"cookie": [b"a=b", b"c=d"]}


def test_a_head_without_fields_has_none() -> None:
    head = request(b"GET / HTTP/1.0")
    assert head.minor == 0
    assert lines_of(head.fields.plain) == []
    assert head.fields.special == {}


def test_fields_that_are_only_read_are_passed_on_as_well() -> None:
    fields = request(
        b"GET / HTTP/1.1", b"A: 1", b"User-AGENT:\tcurl", b"B: 2", b"accept: */*", b"Expect: x"
    ).fields
    assert lines_of(fields.plain) == [b"A: 1", b"B: 2"]
    assert lines_of(fields.special.verbatim) == [b"User-AGENT: curl", b"accept: */*", b"Expect: x"]
    assert fields.first(b"user-agent") == b"curl"
    assert fields.first(b"accept") == b"*/*"
    assert fields.first(b"expect") == b"x"


def test_special_fields_are_asked_for_by_name() -> None:
    fields = request(b"GET / HTTP/1.1", b"Via: 1.0 a", b"Via: 1.1 b", b"TE: trailers").fields
    assert fields.values(b"via") == [b"1.0 a", b"1.1 b"]
    assert fields.first(b"via") == b"1.0 a"
    assert fields.special.one(b"te") == b"trailers"
    assert fields.values(b"host") == []
    assert fields.first(b"host") is None
    assert fields.special.one(b"host") is None
    with pytest.raises(ProxyError, match="more than one via") as caught:
        fields.special.one(b"via")
    assert caught.value.problem is Problem.BAD_REQUEST


def test_members_of_a_list_come_from_all_its_fields() -> None:
    fields = request(
        b"GET / HTTP/1.1", b"Connection: Keep-Alive ,, \tX-A,", b"Connection:", b"connection: X-B"
    ).fields
    assert fields.tokens(b"connection") == (b"keep-alive", b"x-a", b"x-b")
    assert fields.tokens(b"te") == ()
    assert split_tokens(b" , ,\t,") == ()


@pytest.mark.parametrize(
    "target",
    [
        b"/ipython/10000/files/a%2Fb%25c%20d.ipynb",
        "/ipython/10000/tree/Übung".encode(),
        b"/x?q=[a]^`{|}\\%",
        b"/x?q=100%",
        b"*",
        b"http://localhost/",
        b"localhost:443",
    ],
)
def test_a_target_is_kept_byte_for_byte(target: bytes) -> None:
    assert request(b"GET " + target + b" HTTP/1.1").target == target


# A request that is none.


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"GET",
        b"GET /",
        b"GET / ",
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET / a HTTP/1.1",
        b"GET\t/\tHTTP/1.1",
        b"GET\x0b/\x0cHTTP/1.1",
        b"G\xc9T / HTTP/1.1",
        b"G(T / HTTP/1.1",
        b"GET\0 / HTTP/1.1",
        b"GET / http/1.1",
        b"GET / HTTP/1.1\r",
        b"GET / HTTP/1.1\n",
        b"\nGET / HTTP/1.1",
        b"GET / HTTP/1.",
        b"GET / HTTP/1,1",
        b"GET / HTTP/11",
        b"GET / HTTP/+1.1",
        b"GET / HTTP/1.1.1",
        b"GET / HTTPS/1.1",
        b"GET / ICY/1.1",
        b"GET / HTTP/\xb2.0",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_a_line_that_is_no_request_line(line: bytes) -> None:
    assert refusal_of(line) is Problem.BAD_REQUEST


@pytest.mark.parametrize("version", [b"0.9", b"1.2", b"1.9", b"2.0", b"3.0", b"9.9"])
def test_another_version_of_http(version: bytes) -> None:
    assert refusal_of(b"GET / HTTP/" + version) is Problem.VERSION_NOT_SUPPORTED


@pytest.mark.parametrize(
    "target",
    [b"/#top", b'/"', b"/<", b"/>", b"/\0", b"/\x01", b"/\t", b"/\x0b", b"/\x7f", b"/\r", b"/\n"],
)
def test_a_target_with_a_character_that_has_no_place_in_one(target: bytes) -> None:
    assert refusal_of(b"GET " + target + b" HTTP/1.1") is Problem.BAD_TARGET


BAD_FIELD_LINES = [
    b"",
    b":",
    b": x",
    b"no colon",
    b"Host : x",
    b"Host\t: x",
    b" Host: x",
    b"\tHost: x",
    b" folded",
    b"\tfolded",
    b" : ",
    b"Ho st: x",
    b"Ho\0st: x",
    b"H\xf6st: x",
    b"\xc2\xa0Host: x",
    b"Host\xa0: x",
    b"Host\x0b: x",
    b"(Host): x",
    b'"Host": x',
    b"Ho/st: x",
    b"Host@: x",
    b"[Host]: x",
    b"Host;x: y",
    b"Host, X: y",
    b"X: a\0b",
    b"X: a\rb",
    b"X: a\nb",
    b"X: a\r",
    b"X: a\n",
    b"X:\r a",
    b"X: \x0ba",
    b"X: a\x0c",
    b"X: \x7f",
    b"X: \x1b[0m",
    b"X: a\x08",
]


@pytest.mark.parametrize("line", BAD_FIELD_LINES)
def test_a_line_that_is_no_field(line: bytes) -> None:
    assert refusal_of(b"GET / HTTP/1.1\r\nHost: a\r\n" + line) is Problem.BAD_REQUEST
    assert refusal_of(b"GET / HTTP/1.1\r\n" + line + b"\r\nHost: a") is Problem.BAD_REQUEST
    with pytest.raises(ProxyError):
        split_field_line(line)
    with pytest.raises(ProxyError) as caught:
        response(b"HTTP/1.1 200 OK", line)
    assert caught.value.problem is Problem.UPSTREAM_BROKEN


def test_only_spaces_and_tabs_are_trimmed_from_a_value() -> None:
    # bytes.strip() would take these too, and str.strip() the next line's \x85 and \xa0.
    assert split_field_line(b"X:\t \x85a\xa0 \t") == (b"X", b"\x85a\xa0")
    assert split_field_line(b"X: \xa0") == (b"X", b"\xa0")


# Limits.


def test_a_target_may_be_as_long_as_its_limit() -> None:
    target = b"/" + b"a" * (LIMITS.target_bytes - 1)
    assert request(b"GET " + target + b" HTTP/1.1").target == target
    assert refusal_of(b"GET " + target + b"a HTTP/1.1") is Problem.TARGET_TOO_LONG


def test_there_may_be_as_many_fields_as_their_limit() -> None:
    fields = [b"X-%d: %d" % (n, n) for n in range(LIMITS.head_fields)]
    assert len(lines_of(request(b"GET / HTTP/1.1", *fields).fields.plain)) == LIMITS.head_fields
    block = b"\r\n".join([b"GET / HTTP/1.1", *fields, b"X: 1"])
    assert refusal_of(block) is Problem.HEAD_TOO_LARGE


def test_a_head_that_was_taken_once_is_refused_under_a_lower_limit() -> None:
    block = b"GET / HTTP/1.1\r\nX: 1\r\nX: 2"
    parse_request(block, HeadLimits(head_fields=2))
    assert refusal_of(block, HeadLimits(head_fields=1)) is Problem.HEAD_TOO_LARGE


@pytest.mark.parametrize(
    ("partial", "problem"),
    [
        (b"GET /" + b"a" * 8192, Problem.TARGET_TOO_LONG),
        (b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\nX: 1", Problem.TARGET_TOO_LONG),
        (b"GET /" + b"a" * 8191 + b" HTTP/1.1\r\nX: 1", Problem.HEAD_TOO_LARGE),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 40000, Problem.HEAD_TOO_LARGE),
        (b"\xff" * 40000, Problem.HEAD_TOO_LARGE),
    ],
)
def test_a_head_that_never_ends_is_told_what_is_too_long(partial: bytes, problem: Problem) -> None:
    assert too_large(partial, LIMITS).problem is problem


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([b"A: b", b"Cookie: " + b"secret" * 6000], "Cookie has at least 36008"),
        ([b"Cookie: " + b"c" * 9000, b"X-Token: " + b"t" * 24000], "X-Token has at least 24009"),
        ([b"x" * 100 + b": " + b"y" * 40000], "x" * 64 + " has at least 40102"),
    ],
)
def test_the_largest_field_of_a_head_too_large_is_named_for_the_log(
    lines: list[bytes], said: str
) -> None:
    error = too_large(b"\r\n".join([b"GET / HTTP/1.1", b"Host: a", *lines]), LIMITS)
    assert error.detail == f"over 32768 bytes, of which {said}"


@pytest.mark.parametrize("line", [b"y" * 40000, b"\xff\n: " + b"y" * 40000, b": " + b"y" * 40000])
def test_what_is_no_field_is_not_named(line: bytes) -> None:
    partial = b"GET / HTTP/1.1\r\n" + line + b"\r\n\r\nX: " + b"body" * 20000
    assert too_large(partial, LIMITS).detail == "over 32768 bytes"


LINES = st.sampled_from(
    [b"Host: a", b"Host: ab", b"X-A: 1", b"X-A: 12", b"X-B: 2", b"Cookie: c", b"Cookie: d",
     b"Accept: */*", b"Referer: r", b"broken", b"X: \0", b" folded", b""]
)  # fmt: skip
BLOCKS = st.lists(st.lists(LINES, max_size=9), min_size=1, max_size=6)


@given(BLOCKS)
def test_what_came_before_on_the_connection_changes_nothing(blocks: list[list[bytes]]) -> None:
    def outcome(reader: FieldReader, block: list[bytes]) -> tuple[bytes, object] | None:
        try:
            head = parse_request(b"\r\n".join([b"GET / HTTP/1.1", *block]), LIMITS, reader)
        except ProxyError:
            return None
        return head.fields.plain, dict(head.fields.special)

    same = request_fields_reader()
    for block in [*blocks, *blocks, blocks[0]]:
        assert outcome(same, block) == outcome(request_fields_reader(), block)
