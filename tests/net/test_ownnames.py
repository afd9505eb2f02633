"""What this host is called, as far as it knows by itself."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from pathlib import Path

import pytest

from ipyproxy.net import ownnames


def test_the_name_is_there_and_no_address_that_leads_nowhere_from_elsewhere() -> None:
    names = ownnames.own_names()
    assert socket.gethostname() in names
    for name in names:
        try:
            address = ip_address(name)
        except ValueError:
            continue
        assert not address.is_loopback
        assert not address.is_link_local


def test_the_full_name_is_that_in_the_file_of_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(
        "127.0.0.1 localhost\n192.0.2.7 hub.example.org hub # ours\n192.0.2.8 other.example.org\n"
    )
    monkeypatch.setattr(ownnames, "_HOSTS", hosts)
    monkeypatch.setattr(socket, "gethostname", lambda: "hub")
    names = ownnames.own_names()
    assert "hub.example.org" in names
    assert "other.example.org" not in names
