"""What is remembered of the fields of heads: where, how much, and for how long."""

from __future__ import annotations

import gc
import sys

import pytest

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http.rewriting import Rewriting, request_fields
from ipyproxy.http1.framing import request_framing
from ipyproxy.http1.head import (
    RESPONSE_FIELDS,
    HeadLimits,
    RequestHead,
    parse_request,
    parse_response,
    request_fields_reader,
)
from ipyproxy.http1.lines import Special, SpecialFields, block_of, lines_of, remembered
from ipyproxy.http1.memory import (
    HEAD_BYTES,
    OWN_GROUPS_BYTES,
    OWN_LINES_BYTES,
    SHARED_BYTES,
    FieldMemory,
    FieldReader,
)

LIMITS = HeadLimits()
#: What one connection may keep; of its last head there are three copies.
OWN_BYTES = OWN_LINES_BYTES + OWN_GROUPS_BYTES + 3 * HEAD_BYTES
REWRITING = Rewriting(b"127.0.0.1:10000", b"/ipython/10000/", 10000)


def request(*lines: bytes, on: FieldReader | None = None) -> RequestHead:
    return parse_request(b"\r\n".join(lines), LIMITS, on)


def test_what_is_remembered_is_what_was_parsed() -> None:
    lines = (b"GET / HTTP/1.1", b"Host: a", b"X-Some:  thing", b"Cookie: \t x=y ")
    first, second = request(*lines), request(*lines)
    assert lines_of(first.fields.plain) == lines_of(second.fields.plain) == [b"X-Some: thing"]
    assert first.fields.special == second.fields.special


def test_requests_of_a_connection_whose_special_fields_are_alike_share_them() -> None:
    reader = request_fields_reader()
    first = request(b"GET /a HTTP/1.1", b"Host: a", b"If-None-Match: 1", b"Cookie: b", on=reader)
    request(b"GET /a HTTP/1.1", b"Host: a", b"Cookie: another", on=reader)
    second = request(b"PUT /b HTTP/1.0", b"Host: a", b"X-Other: thing", b"Cookie: b", on=reader)
    assert first.fields.special is second.fields.special
    assert first.fields.plain != second.fields.plain


@pytest.mark.parametrize(
    "lines",
    [
        (b"Host: shared", b"Cookie: a=c"),
        (b"Cookie: a=b", b"Host: shared"),
        (b"Host: shared", b"Cookie: a=b", b"Cookie: a=b"),
        (b"Host: shared",),
    ],
)
def test_a_difference_in_a_special_field_is_never_overlooked(lines: tuple[bytes, ...]) -> None:
    reader = request_fields_reader()
    first = request(b"GET /a HTTP/1.1", b"Host: shared", b"Cookie: a=b", on=reader)
    second = request(b"GET /a HTTP/1.1", *lines, on=reader)
    assert first.fields.special is not second.fields.special


def test_a_refusal_is_never_remembered_as_anything_else() -> None:
    for _ in range(3):
        with pytest.raises(ProxyError) as caught:
            request(b"GET / HTTP/1.1", b"Host : a")
        assert caught.value.problem is Problem.BAD_REQUEST


SECRET = b"5ec2e7"


CONTAINERS = (FieldReader, FieldMemory, Special, SpecialFields, dict, list, tuple)


def hanging_on(start: object) -> list[object]:
    """Everything that ``start`` keeps alive, but for code."""
    seen: dict[int, object] = {}
    waiting = [start]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type):
            continue
        seen[id(one)] = one
        if isinstance(one, CONTAINERS):
            waiting += gc.get_referents(one)
    return list(seen.values())


def weight(start: object) -> int:
    """Bytes of that."""
    kinds = (*CONTAINERS, bytes)
    return sum(sys.getsizeof(one) for one in hanging_on(start) if isinstance(one, kinds))


@pytest.mark.plain
@pytest.mark.parametrize(
    "line",
    [
        b"Cookie: s=%b",
        b"Authorization: token %b",
        b"Referer: https://hub/ipython/10000/?token=%b",
        b"Sec-WebSocket-Protocol: v1, bearer.%b",
        b"X-Api-Key: %b",
        b"X-XSRFToken: %b",
    ],
)
def test_no_secret_outlives_its_connection(line: bytes) -> None:
    def visit() -> None:
        reader = request_fields_reader()
        for number in range(3):
            accept = b"Accept: %d" % number
            head = request(b"GET / HTTP/1.1", b"Host: a", accept, line % SECRET, on=reader)
            request_framing(head)
            request_fields(head, b"https://a", frozenset(), REWRITING)

    visit()
    gc.collect()
    found = [
        part
        for one in gc.get_objects()
        if isinstance(one, dict | list | tuple | FieldReader)
        for part in gc.get_referents(one)
        if isinstance(part, bytes) and SECRET in part and part is not SECRET
    ]
    assert found == []


@pytest.mark.plain
@pytest.mark.parametrize("name", [b"Accept", b"Cookie", b"X-%d"])
def test_memory_stays_small_whatever_comes(name: bytes) -> None:
    memory = FieldMemory(frozenset([b"accept"]), frozenset(), b"cookie".__eq__)
    reader = FieldReader(memory)
    heaviest = 0
    for n in range(6_000):
        line = (name % n if b"%" in name else name) + b": %d %b" % (n, b"a" * (n % 1024))
        reader.read(block_of([line]), 100)
        if not n % 500:
            heaviest = max(heaviest, weight(reader))
    assert heaviest <= SHARED_BYTES + OWN_BYTES


@pytest.mark.plain
def test_many_empty_fields_are_not_free() -> None:
    memory = FieldMemory(frozenset(), frozenset(), b"set-cookie".__eq__)
    reader = FieldReader(memory)
    for n in range(300):
        reader.read(b"Set-Cookie:\r\n" * (700 + n), 1000)
    assert weight(reader) <= OWN_BYTES


@pytest.mark.plain
def test_a_long_head_is_not_kept() -> None:
    reader = request_fields_reader()
    for letter in (b"a", b"b"):
        request(b"GET / HTTP/1.1", b"Host: a", b"Cookie: " + letter * 15000, on=reader)
    assert not any(isinstance(one, bytes) and len(one) > HEAD_BYTES for one in hanging_on(reader))


def test_an_answer_has_a_thousand_fields_at_most() -> None:
    lines = [b"HTTP/1.1 200 OK", *[b"Set-Cookie:"] * RESPONSE_FIELDS]
    assert len(parse_response(b"\r\n".join(lines)).fields.values(b"set-cookie")) == 1000
    with pytest.raises(ProxyError, match="1001 fields") as caught:
        parse_response(b"\r\n".join([*lines, b"Set-Cookie:"]))
    assert caught.value.problem is Problem.UPSTREAM_BROKEN


def test_what_follows_from_fields_is_found_once_for_each_question() -> None:
    asked = []

    @remembered
    def find(special: SpecialFields, what: int) -> int:
        asked.append(what)
        return what * 2

    one, other = SpecialFields(), SpecialFields()
    assert [find(one, 1), find(one, 1), find(one, 2), find(other, 1)] == [2, 2, 4, 2]
    assert asked == [1, 2, 1]
    for what in range(1000):
        find(one, what)
    assert len(one.following) < 20
