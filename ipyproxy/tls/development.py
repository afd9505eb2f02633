"""The development certificate: self-signed, made if none is configured, and stored.

Knows one file in one directory. Knows nothing of how it is served.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ipyproxy.net.hosts import is_host_name, parse_address
from ipyproxy.statefiles import NotOwnError, own_directory, write
from ipyproxy.tls.certificates import Certificate, CertificateError
from ipyproxy.tls.loading import load_certificate

_DEVELOPMENT_FILE = "development.pem"
_DEVELOPMENT_NAMES = ("localhost", "127.0.0.1", "::1")
# Browsers accept at most 398 days, and some clocks are a little slow.
_LIFETIME = timedelta(days=397)
_CLOCK_SLACK = timedelta(hours=1)
_LEAST_LIFE_LEFT = timedelta(days=1)


def development_certificate(directory: Path, own: Collection[str], now: datetime) -> Certificate:
    """A self-signed certificate for this host, made once and stored in ``directory``.

    It contains ``localhost``, the loopback addresses, and the valid ones of the host's ``own``
    names and addresses. A new one is made if a name is missing, if it expires within a day of
    ``now`` (with time zone), if it cannot be read, or if others could read it. Certificate and key
    are in one file, so that they always match, even after a crash or with a second process. Raises
    CertificateError.
    """
    valid = {name.lower() for name in own if is_host_name(name.lower()) or parse_address(name)}
    names = {*_DEVELOPMENT_NAMES, *valid}
    path = directory / _DEVELOPMENT_FILE
    try:
        with own_directory(directory):
            if not _is_reusable(path, names, now):
                write(path, _self_signed(sorted(names), now))
    except NotOwnError as error:
        raise CertificateError(
            f"Others may write to {directory}, so a development certificate in there could be "
            "theirs; make it the service's own with mode 0700, or name another directory."
        ) from error
    except OSError as error:
        raise CertificateError(
            f"The development certificate cannot be kept in {directory} ({error.strerror}); name a "
            "certificate of your own, or a directory that the service's user may write to."
        ) from error
    return replace(load_certificate(path, path), is_development=True)


def _is_reusable(path: Path, names: Collection[str], now: datetime) -> bool:
    try:
        status = path.stat()
        found = load_certificate(path, path)
    except (FileNotFoundError, CertificateError):
        return False
    return (
        status.st_uid == os.geteuid()
        and not status.st_mode & 0o077
        and set(names) <= set(found.names)
        and found.chain[0].not_valid_before_utc <= now < found.not_after - _LEAST_LIFE_LEFT
    )


def _self_signed(names: Iterable[str], now: datetime) -> bytes:
    """A new P-256 key and a certificate for it, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "ipyproxy development certificate"),
        ]
    )
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    alternatives = [
        x509.IPAddress(address) if (address := parse_address(host)) else x509.DNSName(host)
        for host in names
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SLACK)
        .not_valid_after(now - _CLOCK_SLACK + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, pkcs8, serialization.NoEncryption()) + certificate.public_bytes(
        pem
    )
