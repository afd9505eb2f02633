"""Certificates and keys in files: what is served, and what is said of those that cannot be."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from ipyproxy.tls import CertificateError, load_certificate
from tests.certificates import Authority, Issued, ecdsa_key, key_pem, pem, rsa_key
from tests.tlsparties import HOST, Browser, serving, shake_hands, trusting

DAY = timedelta(days=1)
NOON = datetime(2031, 5, 4, 12, tzinfo=UTC)


def test_loading_tells_names_and_age(authority: Authority, tmp_path: Path) -> None:
    files = authority.issue(
        "Notebooks.Example.org", "*.example.org", "192.0.2.7", "2001:DB8::7", not_after=NOON
    ).write(tmp_path)
    certificate = load_certificate(*files)
    assert (certificate.certificate, certificate.key) == files
    assert certificate.names == (
        "notebooks.example.org",
        "*.example.org",
        "192.0.2.7",
        "2001:db8::7",
    )
    assert certificate.not_after == NOON
    assert not certificate.is_development
    assert not certificate.is_expired(NOON)
    assert certificate.is_expired(NOON + timedelta(seconds=1))
    assert "PRIVATE" not in repr(certificate)


def test_an_expired_certificate_is_served(authority: Authority, root: Path, tmp_path: Path) -> None:
    issued = authority.issue(HOST, not_before=NOON - 9000 * DAY, not_after=NOON - 8000 * DAY)
    certificate = load_certificate(*issued.write(tmp_path))
    assert certificate.is_expired(NOON)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        shake_hands(serving(certificate), Browser(trusting(root)))


def test_the_intermediates_are_sent(authority: Authority, root: Path, tmp_path: Path) -> None:
    issued = Authority("Intermediate", issuer=authority).issue(HOST)
    server = serving(load_certificate(*issued.write(tmp_path)))
    shake_hands(server, Browser(trusting(root)))  # which knows the root only


def test_certificate_and_key_may_share_a_file(
    authority: Authority, root: Path, tmp_path: Path
) -> None:
    issued, both = authority.issue(HOST), tmp_path / "both.pem"
    for content in (
        pem(issued.certificate) + key_pem(issued.key),
        key_pem(issued.key) + pem(issued.certificate),
    ):
        both.write_bytes(content)
        shake_hands(serving(load_certificate(both, both)), Browser(trusting(root)))


def missing_certificate(issued: Issued, certificate: Path, key: Path) -> None:
    certificate.unlink()


def missing_key(issued: Issued, certificate: Path, key: Path) -> None:
    key.unlink()


def directory_for_certificate(issued: Issued, certificate: Path, key: Path) -> None:
    certificate.unlink()
    certificate.mkdir()


def garbage_certificate(issued: Issued, certificate: Path, key: Path) -> None:
    certificate.write_bytes(bytes(range(256)))


def empty_certificate(issued: Issued, certificate: Path, key: Path) -> None:
    certificate.write_bytes(b"")


def torn_certificate(issued: Issued, certificate: Path, key: Path) -> None:
    certificate.write_bytes(certificate.read_bytes()[:-100])


def garbage_inside_armour(issued: Issued, certificate: Path, key: Path) -> None:
    certificate.write_bytes(b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")


def garbage_key(issued: Issued, certificate: Path, key: Path) -> None:
    key.write_bytes(bytes(range(256)))


def certificate_for_key(issued: Issued, certificate: Path, key: Path) -> None:
    key.write_bytes(certificate.read_bytes())


def encrypted_key(issued: Issued, certificate: Path, key: Path) -> None:
    key.write_bytes(key_pem(issued.key, serialization.BestAvailableEncryption(b"secret")))


def another_key(issued: Issued, certificate: Path, key: Path) -> None:
    key.write_bytes(key_pem(ecdsa_key()))


def key_of_another_kind(issued: Issued, certificate: Path, key: Path) -> None:
    key.write_bytes(key_pem(ed25519.Ed25519PrivateKey.generate()))


def chain_upside_down(issued: Issued, certificate: Path, key: Path) -> None:
    certificate.write_bytes(pem(*issued.intermediates, issued.certificate))


def common_name_only(issued: Issued, certificate: Path, key: Path) -> None:
    Authority().issue().write(certificate.parent)


def address_spelled_as_a_name(issued: Issued, certificate: Path, key: Path) -> None:
    write_with(x509.SubjectAlternativeName([x509.DNSName("192.0.2.7")]), certificate, key)


def malformed_names(issued: Issued, certificate: Path, key: Path) -> None:
    oid = x509.SubjectAlternativeName.oid
    write_with(x509.UnrecognizedExtension(oid, b"\x30\x05"), certificate, key)


def write_with(extension: x509.ExtensionType, certificate: Path, key: Path) -> None:
    authority, own = Authority(), ecdsa_key()
    builder = authority.builder(authority.certificate.subject, own)
    signed = builder.add_extension(extension, critical=False).sign(authority.key, hashes.SHA256())
    Issued(signed, own, ()).write(certificate.parent)


def short_key(issued: Issued, certificate: Path, key: Path) -> None:
    Authority().issue(HOST, key=rsa_key(1024)).write(certificate.parent)


@pytest.mark.parametrize(
    ("spoil", "names", "says"),
    [
        (missing_certificate, "server.pem", "No such file"),
        (missing_key, "server.key", "No such file"),
        (directory_for_certificate, "server.pem", "Is a directory"),
        (garbage_certificate, "server.pem", "no whole PEM certificates"),
        (empty_certificate, "server.pem", "no whole PEM certificates"),
        (torn_certificate, "server.pem", "no whole PEM certificates"),
        (garbage_inside_armour, "server.pem", "no whole PEM certificates"),
        (garbage_key, "server.key", "no readable PEM private key"),
        (certificate_for_key, "server.key", "no readable PEM private key"),
        (encrypted_key, "server.key", "encrypted"),
        (another_key, "server.key", "does not belong"),
        (key_of_another_kind, "server.key", "neither RSA nor ECDSA"),
        (chain_upside_down, "server.pem", "does not begin with the server's own"),
        (common_name_only, "server.pem", "subjectAltName"),
        (address_spelled_as_a_name, "server.pem", "subjectAltName"),
        (malformed_names, "server.pem", "malformed"),
        (short_key, "server.pem", "key too small"),
    ],
)
def test_what_cannot_be_served_is_told_in_one_sentence(
    authority: Authority,
    tmp_path: Path,
    spoil: Callable[[Issued, Path, Path], None],
    names: str,
    says: str,
) -> None:
    issued = Authority("Intermediate", issuer=authority).issue(HOST)
    files = issued.write(tmp_path)
    spoil(issued, *files)
    with pytest.raises(CertificateError) as raised:
        load_certificate(*files)
    sentence = str(raised.value)
    assert str(tmp_path / names) in sentence
    assert says in sentence
    assert re.fullmatch(r"[^\n]*; [a-z][^\n]*\.", sentence)  # what is wrong; what to do.
    assert ". " not in sentence
