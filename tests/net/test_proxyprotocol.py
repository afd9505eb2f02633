"""Headers of the PROXY protocol: the whole of the grammar, and nothing beside it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyproxy.net.proxyprotocol import Header, ProxyProtocolError, parse_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = bytes([192, 0, 2, 7, 10, 0, 0, 1]) + b"\x12\x34\x01\xbb"
V6 = (
    bytes.fromhex("20010db8000000000000000000000007" + "fd" + "00" * 14 + "01")
    + b"\x12\x34\x01\xbb"
)


def v2(command: int, family: int, rest: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(rest).to_bytes(2) + rest


GOOD: list[tuple[bytes, tuple[str, int] | None]] = [
    (b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 443\r\n", ("192.0.2.7", 4660)),
    (b"PROXY TCP6 2001:DB8::7 fd00::1 4660 443\r\n", ("2001:db8::7", 4660)),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:10.0.0.1 0 65535\r\n", ("192.0.2.7", 0)),
    (
        b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n",
        ("ffff:" * 7 + "ffff", 65535),
    ),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
    (v2(0x21, 0x11, V4), ("192.0.2.7", 0x1234)),
    (v2(0x21, 0x21, V6), ("2001:db8::7", 0x1234)),
    (v2(0x21, 0x11, V4 + b"\x04\x00\x03abc"), ("192.0.2.7", 0x1234)),
    (v2(0x20, 0x00, b""), None),
    (v2(0x20, 0x11, V4), None),
    (v2(0x21, 0x00, b""), None),
    (v2(0x21, 0x00, b"\x04\x00\x03abc"), None),
]


@pytest.mark.parametrize(("header", "source"), GOOD)
def test_a_header_says_who_connects_and_where_it_ends(
    header: bytes, source: tuple[str, int] | None
) -> None:
    for behind in (b"", b"\x16\x03\x01", header):
        assert parse_header(header + behind) == Header(len(header), source)


@pytest.mark.parametrize("header", [header for header, _ in GOOD])
def test_part_of_a_header_is_none_yet(header: bytes) -> None:
    for end in range(len(header)):
        assert parse_header(header[:end]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/1.1\r\n",
        b"\n",
        b"proxy TCP4 192.0.2.7 10.0.0.1 4660 443\r\n",
        b"PROXY  TCP4 192.0.2.7 10.0.0.1 4660 443\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 443\n\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 4660\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 443 \r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 443\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 04660 443\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 -1 443\r\n",
        b"PROXY TCP4 192.0.2.256 10.0.0.1 4660 443\r\n",
        b"PROXY TCP4 192.0.2 10.0.0.1 4660 443\r\n",
        b"PROXY TCP4 2001:db8::7 fd00::1 4660 443\r\n",
        b"PROXY TCP6 192.0.2.7 10.0.0.1 4660 443\r\n",
        b"PROXY TCP6 fe80::1%eth0 fd00::1 4660 443\r\n",
        b"PROXY TCP5 192.0.2.7 10.0.0.1 4660 443\r\n",
        b"PROXY UDP4 192.0.2.7 10.0.0.1 4660 443\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY UNKNOWN \0\r\n",
        b"PROXY UNKNOWN " + b"x" * 100,
        b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n",
        SIGNATURE[:-1] + b"\r",
        v2(0x11, 0x11, V4),
        v2(0x31, 0x11, V4),
        v2(0x22, 0x11, V4),
        v2(0x21, 0x12, V4),
        v2(0x21, 0x31, b"x" * 216),
        v2(0x21, 0x11, V4[:-1]),
        v2(0x21, 0x21, V4),
        v2(0x21, 0x11, b"x" * 5000),
    ],
)
def test_what_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(ProxyProtocolError):
        parse_header(data)


def test_a_line_that_never_ends_is_refused_after_107_bytes() -> None:
    start = b"PROXY UNKNOWN "
    assert parse_header(start + b"x" * (106 - len(start))) is None
    with pytest.raises(ProxyProtocolError):
        parse_header(start + b"x" * (107 - len(start)))


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", SIGNATURE, SIGNATURE + b"\x21"]))
def test_nothing_else_is_ever_raised(data: bytes, start: bytes) -> None:
    with contextlib.suppress(ProxyProtocolError):
        header = parse_header(start + data)
        assert header is None or header.size <= len(start + data)
