"""Certificates that browsers show: who may issue them, and whom they name.

Knows pyOpenSSL. Knows nothing of what a name entitles to.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography import x509
from OpenSSL import SSL, crypto

# Sessions are resumed on terms that they were made on; OpenSSL asks for a name of these where a
# session may hold a client's certificate.
_SESSIONS_OF = b"ipyproxy"


@dataclass(frozen=True)
class ClientAuthorities:
    """Who may issue the certificates of clients, and whether each client needs one."""

    authorities: tuple[x509.Certificate, ...] = field(repr=False)
    required: bool


def ask_for_certificate(context: SSL.Context, clients: ClientAuthorities) -> None:
    """Let ``context`` ask each client for a certificate, and refuse one that does not hold.

    OpenSSL looks at its chain, its age, and that it was issued for clients (or for no purpose in
    particular). A session that is resumed keeps the certificate that it began with.
    """
    store = context.get_cert_store()
    assert store is not None
    # An authority is trusted as it stands in the file, whether it is a root or not.
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    for authority in clients.authorities:
        store.add_cert(crypto.X509.from_cryptography(authority))
        context.add_client_ca(authority)
    context.set_verify(
        SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if clients.required else 0)
    )
    context.set_session_id(_SESSIONS_OF)


def client_subject(connection: SSL.Connection) -> str | None:
    """Whom the client's certificate names (RFC 4514), such as ``CN=ada,O=Example``; None without.

    There is one only after a handshake in which it was verified, or when that session is resumed:
    without ``tls.client_ca`` no client is asked for one.
    """
    certificate = connection.get_peer_certificate(as_cryptography=True)
    return None if certificate is None else certificate.subject.rfc4514_string()
