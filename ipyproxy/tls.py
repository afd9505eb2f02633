"""Certificates, and the terms on which the proxy speaks TLS.

Knows certificates and pyOpenSSL contexts. Knows nothing of HTTP, sockets or configuration files.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL
from OpenSSL.SSL import _lib  # type: ignore[attr-defined]  # see _set_groups

from ipyproxy.hosts import is_host_name, parse_address

# Mozilla's "intermediate" guideline 6.0: forward secrecy and AEAD only. Clients choose among the
# suites, for they know whether their processor has AES.
_TLS_1_2_SUITES = b":".join(
    (
        b"ECDHE-ECDSA-AES128-GCM-SHA256",
        b"ECDHE-RSA-AES128-GCM-SHA256",
        b"ECDHE-ECDSA-AES256-GCM-SHA384",
        b"ECDHE-RSA-AES256-GCM-SHA384",
        b"ECDHE-ECDSA-CHACHA20-POLY1305",
        b"ECDHE-RSA-CHACHA20-POLY1305",
    )
)
_TLS_1_3_SUITES = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
# "?": passed over by an OpenSSL that does not know it (before 3.5).
_GROUPS = b"?X25519MLKEM768:X25519:P-256:P-384"

_DEVELOPMENT_FILE = "development.pem"
_DEVELOPMENT_NAMES = ("localhost", "127.0.0.1", "::1")
# Browsers take at most 398 days, and some clocks are a little behind.
_LIFETIME = timedelta(days=397)
_CLOCK_SLACK = timedelta(hours=1)
_LEAST_LIFE_LEFT = timedelta(days=1)


class CertificateError(Exception):
    """A certificate cannot be served: which file, what is wrong, what to do, in one sentence."""


@dataclass(frozen=True)
class Certificate:
    """A certificate that can be served, with its key: what two files held when they were read.

    The contents are kept, so that a new context needs neither the disk nor the rights to read the
    key, and never mixes the halves of a renewal that is just being written.
    """

    certificate: Path
    key: Path
    names: tuple[str, ...]
    """Lower-case DNS names (perhaps with a ``*`` label) and IP addresses."""
    not_after: datetime
    """The moment after which browsers refuse it (aware, UTC)."""
    is_development: bool
    """Made by :func:`development_certificate`: no browser trusts it unasked."""
    chain: tuple[x509.Certificate, ...] = field(repr=False)
    """The server's own certificate, then the intermediates."""
    private_key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = field(repr=False, compare=False)

    def is_expired(self, now: datetime) -> bool:
        """Whether browsers refuse it at ``now`` (aware) for its age."""
        return now > self.not_after


def load_certificate(certificate: Path, key: Path) -> Certificate:
    """Read and validate the PEM files of a certificate chain and of its key (it may be one file).

    An expired one is loaded: a warning page is better than none. Raises CertificateError.
    """
    chain = _read_chain(certificate)
    private_key = _read_key(key)
    public_key = private_key.public_key()
    try:
        belongs = [link.public_key() == public_key for link in chain]
        names = _names(chain[0])
        not_after = chain[0].not_valid_after_utc
    # DuplicateExtension and its like share no base class with the rest.
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
    loaded = Certificate(certificate, key, names, not_after, False, chain, private_key)
    server_context(loaded)  # shows what OpenSSL itself refuses, such as a short key
    return loaded


def _read_chain(path: Path) -> tuple[x509.Certificate, ...]:
    content = _read(path)
    try:
        chain = tuple(x509.load_pem_x509_certificates(content))
        # A last certificate that is cut short is passed over in silence, and browsers miss it.
        if 2 * len(chain) != content.count(b"CERTIFICATE-----"):
            raise ValueError
    except ValueError as error:
        raise CertificateError(
            f"{path} holds no whole PEM certificates; it should hold the server's certificate, "
            "then the intermediates, each from BEGIN CERTIFICATE to END CERTIFICATE."
        ) from error
    return chain


def _read_key(path: Path) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except TypeError as error:
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


def server_context(certificate: Certificate) -> SSL.Context:
    """A new context for connections from browsers, on Mozilla's "intermediate" terms.

    The keys that seal session tickets are the context's own. OpenSSL never changes them, and
    whoever gets hold of them can read recorded TLS 1.2 connections that were resumed: a new
    context now and then (:meth:`ServerTLS.replace`) is what limits that. Raises CertificateError.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(_TLS_1_2_SUITES)
    context.set_tls13_ciphersuites(_TLS_1_3_SUITES)
    _set_groups(context)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    # Tickets keep sessions on the client's side. The cache would keep up to 20480 more here, at
    # 1.1 KiB each, for clients that ask for no ticket, which no browser is.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_alpn_select_callback(_select_protocol)
    try:
        context.use_certificate(certificate.chain[0])
        for intermediate in certificate.chain[1:]:
            context.add_extra_chain_cert(intermediate)
        context.use_privatekey(certificate.private_key)
    except SSL.Error as error:
        reason = ", ".join(entry[2] for entry in error.args[0])
        raise CertificateError(
            f"OpenSSL refuses the certificate in {certificate.certificate} ({reason}); have it "
            "issued for an RSA key of 2048 bits or a P-256 key, and signed with SHA-256."
        ) from error
    return context


def _set_groups(context: SSL.Context) -> None:
    """Leave the guideline's groups only.

    pyOpenSSL has no public way (``set_tmp_ecdh`` leaves one single group). Without this, OpenSSL
    also takes ffdhe3072, and then a client that sends a few made-up bytes and computes nothing
    has the server compute seven times as long as for X25519 (CVE-2002-20001).
    """
    if _lib.SSL_CTX_set1_curves_list(context._context, _GROUPS) != 1:
        raise RuntimeError("OpenSSL 3.3 or newer is needed, to choose the groups of TLS.")


def _select_protocol(_connection: SSL.Connection, offered: list[bytes]) -> bytes:
    """Answer ALPN with HTTP/1.x; end with an alert if only others are offered (RFC 7301 3.2).

    Browsers always offer http/1.1, beside h2, and alone for WebSocket; ``curl -0`` offers http/1.0.
    A client that offers neither would send what we do not speak, or an attacker led it here from
    another protocol's server (the ALPACA attack). pyOpenSSL makes the alert of an exception, and
    raises that from the call that was reading: so it is one that readers expect there.
    """
    for spoken in (b"http/1.1", b"http/1.0"):
        if spoken in offered:
            return spoken
    raise SSL.Error([("SSL routines", "", "no application protocol")])


class ServerTLS:
    """Makes the TLS side of new connections, with a certificate that can be replaced."""

    def __init__(self, certificate: Certificate) -> None:
        self._context = server_context(certificate)
        self._certificate = certificate

    @property
    def certificate(self) -> Certificate:
        """What new connections are served with."""
        return self._certificate

    def connection(self) -> SSL.Connection:
        """The server's end of a new connection: on memory BIOs, awaiting the client."""
        connection = SSL.Connection(self._context, None)
        connection.set_accept_state()
        return connection

    def replace(self, certificate: Certificate) -> None:
        """Serve new connections with ``certificate``; open ones keep what they began with.

        Also gives tickets new keys, so it is worth calling once a day with the same certificate.
        Raises CertificateError, and then nothing has changed.
        """
        # pyOpenSSL refuses to change a context that has been used, so there is a new one.
        self._context, self._certificate = server_context(certificate), certificate


def development_certificate(directory: Path, hostname: str, now: datetime) -> Certificate:
    """A self-signed certificate for this host, made once and kept in ``directory``.

    It bears ``localhost``, the loopback addresses and ``hostname``, if that is a valid name. It is
    made anew when it lacks a name, has less than a day to live at ``now`` (aware), cannot be read,
    or lay open to others. Certificate and key share one file, so that a crash or a second process
    can never leave a pair that does not match. Raises CertificateError.
    """
    host = hostname.lower()
    names = set(_DEVELOPMENT_NAMES) | ({host} if is_host_name(host) else set())
    path = directory / _DEVELOPMENT_FILE
    try:
        for missing in (directory, *directory.parents)[::-1]:
            missing.mkdir(mode=0o700, exist_ok=True)
        _require_own(directory)
        if not _is_reusable(path, names, now):
            _write_private(path, _self_signed(sorted(names), now))
    except OSError as error:
        raise CertificateError(
            f"The development certificate cannot be kept in {directory} ({error.strerror}); name a "
            "certificate of your own, or a directory that the service's user may write to."
        ) from error
    return replace(load_certificate(path, path), is_development=True)


def _require_own(directory: Path) -> None:
    """Refuse a directory where others could plant a certificate whose key they know."""
    status = directory.stat()
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
        raise CertificateError(
            f"Others may write to {directory}, so a development certificate in there could be "
            "theirs; make it the service's own with mode 0700, or name another directory."
        )


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


def _write_private(path: Path, content: bytes) -> None:
    """Write a file that is whole or not there; mkstemp makes it 0600 and is nobody else's."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
