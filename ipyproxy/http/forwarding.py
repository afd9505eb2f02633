"""Who a request comes from, when proxies stand in front of this one.

Knows addresses and X-Forwarded-For as text. Knows nothing of connections, nor of what is told
upstream. Whatever an untrusted peer says of itself counts for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, Literal

from ipyproxy.net.hosts import unmapped

UNIX: Final = "unix"
"""Stands among networks for clients that come by a UNIX socket, as in nginx's set_real_ip_from."""
Network = IPv4Network | IPv6Network | Literal["unix"]
NAMELESS: Final = "unknown"
"""What stands for the address of a peer that has none, because it came by a UNIX socket."""

# Some load balancers append the port: 192.0.2.7:4711, [2001:db8::7]:4711.
_NODE: Final = re.compile(r"\[(?P<ip6>[0-9A-Fa-f:.]+)\](:[0-9]{1,5})?|(?P<ip4>[0-9.]+):[0-9]{1,5}")
_ADDRESSES_REMEMBERED: Final = 1024


def name_of(peer: object) -> str:
    """The address of ``peer``, an address of Twisted's, as text and without a scope."""
    host: str = getattr(peer, "host", NAMELESS)
    return host.partition("%")[0]


class Networks:
    """The addresses that are in one of some networks.

    :param networks: ``"unix"`` among them stands for clients that come by a UNIX socket.
    """

    def __init__(self, networks: Collection[Network] = ()) -> None:
        self._networks = tuple(network for network in networks if not isinstance(network, str))
        self._has_nameless = UNIX in networks
        self._has = lru_cache(_ADDRESSES_REMEMBERED)(self._find)

    def __contains__(self, address: str) -> bool:
        """Whether ``address`` is one of them; text that is no address never is."""
        if address == NAMELESS:
            return self._has_nameless
        return bool(self._networks) and self._has(address)

    def _find(self, text: str) -> bool:
        address = plain_address(text)
        return address is not None and any(address in network for network in self._networks)


class TrustedProxies(Networks):
    """The networks of those whose word on the client's address is taken."""

    def client_behind(self, peer: str, x_forwarded_for: Sequence[bytes]) -> str:
        """The client of a request that came from ``peer``.

        Each proxy has appended who it was asked by, so the list is read from its end for as long
        as those who wrote it are trusted: the first that is not is the client. What is no address
        ends the reading, since whoever wrote that cannot be relied on for what comes before.

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
    """``node`` without brackets and port."""
    match = _NODE.fullmatch(node)
    return node if match is None else match["ip6"] or match["ip4"]


def plain_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address that ``text`` spells; a mapped one is the IPv4 address that it stands for."""
    if "%" in text:
        return None  # a scope (RFC 4007) may hold any text, and means nothing on another machine
    try:
        return unmapped(ip_address(text))
    except ValueError:
        return None
