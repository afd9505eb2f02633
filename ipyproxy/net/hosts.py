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
    """Whether ``host`` (lower-case) is a DNS name that a certificate may bear."""
    return _HOST.fullmatch(host) is not None


def parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that ``host`` spells, without brackets; None if it is none."""
    if ":" not in host and not host[-1:].isdigit():
        return None  # by far the most, and the exception below costs ten times as much
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
    """Whether one of ``names`` stands for ``host`` (RFC 9525 section 6.3).

    ``host`` has no port and, if an IPv6 address, no brackets. A left-most ``*`` label stands for
    exactly one whole label, and never for a part of an IP address. With a trailing dot nothing
    matches: browsers hold ``host.`` for another host.
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
    """``host`` as it stands in a Host field, without a port (RFC 9110 section 7.2).

    An IPv6 address has many spellings; this is the one of RFC 5952, which browsers use.
    """
    address = parse_address(host) if ":" in host else None
    return host.encode("ascii") if address is None else f"[{address}]".encode()
