"""Checks a certificate for problems that browsers would find.

Knows X.509, and the authorities that this system trusts. Knows nothing of the configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from OpenSSL import SSL, crypto

from ipyproxy.tls.certificates import Certificate

_ISSUER_UNKNOWN = (2, 20, 21)  # X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT and its kin
_ROOT_UNKNOWN = (18, 19)  # X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT and its kin


def problems(certificate: Certificate) -> Iterator[str]:
    """Why browsers would refuse ``certificate``, apart from its age."""
    path = certificate.certificate
    for link, above in pairwise(certificate.chain):
        if not _issued(above, link):
            yield (
                f"{path}: {_told(link)} was not issued by {_told(above)}, which stands behind it; "
                "put each certificate in front of the one that issued it"
            )


def ages(certificate: Certificate, now: datetime) -> Iterator[str]:
    """Problems with the age of ``certificate`` at ``now`` (with time zone).

    The certificate is served all the same: others beside it may have been renewed, and an old one
    is better than none.
    """
    path, end, own = certificate.certificate, certificate.not_after, certificate.chain[0]
    if certificate.is_expired(now):
        yield f"{path}: expired on {end:%Y-%m-%d}, so browsers refuse it; renew it"
    elif certificate.ends_soon(now):
        yield f"{path}: ends in {(end - now).days} days, on {end:%Y-%m-%d}; renew it now"
    if now < own.not_valid_before_utc:
        yield (
            f"{path}: is not valid before {own.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; wait, or "
            "set this system's clock"
        )
    for link in certificate.chain[1:]:
        if now > link.not_valid_after_utc:
            yield f"{path}: {_told(link)} in its chain expired; take the chain of a new one"


def warnings(certificate: Certificate) -> Iterator[str]:
    """Why some browsers may refuse ``certificate``, or why somebody could misuse it.

    This loads all authorities that the system trusts.
    """
    path = certificate.certificate
    last = certificate.chain[-1]
    failure = _distrust(certificate.chain)
    if failure in _ROOT_UNKNOWN:
        yield f"{path}: {_told(last)} is self-signed: only browsers that were told to will trust it"
    elif failure in _ISSUER_UNKNOWN:
        yield (
            f"{path}: the chain stops at {_told(last)}, whose issuer "
            f"({last.issuer.rfc4514_string()}) this system does not know; put the intermediate "
            "certificates behind it (certbot has all in fullchain.pem), unless that issuer is a "
            "root of your own"
        )
    if certificate.key.stat().st_mode & 0o004:
        yield f"{certificate.key}: anybody on this host may read the private key; chmod o= it"


def _told(certificate: x509.Certificate) -> str:
    return f"the certificate of {certificate.subject.rfc4514_string() or 'nobody'}"


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _distrust(chain: tuple[x509.Certificate, ...]) -> int:
    """Why this system does not trust ``chain``, as OpenSSL's number; 0 if it does."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_default_verify_paths()
    store = context.get_cert_store()
    assert store is not None
    own, *others = map(crypto.X509.from_cryptography, chain)
    try:
        crypto.X509StoreContext(store, own, others).verify_certificate()
    except crypto.X509StoreContextError as error:
        return int(error.errors[0])
    return 0
