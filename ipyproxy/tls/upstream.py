"""TLS to upstreams: contexts, and the check of their certificates.

Knows pyOpenSSL contexts and service_identity. Knows nothing of sockets or configuration files.
"""

from __future__ import annotations

from copy import copy
from socket import socket

from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.pyopenssl import verify_hostname, verify_ip_address

from ipyproxy.net.hosts import parse_address
from ipyproxy.tls.certificates import Certificate
from ipyproxy.tls.contexts import use


class UpstreamTLS:
    """The terms for TLS to upstreams; see :class:`ipyproxy.net.address.ClientTLS`.

    :param name: the host name or address that their certificates must contain.
    :param authorities: the authorities for them, or the certificates themselves; None: the
        authorities that this system trusts.
    :param own: the proxy's client certificate; None: none.
    :param verifies: whether certificates are verified at all.
    """

    def __init__(
        self,
        name: str,
        authorities: tuple[x509.Certificate, ...] | None,
        own: Certificate | None = None,
        *,
        verifies: bool = True,
    ) -> None:
        self._name = name
        self._authorities = authorities
        self._own = own
        self._verifies = verifies
        self._is_address = parse_address(name) is not None
        context = self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_alpn_protos([b"http/1.1"])
        context.set_verify(SSL.VERIFY_PEER if verifies else SSL.VERIFY_NONE)
        if own is not None:
            use(context, own)
        if authorities is None:
            context.set_default_verify_paths()
            return
        store = context.get_cert_store()
        assert store is not None
        # All certificates in the file are trusted: roots, or a notebook's own certificate.
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        for authority in authorities:
            store.add_cert(crypto.X509.from_cryptography(authority))

    def named(self, name: str) -> UpstreamTLS:
        """The same terms for servers with another ``name``.

        They share one context, since the authorities of a system take a megabyte.
        """
        terms = copy(self)
        terms._name = name
        terms._is_address = parse_address(name) is not None
        return terms

    def __eq__(self, other: object) -> bool:
        """Whether the terms are interchangeable."""
        if not isinstance(other, UpstreamTLS):
            return NotImplemented
        return self._terms == other._terms

    def __hash__(self) -> int:
        return hash(self._terms)

    @property
    def _terms(self) -> tuple[object, ...]:
        return self._name, self._authorities, self._own, self._verifies

    def connection(self, sock: socket | None) -> SSL.Connection:
        """A new connection as the client, on ``sock`` or memory BIOs."""
        connection = SSL.Connection(self._context, sock)
        connection.set_connect_state()
        if not self._is_address:  # RFC 6066 section 3 forbids addresses
            connection.set_tlsext_host_name(self._name.encode("ascii"))
        return connection

    def fault(self, connection: SSL.Connection) -> str | None:
        """Why the notebook's valid certificate does not contain the name; None if it does."""
        if not self._verifies:
            return None
        verify = verify_ip_address if self._is_address else verify_hostname
        try:
            verify(connection, self._name)
        except (VerificationError, CertificateError):
            return f"TLS: the certificate is not one for {self._name}"
        return None
