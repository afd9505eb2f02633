"""Fields on their way through, in both directions: what passes, and what concerns one hop alone."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipyproxy.http.rewriting import Manners, forwarded_block, said_before
from ipyproxy.http1.head import HeadLimits, parse_request, parse_response
from ipyproxy.http1.lines import lines_of
from tests.http.fields import (
    NOTEBOOK,
    PUBLIC,
    TRUSTED,
    answered_lines,
    browser_gets,
    request,
    sent_lines,
    upstream_gets,
)

# Passing on.


def test_ordinary_fields_pass_in_their_order_with_all_their_repetitions() -> None:
    fields = [b"X-B: 1", b"Accept: */*", b"x-a: 2", b"X-B: 3", b"Authorization: token t"]
    # Those that are read on the way stand before the others.
    assert upstream_gets(*fields) == [fields[1], fields[4], fields[0], fields[2], fields[3]]
    fields = [b"Vary: a", b"Date: x", b"Vary: b", b"WWW-Authenticate: Basic"]
    assert browser_gets(*fields) == [fields[1], fields[3], fields[0], fields[2]]


def test_the_remembered_head_is_not_changed_by_passing_it_on() -> None:
    head = request(b"X: 1", b"Connection: close")
    for _ in range(2):
        assert sent_lines(head, PUBLIC, TRUSTED, NOTEBOOK)[1:] == [b"X: 1"]
    answer = parse_response(b"HTTP/1.1 200 OK\r\nX: 1\r\nLocation: /")
    for _ in range(2):
        assert answered_lines(answer, PUBLIC, NOTEBOOK) == [b"X: 1", b"Location: /"]


def test_upstream_is_told_its_own_name_only() -> None:
    lines = sent_lines(request(b"Origin: " + PUBLIC), PUBLIC, TRUSTED, NOTEBOOK)
    assert lines == [b"Host: 127.0.0.1:10000", b"Origin: http://127.0.0.1:10000"]


def test_a_request_that_has_no_origin_or_referer_gets_none() -> None:
    assert upstream_gets() == []


# What concerns one hop alone.

HOP_BY_HOP = [
    b"Connection: close",
    b"Keep-Alive: timeout=5",
    b"Proxy-Connection: keep-alive",
    b"TE: trailers",
    b"Trailer: X",
    b"Transfer-Encoding: chunked",
    b"Upgrade: h2c",
    b"Proxy-Authorization: Basic x",
    b"Proxy-Authenticate: Basic",
    b"Content-Length: 5",
    b"content_length: 5",
    b"Transfer_Encoding: chunked",
]


@pytest.mark.parametrize("field", [*HOP_BY_HOP, b"HTTP2-Settings: AAMAAABk"])
def test_a_request_s_field_for_one_hop_goes_no_further(field: bytes) -> None:
    assert upstream_gets(b"X: 1", field, b"Y: 2") == [b"X: 1", b"Y: 2"]
    assert upstream_gets(field.upper()) == []


@pytest.mark.parametrize("field", HOP_BY_HOP[:-2])
def test_a_response_s_field_for_one_hop_goes_no_further(field: bytes) -> None:
    assert browser_gets(b"X: 1", field, b"Y: 2") == [b"X: 1", b"Y: 2"]


@pytest.mark.parametrize(
    "connection",
    [
        [b"Connection: X-Hop"],
        [b"Connection: close, x-hop"],
        [b"Connection: keep-alive", b"Connection: ,X-HOP\t,"],
        [b"connection: upgrade,x-hop,x-hop"],
    ],
)
def test_a_field_named_in_connection_goes_no_further(connection: list[bytes]) -> None:
    assert upstream_gets(b"X: 1", b"x-Hop: 2", *connection, b"X-Hop: 3") == [b"X: 1"]
    assert browser_gets(b"X: 1", b"x-Hop: 2", *connection, b"X-Hop: 3") == [b"X: 1"]


def test_fields_that_are_read_and_rewritten_are_dropped_too_where_connection_names_them() -> None:
    connection = b"Connection: cookie, referer, user-agent, accept, sec-fetch-site"
    fields = [b"Cookie: a=b", b"Referer: x", b"User-Agent: x", b"Accept: x", b"Sec-Fetch-Site: x"]
    assert upstream_gets(connection, *fields) == []
    connection = b"Connection: set-cookie, location, access-control-allow-origin"
    fields = [b"Set-Cookie: a=b", b"Location: /", b"Access-Control-Allow-Origin: *"]
    assert browser_gets(connection, *fields) == []


def test_what_we_say_ourselves_survives_connection() -> None:
    connection = b"Connection: host, origin, via, x-forwarded-for, x-forwarded-proto, forwarded"
    assert upstream_gets(connection, b"Origin: " + PUBLIC) == [b"Origin: http://127.0.0.1:10000"]
    said = said_before(request(connection, b"Via: 1.0 a").fields.special, trusted=False)
    assert b"Via: 1.0 a, 1.1 ipyproxy" in forwarded_block(
        "192.0.2.7", PUBLIC, said, Manners.NOTEBOOK
    )


@pytest.mark.parametrize("name", [b"content-length", b"transfer-encoding", b"te", b"close", b"*"])
def test_connection_can_t_bring_framing_back(name: bytes) -> None:
    assert upstream_gets(b"Connection: " + name, b"Content-Length: 5", b"X: 1") == [b"X: 1"]


# What must never come through, over any fields at all.

NAMES = st.sampled_from([
    b"X-A", b"x-b", b"Accept", b"User-Agent", b"Cookie", b"cookie", b"Connection", b"Origin",
    b"Referer", b"Expect", b"Upgrade", b"Keep-Alive", b"Content-Length", b"Via", b"Host",
    b"X-Forwarded-For", b"x_forwarded_host", b"REMOTE_USER", b"Forwarded", b"X-Real_IP",
    b"Sec-WebSocket-Key", b"Sec-WebSocket-Protocol", b"TE", b"Proxy-Connection",
])  # fmt: skip
VALUES = st.sampled_from([
    b"", b"x", b"close", b"X-A", b"cookie, x-b", b"galaxysession=1", b"a=1; sso=2;galaxysession =3",
    b"=galaxysession=4", b'"; sso=5', b"https://hub.example.org/x", b"chunked", b"websocket", b"5",
    b"host, accept, origin, upgrade, sso", b"\xff",
])  # fmt: skip
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=10)

NEVER_PASSED = {
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"content-length",
    b"forwarded", b"via", b"x-real-ip", b"remote-user", b"x-forwarded-for", b"x-forwarded-host",
    b"sec-websocket-key",
}  # fmt: skip


@example([(b"Cookie", b"=galaxysession=4")])
@given(FIELDS)
def test_nothing_of_this_hop_of_the_site_or_of_who_asks_reaches_a_notebook(
    fields: list[tuple[bytes, bytes]],
) -> None:
    lines = upstream_gets(*[b"%b: %b" % field for field in fields])
    names = [line.split(b":")[0].lower().replace(b"_", b"-") for line in lines]
    assert not NEVER_PASSED.intersection(names)
    assert b"host" not in names
    assert names.count(b"origin") <= 1
    for line in lines:
        name, value = line.split(b": ", 1)
        if name == b"Origin":
            assert value == b"http://127.0.0.1:10000"
        if name == b"Cookie":
            # As Tornado reads it, and as Python's library does.
            read = [pair.partition(b"=")[0].strip() for pair in value.split(b";")]
            assert not {b"galaxysession", b"sso"}.intersection(read)
            assert not {"galaxysession", "sso"}.intersection(_as_python_reads(value))


def _as_python_reads(value: bytes) -> SimpleCookie:
    try:
        return SimpleCookie(value.decode("latin-1"))
    except CookieError:
        return SimpleCookie()  # it takes none of them


@given(FIELDS)
def test_what_upstream_gets_reads_the_same_again(fields: list[tuple[bytes, bytes]]) -> None:
    sent = request(*[b"%b: %b" % field for field in fields])
    nominated = {name for value in sent.fields.values(b"connection") for name in value.split(b", ")}
    kept = [
        line for line in lines_of(sent.fields.plain) if line.split(b":")[0].lower() not in nominated
    ]
    lines = sent_lines(sent, PUBLIC, TRUSTED, NOTEBOOK)
    got = parse_request(b"\r\n".join([b"GET / HTTP/1.1", *lines]), HeadLimits())
    assert lines_of(got.fields.plain) == kept
    assert got.fields.values(b"host") == [b"127.0.0.1:10000"]
