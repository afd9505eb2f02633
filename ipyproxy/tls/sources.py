"""Sources of certificates: each one returns its present certificates.

Knows the administrator's files and the development certificate. Other sources
(:mod:`ipyproxy.acme.store`) have the same method. Knows nothing of how a certificate is served, or
of the configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from ipyproxy.net.ownnames import own_names
from ipyproxy.tls.certificates import Certificate
from ipyproxy.tls.development import development_certificate
from ipyproxy.tls.loading import load_certificate, load_directory


class Source(Protocol):
    """Something that has certificates."""

    def load(self) -> Sequence[Certificate]:
        """Read the present certificates. Raises CertificateError."""


@dataclass(frozen=True)
class FilePair:
    """One certificate, in two PEM files (or one file twice)."""

    certificate: Path
    key: Path

    def load(self) -> Sequence[Certificate]:
        """See :class:`Source`."""
        return (load_certificate(self.certificate, self.key),)


@dataclass(frozen=True)
class Directory:
    """Each ``*.pem`` file of a directory; an empty directory is an error."""

    path: Path

    def load(self) -> Sequence[Certificate]:
        """See :class:`Source`."""
        return load_directory(self.path)


@dataclass(frozen=True)
class Development:
    """The development certificate for this host, stored in a directory."""

    directory: Path

    def load(self) -> Sequence[Certificate]:
        """See :class:`Source`."""
        now = datetime.now(UTC)
        return (development_certificate(self.directory, own_names(), now),)


def load_all(sources: Iterable[Source]) -> tuple[Certificate, ...]:
    """The certificates of all ``sources``, in their order. Raises CertificateError."""
    return tuple(certificate for source in sources for certificate in source.load())


def with_renewed(
    certificates: Iterable[Certificate], renewed: Certificate
) -> tuple[Certificate, ...]:
    """``certificates`` with ``renewed`` instead of the one from the same file.

    A certificate from a new file comes last. A development certificate is removed, since it is not
    needed any more.
    """
    kept = [each for each in certificates if not each.is_development]
    for at, each in enumerate(kept):
        if each.certificate == renewed.certificate:
            kept[at] = renewed
            return tuple(kept)
    return (*kept, renewed)
