"""Heads held to the grammar a second time, over any bytes; parsing loses nothing."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1 import head as heads
from ipyproxy.http1.head import RequestHead, parse_request, parse_response
from ipyproxy.http1.lines import VALUE, lines_of
from tests.http1.heads import LIMITS, refusal_of, request

from . import grammar

ODD = [b"", b" ", b"\t", b"\r", b"\n", b"\r\n", b"\0", b"\x0b", b"\x7f", b"\x85", b"\xff", b":"]
PIECES = [
    b"GET", b"POST", b"/", b"/a%20b?c", b"*", b"http://h/", b"#", b"%", b"\\", b"HTTP/1.1",
    b"HTTP/1.0", b"HTTP/1.2", b"200", b"OK", b"\r\nHost: a", b"\r\nContent-Length: 5",
    b"\r\n X: fold", b"\r\nX:", b"\r\nX:  a\tb ", b"\r\nTransfer-Encoding : chunked", *ODD,
]  # fmt: skip
ALMOST = st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)


@st.composite
def damaged_heads(draw: st.DrawFn, first: bytes) -> bytes:
    """A good head with a few bytes put in, taken out or changed."""
    names = st.sampled_from([b"Host", b"X-Y", b"Cookie", b"content-length", b"Te", b"~!#"])
    values = st.binary(max_size=6).filter(lambda value: b"\n" not in value)
    fields = draw(st.lists(st.tuples(names, values), max_size=4))
    block = b"\r\n".join([first, *[b"%b: %b" % field for field in fields]])
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(block)))
        width = draw(st.integers(0, 1))
        block = block[:at] + draw(st.sampled_from(ODD)) + block[at + width :]
    return block


@given(st.binary(max_size=80) | ALMOST | damaged_heads(b"GET /a?b HTTP/1.1"))
@example(b"GET / HTTP/1.1\r\n")
@example(b"GET / HTTP/1.1\r\n\r\n")
def test_a_request_head_is_taken_only_if_the_grammar_has_it(block: bytes) -> None:
    if not grammar.REQUEST_HEAD.fullmatch(block):
        refusal_of(block)
        return
    head = parse_request(block, LIMITS)
    assert b"%b %b HTTP/1.%d" % (head.method, head.target, head.minor) == block.split(b"\r\n")[0]


@given(st.binary(max_size=80) | ALMOST | damaged_heads(b"HTTP/1.1 200 OK"))
@example(b"HTTP/1.1 200 OK\r\n")
def test_a_response_head_is_taken_only_if_the_grammar_has_it(block: bytes) -> None:
    if grammar.RESPONSE_HEAD.fullmatch(block):
        parse_response(block)
        return
    with pytest.raises(ProxyError) as caught:
        parse_response(block)
    assert caught.value.problem is Problem.UPSTREAM_BROKEN


NAMES = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=8).map(str.encode) | st.sampled_from(
    [b"Host", b"cookie", b"CONNECTION", b"Accept", b"x_forwarded_for", b"X-Forwarded-For", b"Proxy"]
)
VALUES = st.binary(max_size=12).filter(lambda value: not value.translate(None, VALUE))


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_parsing_what_was_serialised_changes_nothing(fields: list[tuple[bytes, bytes]]) -> None:
    def serialised(head: RequestHead) -> list[bytes]:
        taken = [
            b"%b: %b" % (name, value)
            for name, values in head.fields.special.items()
            for value in values
            if name not in heads._REQUEST_READ
        ]
        passed = lines_of(head.fields.plain + head.fields.special.verbatim)
        return [b"GET / HTTP/1.1", *passed, *taken]

    once = request(b"GET / HTTP/1.1", *[b"%b:%b" % field for field in fields])
    twice = request(*serialised(once))
    assert lines_of(twice.fields.plain) == lines_of(once.fields.plain)
    assert twice.fields.special == once.fields.special
    assert serialised(twice) == serialised(once)
    given_names = sorted(name.lower() for name, _ in fields)
    assert sorted(line.split(b":")[0].lower() for line in serialised(once)[1:]) == given_names
