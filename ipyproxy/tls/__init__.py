"""Certificates, and the terms on which the proxy speaks TLS.

Knows certificates and pyOpenSSL contexts. Knows nothing of HTTP, sockets or configuration files.
"""

from ipyproxy.tls.certificates import Certificate, CertificateError
from ipyproxy.tls.clients import ClientAuthorities, client_subject
from ipyproxy.tls.contexts import Profile, Terms
from ipyproxy.tls.development import development_certificate
from ipyproxy.tls.loading import (
    load_authorities,
    load_certificate,
    load_directory,
    load_trusted,
)
from ipyproxy.tls.serving import ServerTLS
from ipyproxy.tls.sources import Development, Directory, FilePair, Source, load_all
from ipyproxy.tls.upstream import UpstreamTLS

__all__ = [
    "Certificate",
    "CertificateError",
    "ClientAuthorities",
    "Development",
    "Directory",
    "FilePair",
    "Profile",
    "ServerTLS",
    "Source",
    "Terms",
    "UpstreamTLS",
    "client_subject",
    "development_certificate",
    "load_all",
    "load_authorities",
    "load_certificate",
    "load_directory",
    "load_trusted",
]
