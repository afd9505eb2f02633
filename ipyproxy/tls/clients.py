"""Client certificates: the authorities for them, and the subject that they name.

Knows pyOpenSSL. Knows nothing of what a subject may do.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography import x509
from OpenSSL import SSL, crypto

# The session id context: OpenSSL requires one if a session may contain a client certificate, and
# resumes sessions only with the same one.
_SESSIONS_OF = b"ipyproxy"


@dataclass(frozen=True)
class ClientAuthorities:
    """The authorities for client certificates, and whether each client needs one."""

    authorities: tuple[x509.Certificate, ...] = field(repr=False)
    required: bool


def ask_for_certificate(context: SSL.Context, clients: ClientAuthorities) -> None:
    """Make ``context`` request a certificate from each client, and refuse invalid ones.

    OpenSSL checks its chain, its age, and that its purpose includes clients. A resumed session
    keeps its certificate.
    """
    store = context.get_cert_store()
    assert store is not None
    # All authorities in the file are trusted, also those that are no root.
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    for authority in clients.authorities:
        store.add_cert(crypto.X509.from_cryptography(authority))
        context.add_client_ca(authority)
    context.set_verify(
        SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if clients.required else 0)
    )
    context.set_session_id(_SESSIONS_OF)


def client_subject(connection: SSL.Connection) -> str | None:
    """The subject of the client's certificate (RFC 4514), such as ``CN=ada,O=Example``, or None.

    Only a verified certificate counts, also that of a resumed session. Without ``tls.client_ca``
    none is requested.
    """
    certificate = connection.get_peer_certificate(as_cryptography=True)
    return None if certificate is None else certificate.subject.rfc4514_string()
