"""A certificate with its key, ready to be served.

Knows the contents of certificates. Knows nothing of files, contexts or connections.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

SOON = timedelta(days=14)
"""Warnings begin so long before a certificate expires."""
_SOON_OF_SHORT = 4
"""For a certificate with less than 4 times this lifetime, they begin in its last quarter."""


class CertificateError(Exception):
    """A certificate cannot be served; the message says which file, why, and what to do."""


@dataclass(frozen=True)
class Certificate:
    """A certificate that can be served, with its key, as read from two files.

    The contents are kept in memory, so that a new context needs neither the disk nor the rights to
    read the key, and never mixes old and new files during a renewal.
    """

    certificate: Path
    key: Path
    names: tuple[str, ...]
    """Lower-case DNS names (perhaps with a ``*`` label) and IP addresses."""
    not_before: datetime
    """Start of validity (with time zone, UTC)."""
    not_after: datetime
    """End of validity (with time zone, UTC)."""
    is_development: bool
    """Whether :func:`development_certificate` made it; no browser trusts it by default."""
    chain: tuple[x509.Certificate, ...] = field(repr=False)
    """The server's own certificate, then the intermediates."""
    private_key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = field(repr=False, compare=False)

    @property
    def is_self_signed(self) -> bool:
        """Whether it is self-signed, so browsers show a warning."""
        return self.chain[0].issuer == self.chain[0].subject

    def ends_soon(self, now: datetime) -> bool:
        """Whether it should have been renewed long before ``now`` (aware)."""
        margin = min(SOON, (self.not_after - self.not_before) / _SOON_OF_SHORT)
        return now > self.not_after - margin

    def is_expired(self, now: datetime) -> bool:
        """Whether it has expired at ``now`` (with time zone)."""
        return now > self.not_after

    def __str__(self) -> str:
        """A description for the log."""
        kind = "a development one, which no browser trusts, " if self.is_development else ""
        names = ", ".join(self.names)
        return f"{kind}{self.certificate}, for {names}, until {self.not_after:%Y-%m-%d}"
