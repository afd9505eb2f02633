"""Keys, certificate requests, and the certificates that answer challenges.

Pure: knows X.509. Knows nothing of files, or of who asks.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from enum import Enum
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ipyproxy.acme.jose import base64url
from ipyproxy.net.hosts import parse_address


class Reason(Enum):
    """The reason for revoking a certificate, with its number (RFC 5280 section 5.3.1)."""

    COMPROMISED = 1
    SUPERSEDED = 4


KeyKind = Literal["ecdsa", "rsa"]
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_RSA_BITS = 2048
_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
_LASTS = timedelta(days=7)


def new_key(kind: KeyKind) -> Key:
    """Make a new key. An RSA key may take a second, so call it in a thread."""
    if kind == "rsa":
        return rsa.generate_private_key(65537, _RSA_BITS)
    return ec.generate_private_key(ec.SECP256R1())


def kind_of(key: Key) -> KeyKind:
    """The kind of ``key``."""
    return "rsa" if isinstance(key, rsa.RSAPrivateKey) else "ecdsa"


def key_pem(key: Key) -> bytes:
    """``key`` in PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def signing_request(key: Key, name: str) -> bytes:
    """A request for a certificate for ``name`` only, in DER (RFC 2986)."""
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([_general_name(name)]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )


def challenge_certificate(name: str, key_authorization: str, now: datetime) -> bytes:
    """The key and certificate, in PEM, that answer a tls-alpn-01 challenge (RFC 8737).

    :param now: with a time zone.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    digest = hashlib.sha256(key_authorization.encode()).digest()
    whose = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ACME challenge")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(whose)
        .issuer_name(whose)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LASTS)
        .not_valid_after(now + _LASTS)
        .add_extension(x509.SubjectAlternativeName([_general_name(name)]), critical=False)
        # An OCTET STRING of 32 bytes.
        .add_extension(
            x509.UnrecognizedExtension(_ACME_IDENTIFIER, b"\x04\x20" + digest), critical=True
        )
        .sign(key, hashes.SHA256())
    )
    return key_pem(key) + certificate.public_bytes(Encoding.PEM)


def server_name(name: str) -> str:
    """The SNI that an ACME server sends when it validates ``name``.

    For an address it is its name in the reverse DNS (RFC 8738 section 6).
    """
    address = parse_address(name)
    return name if address is None else address.reverse_pointer


def certificate_id(certificate: x509.Certificate) -> str | None:
    """The identifier of a certificate for renewal information (RFC 9773 section 4.1), or None."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound:
        return None
    if extension.value.key_identifier is None:
        return None
    serial = certificate.serial_number
    # As in DER, an integer whose first bit is set has a leading zero byte.
    number = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return f"{base64url(extension.value.key_identifier)}.{base64url(number)}"


def _general_name(name: str) -> x509.GeneralName:
    address = parse_address(name)
    return x509.DNSName(name) if address is None else x509.IPAddress(address)
