"""TLS contexts for browsers: versions, cipher suites, groups, protocols and sessions.

Knows pyOpenSSL contexts. Knows nothing of files, of names, or of when a context is chosen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from OpenSSL.SSL import _lib  # type: ignore[attr-defined]  # see _set_groups

from ipyproxy.tls.certificates import Certificate, CertificateError
from ipyproxy.tls.clients import ClientAuthorities, ask_for_certificate

# Mozilla's guideline 6.0: forward secrecy and AEAD only. Clients choose the suite, because they
# know whether their processor has AES instructions.
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
# "?": an OpenSSL that does not know it (before 3.5) ignores it.
_GROUPS = b"?X25519MLKEM768:X25519:P-256:P-384"


class Profile(Enum):
    """Mozilla's configurations for old and new browsers; the value is the oldest TLS version."""

    INTERMEDIATE = SSL.TLS1_2_VERSION
    MODERN = SSL.TLS1_3_VERSION


@dataclass(frozen=True)
class Terms:
    """The terms for all browsers, for any host name."""

    profile: Profile = Profile.INTERMEDIATE
    clients: ClientAuthorities | None = None
    """The authorities for client certificates; None: none are requested."""
    refuses_unknown_names: bool = False
    """Whether to refuse a client whose SNI is none of our names, before showing a certificate."""


Selection = Callable[[SSL.Connection, list[bytes]], bytes]
"""Chooses one of the protocols that a client offers (ALPN), or raises SSL.Error."""


def select_protocol(_connection: SSL.Connection, offered: list[bytes]) -> bytes:
    """Answer ALPN with HTTP/1.x; end with an alert if only others are offered (RFC 7301 3.2).

    Browsers always offer http/1.1, together with h2, or alone for WebSocket; ``curl -0`` offers
    http/1.0. A client that offers neither speaks another protocol, or an attacker has redirected it
    from another protocol's server (the ALPACA attack). pyOpenSSL turns an exception into the alert,
    and raises it from the call that reads; so it must be an exception that readers expect.
    """
    for spoken in (b"http/1.1", b"http/1.0"):
        if spoken in offered:
            return spoken
    raise SSL.Error([("SSL routines", "", "no application protocol")])


def server_context(
    certificates: Iterable[Certificate], terms: Terms, select: Selection = select_protocol
) -> SSL.Context:
    """A new context for ``certificates``; several must have different kinds of keys.

    Each context has its own keys for session tickets. OpenSSL never changes them, and with a stolen
    key recorded TLS 1.2 connections that were resumed can be decrypted; a new context from time to
    time limits that. Raises CertificateError.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(terms.profile.value)
    context.set_cipher_list(_TLS_1_2_SUITES)
    context.set_tls13_ciphersuites(_TLS_1_3_SUITES)
    _set_groups(context)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    # With tickets, clients store the sessions. OpenSSL's cache would store up to 20480 more here,
    # at 1.1 KiB each, for clients without tickets, and no browser is one.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_alpn_select_callback(select)
    if terms.clients is not None:
        ask_for_certificate(context, terms.clients)
    for certificate in certificates:
        use(context, certificate)
    return context


def use(context: SSL.Context, certificate: Certificate) -> None:
    """Add ``certificate`` to ``context``. Raises CertificateError."""
    try:
        _use_chain(context, certificate.chain)
        context.use_privatekey(certificate.private_key)
    except SSL.Error as error:
        reason = ", ".join(entry[2] for entry in error.args[0])
        raise CertificateError(
            f"OpenSSL refuses the certificate in {certificate.certificate} ({reason}); have it "
            "issued for an RSA key of 2048 bits or a P-256 key, and signed with SHA-256."
        ) from error


def _use_chain(context: SSL.Context, chain: Iterable[x509.Certificate]) -> None:
    """Add ``chain`` to the context.

    With pyOpenSSL, two certificates can have separate intermediates only if they are read from a
    file. The file need not be on a disk.
    """
    with os.fdopen(os.memfd_create("chain"), "wb") as file:
        file.writelines(link.public_bytes(Encoding.PEM) for link in chain)
        file.flush()
        context.use_certificate_chain_file(f"/proc/self/fd/{file.fileno()}")


def _set_groups(context: SSL.Context) -> None:
    """Allow only the guideline's groups.

    pyOpenSSL has no public method for this (``set_tmp_ecdh`` allows a single group). Without it,
    OpenSSL also accepts ffdhe3072, and a client that sends a few made-up bytes makes the server
    compute seven times as long as for X25519 (CVE-2002-20001).
    """
    if _lib.SSL_CTX_set1_curves_list(context._context, _GROUPS) != 1:
        raise RuntimeError("OpenSSL 3.3 or newer is needed, to choose the groups of TLS.")
