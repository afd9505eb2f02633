"""Which hosts a certificate's names stand for: what matches, and what only seems to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyproxy.net.hosts import covers, is_host_name, parse_address


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("example.org", "example.org"),
        ("example.org", "EXAMPLE.Org"),
        ("EXAMPLE.Org", "example.org"),
        ("*.example.org", "a.example.org"),
        ("*.example.org", "A-1.EXAMPLE.org"),
        ("*.example.org", "xn--bcher-kva.example.org"),
        ("*.example.org", "under_score.example.org"),
        ("localhost", "localhost"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:DB8:0:0::7"),
        ("::1", "::1"),
    ],
)
def test_a_name_covers(name: str, host: str) -> None:
    assert covers((name,), host)
    assert covers(["other.example", name], host)


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("example.org", "a.example.org"),
        ("example.org", "example.org."),
        ("*.example.org", "a.example.org."),
        ("*.example.org", "example.org"),
        ("*.example.org", ".example.org"),
        ("*.example.org", "a.b.example.org"),
        ("*.example.org", "*.example.org"),
        ("*.example.org", "a.evil.example"),
        ("*.example.org", "a b.example.org"),
        ("*.example.org", "a\x00.example.org"),
        ("*.example.org", "a.example.org\n"),
        ("*.example.org", "-a.example.org"),
        ("*.example.org", "bücher.example.org"),
        ("*.example.org", "example.org:443"),
        ("k.example.org", "\N{KELVIN SIGN}.example.org"),
        ("f*.example.org", "foo.example.org"),
        ("*o.example.org", "foo.example.org"),
        ("a.*.org", "a.example.org"),
        ("*.*.org", "a.example.org"),
        ("*", "localhost"),
        ("*", "example.org"),
        ("*.0.2.7", "192.0.2.7"),
        ("192.0.2.*", "192.0.2.7"),
        ("192.0.2.7", "192.0.2.007"),
        ("::1", "[::1]"),
        ("::1", "::1%lo"),
        ("127.0.0.1", "::ffff:127.0.0.1"),
        ("example.org", ""),
        ("", ""),
    ],
)
def test_a_name_does_not_cover(name: str, host: str) -> None:
    assert not covers((name,), host)


# Few letters, so that hosts and names often agree.
HOSTS = st.lists(st.text("ab", min_size=1, max_size=2), min_size=2, max_size=4).map(".".join)
WILD = HOSTS.map(lambda host: f"*.{host}")


@given(HOSTS, st.lists(HOSTS | WILD, max_size=4))
def test_only_itself_or_its_parent_s_wildcard_covers_a_host(host: str, names: list[str]) -> None:
    parent = host.partition(".")[2]
    assert covers(names, host) == (host in names or f"*.{parent}" in names)
    assert not covers(names, f"{host}.")
    assert covers(names, host.upper()) == covers(names, host)


@given(st.ip_addresses(), WILD, st.lists(HOSTS, max_size=3))
def test_an_address_is_covered_by_itself_only(
    address: Any, wildcard: str, names: list[str]
) -> None:
    host = str(address)
    assert covers([host, *names], host)
    assert not covers([wildcard, *names], host)
    assert not covers([f"*.{host.partition('.')[2]}"], host)


@given(st.text(), st.text())
def test_any_text_gets_an_answer(name: str, host: str) -> None:
    assert covers([name], host) in (True, False)


@pytest.mark.parametrize(
    "host", ["a", "a.b", "xn--bcher-kva.example", "_acme", "a_b", "1", "a" * 63]
)
def test_a_host_name(host: str) -> None:
    assert is_host_name(host)


@pytest.mark.parametrize(
    "host",
    [
        "", ".", "a.", ".a", "a..b", "-a", "a-", "a.-b", "a b", "a\n", "a\0", "A", "ä", "*.a",
        "a:1", "a/b", "a@b", "[::1]", "a" * 64, ".".join(["a" * 50] * 6), "%61",
    ],
)  # fmt: skip
def test_no_host_name(host: str) -> None:
    assert not is_host_name(host)


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("2001:DB8:0::7", "2001:db8::7"), ("::", "::")],
)
def test_an_address(text: str, address: str) -> None:
    assert str(parse_address(text)) == address


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "1", "127.1", "127.0.0.01", "0x7f.0.0.1", "[::1]", "::1]", "1.2.3.4 ", "1.2.3.4:5",
        "１.2.3.4", "1.2.3.４", "a:b:c", "localhost",
    ],
)  # fmt: skip
def test_no_address(text: str) -> None:
    assert parse_address(text) is None


@given(st.ip_addresses())
def test_every_address_is_one(address: Any) -> None:
    assert parse_address(str(address)) == address
