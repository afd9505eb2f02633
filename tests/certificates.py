"""Throw-away authorities and certificates for tests. Knows `cryptography`, nothing of the proxy."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

NOW = datetime.now(UTC)
_PLAIN = serialization.NoEncryption()
_SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def ecdsa_key() -> ec.EllipticCurvePrivateKey:
    """A P-256 key, made in no time."""
    return ec.generate_private_key(ec.SECP256R1())


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """An RSA key; 2048 bits take a good part of a second."""
    return rsa.generate_private_key(65537, bits)


def pem(*certificates: x509.Certificate) -> bytes:
    """The certificates as a PEM chain, in this order."""
    encoding = serialization.Encoding.PEM
    return b"".join(certificate.public_bytes(encoding) for certificate in certificates)


def key_pem(key: Any, encryption: serialization.KeySerializationEncryption = _PLAIN) -> bytes:
    """A private key as PEM (PKCS #8), in the clear if nothing else is asked for."""
    return bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )


@dataclass(frozen=True)
class Issued:
    """A certificate that an :class:`Authority` issued, its key, and what leads to the root."""

    certificate: x509.Certificate
    key: Any
    intermediates: tuple[x509.Certificate, ...]

    def write(self, directory: Path, name: str = "server") -> tuple[Path, Path]:
        """Write the chain and the key as ``name.pem`` and ``name.key``; both paths."""
        certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
        certificate.write_bytes(pem(self.certificate, *self.intermediates))
        key.touch(mode=0o600)
        key.write_bytes(key_pem(self.key))
        return certificate, key


class Authority:
    """A certificate authority; one with an ``issuer`` is an intermediate."""

    def __init__(self, name: str = "Test authority", issuer: Authority | None = None) -> None:
        self.key = ecdsa_key()
        self._subject = _distinguished(name)
        above = issuer or self
        self.intermediates: tuple[x509.Certificate, ...] = ()
        builder = (
            above.builder(self._subject, self.key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_SIGNS_CERTIFICATES, critical=True)
        )
        self.certificate = builder.sign(above.key, hashes.SHA256())
        if issuer:
            self.intermediates = (self.certificate, *issuer.intermediates)

    def issue(
        self,
        *names: str,
        key: Any = None,
        subject: str = "server.example",
        usage: x509.ObjectIdentifier | None = None,
        not_before: datetime = NOW - timedelta(days=1),
        not_after: datetime = NOW + timedelta(days=30),
    ) -> Issued:
        """A certificate for DNS names and IP addresses; P-256 if no ``key`` is given.

        :param usage: the one thing that it is for; any, if none is given.
        """
        key = key or ecdsa_key()
        builder = self.builder(_distinguished(subject), key, not_before, not_after)
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names:
            general = [_general_name(name) for name in names]
            builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
        return Issued(builder.sign(self.key, hashes.SHA256()), key, self.intermediates)

    def write(self, directory: Path, name: str = "authority") -> Path:
        """Write the authority's own certificate as ``name.pem``, for a client to trust."""
        path = directory / f"{name}.pem"
        path.write_bytes(pem(self.certificate))
        return path

    def builder(
        self,
        subject: x509.Name,
        key: Any,
        not_before: datetime = NOW - timedelta(days=1),
        not_after: datetime = NOW + timedelta(days=30),
    ) -> x509.CertificateBuilder:
        own, issuer = key.public_key(), self.key.public_key()
        by = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(own)
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before)
            .not_valid_after(not_after)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(own), critical=False)
            .add_extension(by, critical=False)
        )


def _distinguished(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
