"""Loads certificates from PEM files and checks that they can be served.

Knows files and X.509. Knows nothing of connections or of the configuration.
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ipyproxy.net.hosts import parse_address
from ipyproxy.tls.certificates import Certificate, CertificateError
from ipyproxy.tls.contexts import Terms, server_context


def load_certificate(certificate: Path, key: Path, passphrase: bytes | None = None) -> Certificate:
    """Read and validate the PEM files of a certificate chain and of its key (it may be one file).

    An expired certificate is loaded too: a browser's warning is better than nothing. Raises
    CertificateError.

    :param passphrase: the passphrase of the key; None: it is not encrypted.
    """
    chain = _read_chain(certificate)
    private_key = _read_key(key, passphrase)
    public_key = private_key.public_key()
    try:
        belongs = [link.public_key() == public_key for link in chain]
        names = _names(chain[0])
        not_before = chain[0].not_valid_before_utc
        not_after = chain[0].not_valid_after_utc
    # DuplicateExtension and similar errors share no base class with the others.
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise CertificateError(
            f"{certificate} holds a certificate that is malformed ({error}); have it issued again."
        ) from error
    if not belongs[0] and any(belongs):
        raise CertificateError(
            f"{certificate} does not begin with the server's own certificate; put that first and "
            "the intermediate certificates behind it."
        )
    if not belongs[0]:
        raise CertificateError(
            f"The private key in {key} does not belong to the certificate in {certificate}; name "
            "the key that this certificate was issued for."
        )
    if not names:
        raise CertificateError(
            f"The certificate in {certificate} names no host in its subjectAltName, the only place "
            "where browsers look; have it issued with the names of this server."
        )
    loaded = Certificate(certificate, key, names, not_before, not_after, False, chain, private_key)
    server_context((loaded,), Terms())  # fails for what OpenSSL refuses, such as a short key
    return loaded


def load_directory(directory: Path) -> tuple[Certificate, ...]:
    """Load each ``*.pem`` file in ``directory``: chain and key, or with the key in ``*.key``.

    Raises CertificateError, also if there is none.
    """
    try:
        files = sorted(path for path in directory.iterdir() if path.suffix == ".pem")
    except OSError as error:
        raise CertificateError(
            f"{directory} cannot be read ({error.strerror}); it should be a directory of PEM files "
            "that the service's user may read."
        ) from error
    if not files:
        raise CertificateError(
            f"There is no certificate in {directory}; put a file there for each, such as "
            "example.org.pem, that holds the private key, the certificate and the intermediates."
        )
    keys = [path.with_suffix(".key") for path in files]
    return tuple(
        load_certificate(path, key if key.exists() else path)
        for path, key in zip(files, keys, strict=True)
    )


def load_authorities(path: Path) -> tuple[x509.Certificate, ...]:
    """Load the authorities in a PEM file that may issue a peer's certificate.

    Raises CertificateError.
    """
    authorities = load_trusted(path)
    for authority in authorities:
        if not _is_authority(authority):
            raise CertificateError(
                f"{path} holds a certificate that may not issue others "
                f"({authority.subject.rfc4514_string()}); it should hold those of authorities."
            )
    return authorities


def load_trusted(path: Path) -> tuple[x509.Certificate, ...]:
    """Load the trusted certificates in a PEM file. Raises CertificateError."""
    return _read_chain(path)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return False
    return found.value.ca


def _read_chain(path: Path) -> tuple[x509.Certificate, ...]:
    content = _read(path)
    try:
        chain = tuple(x509.load_pem_x509_certificates(content))
        # The library skips a truncated last certificate silently, and browsers would miss it.
        if 2 * len(chain) != content.count(b"CERTIFICATE-----"):
            raise ValueError
    except ValueError as error:
        raise CertificateError(
            f"{path} holds no whole PEM certificates; it should hold the server's certificate, "
            "then the intermediates, each from BEGIN CERTIFICATE to END CERTIFICATE."
        ) from error
    return chain


def _read_key(
    path: Path, passphrase: bytes | None = None
) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(_read(path), password=passphrase)
    except TypeError as error:
        if passphrase is not None:
            return _read_key(path)  # a key that is not encrypted needs no passphrase
        raise CertificateError(
            f"The private key in {path} is encrypted, and a service has nobody to ask for the "
            "passphrase; write it unencrypted with 'openssl pkey', readable by the service only."
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(
            f"{path} holds no readable PEM private key; name the file that was made along with "
            "the certificate request."
        ) from error
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise CertificateError(
            f"The private key in {path} is neither RSA nor ECDSA, and browsers take no other kind; "
            "make a key with 'openssl ecparam -name prime256v1 -genkey' and have the certificate "
            "issued for it."
        )
    return key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(
            f"{path} cannot be read ({error.strerror}); check the path, and that the service's "
            "user may read it."
        ) from error


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    # An address counts only as an iPAddress, never spelled as a dNSName (RFC 9525 section 6.4).
    hosts = [name.lower() for name in extension.value.get_values_for_type(x509.DNSName)]
    addresses = extension.value.get_values_for_type(x509.IPAddress)
    names = [host for host in hosts if not parse_address(host)] + [str(ip) for ip in addresses]
    return tuple(dict.fromkeys(names))
