"""Host names and addresses as certificates and browsers spell them.

Knows names only. Knows nothing of who asks, or why.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from typing import Final

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")


def is_host_name(host: str) -> bool:
    """Whether ``host`` (lower-case) is a DNS name that a certificate may contain."""
    return _HOST.fullmatch(host) is not None


def parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that ``host`` (without brackets) spells; None if it is no address."""
    if ":" not in host and not host[-1:].isdigit():
        return None  # most hosts are names, and the exception below costs ten times as much
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def unmapped(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """``address``, or the IPv4 address that it maps into IPv6 (RFC 4291 section 2.5.5.2)."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def covers(names: Collection[str], host: str) -> bool:
    """Whether one of ``names`` matches ``host`` (RFC 9525 section 6.3).

    ``host`` has no port and, if it is an IPv6 address, no brackets. A left-most ``*`` label matches
    exactly one whole label, and never a part of an IP address. A host with a trailing dot matches
    nothing: to browsers, ``host.`` is another host.
    """
    host = host.lower() if host.isascii() else ""  # the Kelvin sign's lower case is a plain k
    if address := parse_address(host):
        return any(parse_address(name) == address for name in names)
    if not is_host_name(host):
        return False
    _, dot, parent = host.partition(".")
    wildcard = f"*.{parent}" if dot else host
    return any(name.lower() in (host, wildcard) for name in names)


def as_in_field(host: str) -> bytes:
    """``host`` as a Host field spells it, without a port (RFC 9110 section 7.2).

    An IPv6 address has many spellings; this is the one in RFC 5952, which browsers use.
    """
    address = parse_address(host) if ":" in host else None
    return host.encode("ascii") if address is None else f"[{address}]".encode()
