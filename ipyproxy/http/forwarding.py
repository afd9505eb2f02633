"""Finds the client of a request that came through other proxies.

Knows addresses and X-Forwarded-For as text. Knows nothing of connections, or of what is sent
upstream. What an untrusted peer claims is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, Literal

from ipyproxy.net.hosts import unmapped

UNIX: Final = "unix"
"""In a list of networks: clients that connect by a UNIX socket, as in nginx's set_real_ip_from."""
Network = IPv4Network | IPv6Network | Literal["unix"]
NAMELESS: Final = "unknown"
"""The address of a peer that has none, because it connected by a UNIX socket."""

# Some load balancers append the port: 192.0.2.7:4711, [2001:db8::7]:4711.
_NODE: Final = re.compile(r"\[(?P<ip6>[0-9A-Fa-f:.]+)\](:[0-9]{1,5})?|(?P<ip4>[0-9.]+):[0-9]{1,5}")
_ADDRESSES_REMEMBERED: Final = 1024


def name_of(peer: object) -> str:
    """The text of ``peer``, one of Twisted's address objects, without a scope."""
    host: str = getattr(peer, "host", NAMELESS)
    return host.partition("%")[0]


class Networks:
    """A set of networks; contains the addresses in them.

    :param networks: may contain ``"unix"``, for clients that connect by a UNIX socket.
    """

    def __init__(self, networks: Collection[Network] = ()) -> None:
        self._networks = tuple(network for network in networks if not isinstance(network, str))
        self._has_nameless = UNIX in networks
        self._has = lru_cache(_ADDRESSES_REMEMBERED)(self._find)

    def __contains__(self, address: str) -> bool:
        """Whether ``address`` is in one of them; False if it is no address."""
        if address == NAMELESS:
            return self._has_nameless
        return bool(self._networks) and self._has(address)

    def _find(self, text: str) -> bool:
        address = plain_address(text)
        return address is not None and any(address in network for network in self._networks)


class TrustedProxies(Networks):
    """The networks of proxies that are trusted to name the client's address."""

    def client_behind(self, peer: str, x_forwarded_for: Sequence[bytes]) -> str:
        """The client of a request that came from ``peer``.

        Each proxy appends the address that connected to it. So the list is read from its end: as
        long as an address is that of a trusted proxy, the next one counts. The first that is not
        trusted is the client. Reading stops at an entry that is no address, because a proxy that
        wrote it is not reliable.

        :param x_forwarded_for: the values of the field, in their order.
        """
        client = peer
        nodes = b",".join(x_forwarded_for).split(b",")
        while nodes and client in self:
            address = plain_address(_bare(nodes.pop().decode("latin-1").strip(" \t")))
            if address is None:
                break
            client = str(address)
        return client


def _bare(node: str) -> str:
    """``node`` without brackets and without port."""
    match = _NODE.fullmatch(node)
    return node if match is None else match["ip6"] or match["ip4"]


def plain_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address that ``text`` spells; an IPv4-mapped one becomes IPv4."""
    if "%" in text:
        return None  # a scope (RFC 4007) may be any text, and has no meaning on another machine
    try:
        return unmapped(ip_address(text))
    except ValueError:
        return None
