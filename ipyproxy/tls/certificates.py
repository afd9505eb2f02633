"""A certificate with its key, as it is served, and why one cannot be.

Knows what is in them. Knows nothing of files' contents, contexts or connections.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

SOON = timedelta(days=14)
"""How long before its end a certificate that should have been renewed is spoken of."""
_SOON_OF_SHORT = 4
"""One that lasts for less than so many times as long: in the last such part of its life."""


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
    not_before: datetime
    """The moment from which on browsers take it (aware, UTC)."""
    not_after: datetime
    """The moment after which browsers refuse it (aware, UTC)."""
    is_development: bool
    """Made by :func:`development_certificate`: no browser trusts it unasked."""
    chain: tuple[x509.Certificate, ...] = field(repr=False)
    """The server's own certificate, then the intermediates."""
    private_key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = field(repr=False, compare=False)

    @property
    def is_self_signed(self) -> bool:
        """Nobody vouches for it: browsers show a warning, and most people go on."""
        return self.chain[0].issuer == self.chain[0].subject

    def ends_soon(self, now: datetime) -> bool:
        """Whether it should have been renewed long before ``now`` (aware)."""
        margin = min(SOON, (self.not_after - self.not_before) / _SOON_OF_SHORT)
        return now > self.not_after - margin

    def is_expired(self, now: datetime) -> bool:
        """Whether browsers refuse it at ``now`` (aware) for its age."""
        return now > self.not_after

    def __str__(self) -> str:
        """Say in a line of the log which one it is."""
        kind = "a development one, which no browser trusts, " if self.is_development else ""
        names = ", ".join(self.names)
        return f"{kind}{self.certificate}, for {names}, until {self.not_after:%Y-%m-%d}"
