"""The development certificate: whom it names, who can read its key, and when it is made anew."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from ipyproxy.tls import CertificateError, development_certificate
from tests.tlsparties import HOST, Browser, serving, shake_hands, trusting

DAY = timedelta(days=1)
NOON = datetime(2031, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def loose_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_development_certificate_is_trusted_once_told_to(tmp_path: Path) -> None:
    certificate = development_certificate(tmp_path, [HOST], datetime.now(UTC))
    assert certificate.is_development
    browser = Browser(trusting(certificate.certificate))
    shake_hands(serving(certificate), browser)
    assert browser.tls.version() == "TLSv1.3"


def test_the_development_certificate_bears_this_host(tmp_path: Path) -> None:
    certificate = development_certificate(tmp_path, ["Notebooks.Example.org"], NOON)
    assert set(certificate.names) == {"localhost", "127.0.0.1", "::1", HOST}
    assert certificate.not_after - NOON <= 397 * DAY
    assert certificate.not_after - NOON > 396 * DAY
    leaf = certificate.chain[0]
    assert leaf.not_valid_before_utc < NOON
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]


@pytest.mark.parametrize("hostname", ["", "-x", "a b", "host:443", "*.org", "x" * 64, "ä.de"])
def test_a_hostname_that_is_none_is_left_out(tmp_path: Path, hostname: str) -> None:
    certificate = development_certificate(tmp_path, [hostname], NOON)
    assert set(certificate.names) == {"localhost", "127.0.0.1", "::1"}


def test_nobody_else_can_ever_read_the_key(
    tmp_path: Path, loose_umask: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes_while_written = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        modes_while_written.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    directory = tmp_path / "state" / "tls"
    certificate = development_certificate(directory, [HOST], NOON)
    assert mode(directory) == mode(directory.parent) == 0o700
    assert mode(certificate.key) == 0o600
    assert modes_while_written == [0o600]
    assert list(directory.iterdir()) == [certificate.key]


def test_a_second_start_takes_the_same(tmp_path: Path) -> None:
    first = development_certificate(tmp_path, [HOST], NOON)
    assert development_certificate(tmp_path, [HOST], NOON + 395 * DAY) == first


def test_an_old_one_is_made_anew(tmp_path: Path) -> None:
    first = development_certificate(tmp_path, [HOST], NOON)
    later = NOON + timedelta(days=396, minutes=1)
    assert development_certificate(tmp_path, [HOST], later).not_after > first.not_after


def test_one_from_the_future_is_made_anew(tmp_path: Path) -> None:
    first = development_certificate(tmp_path, [HOST], NOON)
    assert development_certificate(tmp_path, [HOST], NOON - DAY).not_after < first.not_after


def test_a_new_hostname_makes_it_anew(tmp_path: Path) -> None:
    first = development_certificate(tmp_path, [HOST], NOON)
    second = development_certificate(tmp_path, ["other.example.org"], NOON)
    assert second != first
    assert "other.example.org" in second.names


def test_one_that_lay_open_is_made_anew(tmp_path: Path) -> None:
    first = development_certificate(tmp_path, [HOST], NOON)
    first.key.chmod(0o640)
    second = development_certificate(tmp_path, [HOST], NOON)
    assert second != first
    assert mode(second.key) == 0o600


@pytest.mark.parametrize("content", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\n"])
def test_a_broken_one_is_made_anew(tmp_path: Path, content: bytes) -> None:
    path = development_certificate(tmp_path, [HOST], NOON).certificate
    path.write_bytes(content)
    assert HOST in development_certificate(tmp_path, [HOST], NOON).names


def test_a_crash_while_writing_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = development_certificate(tmp_path, [HOST], NOON)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CertificateError, match="No space left on device"):
            development_certificate(tmp_path, ["other.example.org"], NOON)
    assert list(tmp_path.iterdir()) == [first.key]
    assert development_certificate(tmp_path, [HOST], NOON) == first


def test_a_directory_where_others_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(CertificateError, match="Others may write"):
        development_certificate(tmp_path, [HOST], NOON)
    assert not list(tmp_path.iterdir())


def test_a_file_for_a_directory_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(CertificateError, match="cannot be kept in"):
        development_certificate(path, HOST, NOON)
