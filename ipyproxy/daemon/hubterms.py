"""The terms for connections to a hub and its servers: tokens and certificates.

Values, and TLS contexts made from them. Knows nothing of files or connections.
"""

from __future__ import annotations

from typing import NamedTuple

from cryptography import x509

from ipyproxy.routes.route import Server
from ipyproxy.tls import Certificate, Terms, UpstreamTLS


class Identity(NamedTuple):
    """The certificate of one side of the proxy, and the terms for TLS with it."""

    certificate: Certificate
    terms: Terms


class ServerTerms(NamedTuple):
    """The terms for TLS to servers.

    :ivar own: the proxy's client certificate; None: none.
    :ivar authorities: the authorities for the servers' certificates; None: those of this system.
    :ivar verifies: whether the servers' certificates are verified at all.
    """

    own: Certificate | None = None
    authorities: tuple[x509.Certificate, ...] | None = None
    verifies: bool = True


class TermsOf:
    """The terms for TLS to each server, which differ only in its name."""

    def __init__(self, servers: ServerTerms) -> None:
        self._servers = servers
        self._made: UpstreamTLS | None = None

    def __call__(self, server: Server) -> UpstreamTLS:
        """The terms for ``server``."""
        if self._made is None:
            own, authorities, verifies = self._servers
            self._made = UpstreamTLS(server.tls_name, authorities, own, verifies=verifies)
        return self._made.named(server.tls_name)


class HubFiles(NamedTuple):
    """The content of the files that ``[jupyterhub]`` names."""

    token: bytes = b""
    api: Identity | None = None
    servers: ServerTerms = ServerTerms()
