"""The PROXY protocol, versions 1 and 2: a header before all other bytes that names the client.

Knows the grammar of HAProxy's proxy-protocol.txt. Knows nothing of sockets, or of who may send such
a header. Anything but a valid header is refused, because the bytes behind it are read as the
client's own.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from ipyproxy.net.hosts import unmapped

_V1: Final = re.compile(
    rb"PROXY TCP(?P<version>[46]) (?P<source>[0-9A-Fa-f:.]+) (?P<destination>[0-9A-Fa-f:.]+)"
    rb" (?P<port>0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})"
)
_V1_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: [ -~]*)?")
_V1_START: Final = b"PROXY "
_V1_MOST: Final = 107
_V2_START: Final = b"\r\n\r\n\0\r\nQUIT\n"
_V2_FIXED: Final = 16
_V2_MOST: Final = 4096
_LOCAL, _PROXY = 0x20, 0x21
# The byte for address family and transport; for each, the kind and size of the address behind it.
_UNSPECIFIED: Final = 0x00
_V2_ADDRESSES: dict[int, tuple[type[IPv4Address | IPv6Address], int]] = {
    0x11: (IPv4Address, 4),
    0x21: (IPv6Address, 16),
}


class ProxyProtocolError(ValueError):
    """The connection does not begin with a header of the PROXY protocol."""


class Header(NamedTuple):
    """A whole header: its size in bytes, and the client's address (None: the sender itself)."""

    size: int
    source: tuple[str, int] | None


def parse_header(data: bytes) -> Header | None:
    """The header at the start of ``data``; None if it is incomplete.

    Raises :class:`ProxyProtocolError` as soon as ``data`` cannot become a valid header.
    """
    if data.startswith(_V1_START[: len(data)]):
        return _parse_v1(data)
    if data.startswith(_V2_START[: len(data)]):
        return _parse_v2(data)
    raise ProxyProtocolError("no PROXY header")


def _parse_v1(data: bytes) -> Header | None:
    line, end, _ = data[:_V1_MOST].partition(b"\r\n")
    if not end:
        if len(line) == _V1_MOST:
            raise ProxyProtocolError("a PROXY line without an end")
        return None
    size = len(line) + 2
    if _V1_UNKNOWN.fullmatch(line):
        return Header(size, None)
    match = _V1.fullmatch(line)
    if match is None:
        raise ProxyProtocolError("a malformed PROXY line")
    kind = IPv4Address if match["version"] == b"4" else IPv6Address
    try:
        source = kind(match["source"].decode("ascii"))
        kind(match["destination"].decode("ascii"))
    except ValueError:
        raise ProxyProtocolError("a PROXY line without addresses") from None
    return Header(size, (str(unmapped(source)), _port(int(match["port"]))))


def _parse_v2(data: bytes) -> Header | None:
    if len(data) < _V2_FIXED:
        return None
    command, family = data[12], data[13]
    size = _V2_FIXED + int.from_bytes(data[14:16])
    if command not in (_LOCAL, _PROXY) or size > _V2_MOST:
        raise ProxyProtocolError("a PROXY header of another version, or too long")
    if len(data) < size:
        return None
    if command == _LOCAL or family == _UNSPECIFIED:
        return Header(size, None)
    if family not in _V2_ADDRESSES:
        raise ProxyProtocolError("a PROXY header of something else than TCP")
    kind, length = _V2_ADDRESSES[family]
    ports = _V2_FIXED + 2 * length
    if size < ports + 4:
        raise ProxyProtocolError("a PROXY header without addresses")
    source = kind(data[_V2_FIXED : _V2_FIXED + length])
    return Header(size, (str(unmapped(source)), int.from_bytes(data[ports : ports + 2])))


def _port(number: int) -> int:
    if number > 65535:
        raise ProxyProtocolError("a PROXY line without ports")
    return number
