"""Who the client is, behind how many proxies, and what lies of it count for."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from ipyproxy.forwarding import NAMELESS, TrustedProxies

PROXIES = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("::1"), ip_network("fd00::/8")])


@pytest.mark.parametrize(
    ("peer", "said", "client"),
    [
        # An untrusted peer is the client, whatever it says.
        ("192.0.2.1", [b"198.51.100.1"], "192.0.2.1"),
        ("192.0.2.1", [b"10.0.0.1"], "192.0.2.1"),
        # A trusted one names it.
        ("10.0.0.1", [b"198.51.100.1"], "198.51.100.1"),
        ("::1", [b"2001:DB8::0:7"], "2001:db8::7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [b""], "10.0.0.1"),
        # The right-most that is not trusted: what stands before it may be made up.
        ("10.0.0.1", [b"203.0.113.66, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", [b"203.0.113.66, 198.51.100.1, 10.0.0.2, fd00::3"], "198.51.100.1"),
        ("10.0.0.1", [b"203.0.113.66", b"198.51.100.1,\t10.0.0.2"], "198.51.100.1"),
        # All trusted: the first of them asked.
        ("10.0.0.1", [b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        # What is no address ends the reading.
        ("10.0.0.1", [b"198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", [b"198.51.100.1, _hidden, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [b"198.51.100.1, , 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [b"198.51.100.1, 10.0.0.256"], "10.0.0.1"),
        ("10.0.0.1", [b"198.51.100.1, 0x0a000002"], "10.0.0.1"),
        ("10.0.0.1", [b"198.51.100.1, \xd9\xa3.1.1.1"], "10.0.0.1"),
        # A scope may hold any text, and is no part of an address elsewhere.
        ("10.0.0.1", [b"198.51.100.1, fe80::1%eth0"], "10.0.0.1"),
        ("10.0.0.1", [b"fe80::1%] [ipyproxy.audit#info] refused 9.9.9.9"], "10.0.0.1"),
        ("10.0.0.1", [b"[fe80::1%25eth0]:4711"], "10.0.0.1"),
        # With a port, as some load balancers write it.
        ("10.0.0.1", [b"198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", [b"[2001:db8::7]:4711, [fd00::1]"], "2001:db8::7"),
        ("10.0.0.1", [b"198.51.100.1:http"], "10.0.0.1"),
        # IPv4 in IPv6 clothes is IPv4.
        ("10.0.0.1", [b"198.51.100.1, ::ffff:10.0.0.2"], "198.51.100.1"),
        ("::ffff:10.0.0.1", [b"198.51.100.1"], "198.51.100.1"),
        # A UNIX socket's peer has no address.
        ("unknown", [b"198.51.100.1"], "unknown"),
    ],
)
def test_the_client(peer: str, said: list[bytes], client: str) -> None:
    assert PROXIES.client_behind(peer, said) == client


def test_a_proxy_at_a_unix_socket_is_believed_if_it_is_listed() -> None:
    proxies = TrustedProxies(["unix", ip_network("10.0.0.0/8")])
    assert NAMELESS in proxies
    assert NAMELESS not in PROXIES
    said = [b"203.0.113.66, 198.51.100.1, 10.0.0.2"]
    assert proxies.client_behind(NAMELESS, said) == "198.51.100.1"
    assert proxies.client_behind(NAMELESS, [b"unix"]) == NAMELESS
    assert proxies.client_behind("198.51.100.1", said) == "198.51.100.1"


def test_without_trusted_proxies_nobody_is_one() -> None:
    assert "10.0.0.1" not in TrustedProxies()
    assert TrustedProxies().client_behind("10.0.0.1", [b"198.51.100.1"]) == "10.0.0.1"


def test_a_network_holds_its_addresses_and_no_others() -> None:
    assert "10.255.255.255" in PROXIES
    assert "11.0.0.0" not in PROXIES
    assert "::1" in PROXIES
    assert "::2" not in PROXIES
    assert "proxy.example" not in PROXIES


def test_a_long_list_of_trusted_addresses_is_read_to_its_end() -> None:
    said = [b"198.51.100.1, " + b", ".join([b"10.0.0.2"] * 1000)]
    assert PROXIES.client_behind("10.0.0.1", said) == "198.51.100.1"
