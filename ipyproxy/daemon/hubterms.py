"""The terms on which a hub and its servers are spoken to: tokens, certificates, and whose.

Values, but for the contexts of TLS that are made of them. Knows nothing of files or connections.
"""

from __future__ import annotations

from typing import NamedTuple

from cryptography import x509

from ipyproxy.routes.route import Server
from ipyproxy.tls import Certificate, Terms, UpstreamTLS


class Identity(NamedTuple):
    """How one side of the proxy is known: its certificate, and on which terms it is shown."""

    certificate: Certificate
    terms: Terms


class ServerTerms(NamedTuple):
    """How servers are spoken to by TLS.

    :ivar own: the certificate that the proxy shows; None: none.
    :ivar authorities: who may have issued theirs; None: whom this system trusts.
    :ivar verifies: whether that is looked at at all.
    """

    own: Certificate | None = None
    authorities: tuple[x509.Certificate, ...] | None = None
    verifies: bool = True


class TermsOf:
    """The terms of TLS for each server; they differ in its name alone."""

    def __init__(self, servers: ServerTerms) -> None:
        self._servers = servers
        self._made: UpstreamTLS | None = None

    def __call__(self, server: Server) -> UpstreamTLS:
        """The terms on which ``server`` is spoken to."""
        if self._made is None:
            own, authorities, verifies = self._servers
            self._made = UpstreamTLS(server.tls_name, authorities, own, verifies=verifies)
        return self._made.named(server.tls_name)


class HubFiles(NamedTuple):
    """What stood in the files that ``[jupyterhub]`` names."""

    token: bytes = b""
    api: Identity | None = None
    servers: ServerTerms = ServerTerms()
