"""Certificates come from several places, and can be replaced one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipyproxy.tls import (
    Certificate,
    CertificateError,
    Development,
    Directory,
    FilePair,
    Terms,
    load_all,
    load_certificate,
)
from tests.certificates import Authority
from tests.tls.test_names import names_shown
from tests.tlsparties import Browser, carry, serving, shake_hands, trusting

HUB, LAB = "hub.example.org", "lab.example.org"


def issued(authority: Authority, directory: Path, name: str) -> Certificate:
    return load_certificate(*authority.issue(name).write(directory, name))


def test_the_certificates_of_all_sources_in_their_order(
    authority: Authority, tmp_path: Path
) -> None:
    pair = authority.issue(HUB).write(tmp_path, "hub")
    (tmp_path / "more").mkdir()
    authority.issue(LAB).write(tmp_path / "more", "lab")
    found = load_all([FilePair(*pair), Directory(tmp_path / "more")])
    assert [each.names for each in found] == [(HUB,), (LAB,)]
    assert load_all([]) == ()
    (made_up,) = load_all([Development(tmp_path / "state")])
    assert made_up.is_development
    with pytest.raises(CertificateError):
        load_all([Directory(tmp_path / "nothing")])


def test_one_is_replaced_and_the_others_stay(authority: Authority, tmp_path: Path) -> None:
    hub, lab = (issued(authority, tmp_path, name) for name in (HUB, LAB))
    server = serving(hub, lab)
    renewed = issued(authority, tmp_path, LAB)
    server.put(renewed)
    assert server.certificates == (hub, renewed)
    hub_again = issued(authority, tmp_path, HUB)
    server.put(hub_again)
    assert server.certificates == (hub_again, renewed)


def test_the_first_real_one_takes_the_place_of_the_development_certificate(
    authority: Authority, tmp_path: Path
) -> None:
    server = serving(*load_all([Development(tmp_path)]))
    for name in (HUB, LAB):
        server.put(issued(authority, tmp_path, name))
    assert [each.names for each in server.certificates] == [(HUB,), (LAB,)]
    assert names_shown(server, LAB) == [LAB]
    assert names_shown(server, "other.example.org") == [HUB]


def test_what_is_open_stays_open(authority: Authority, root: Path, tmp_path: Path) -> None:
    server = serving(issued(authority, tmp_path, HUB))
    before = Browser(trusting(root), asks_for=HUB)
    end = shake_hands(server, before)
    server.put(issued(authority, tmp_path, HUB))
    before.tls.write(b"still here?")
    carry(before, end)
    assert end.connection.recv(100) == b"still here?"


def test_one_that_openssl_refuses_changes_nothing(authority: Authority, tmp_path: Path) -> None:
    hub, lab = (issued(authority, tmp_path, name) for name in (HUB, LAB))
    server = serving(hub)
    broken = Certificate(**{**vars(lab), "private_key": hub.private_key})
    with pytest.raises(CertificateError):
        server.put(broken)
    assert server.certificates == (hub,)
    server.replace(server.certificates, Terms())
