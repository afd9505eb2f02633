"""Where certificates come from: each source gives those that it has now.

Knows the sources that are files of the administrator's, and the certificate that is made up. A
source elsewhere (:mod:`ipyproxy.acme.store`) only has the same one method. Knows nothing of how a
certificate is served, or of the configuration.
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
        """Read those that there are now. Raises CertificateError."""


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
    """Each ``*.pem`` file of a directory; one without any is an error."""

    path: Path

    def load(self) -> Sequence[Certificate]:
        """See :class:`Source`."""
        return load_directory(self.path)


@dataclass(frozen=True)
class Development:
    """The certificate that is made up for this host, and kept in a directory."""

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
    """``certificates`` with ``renewed`` in the place of the one from the same file.

    One that is new comes last. A development certificate has done its part then, and goes.
    """
    kept = [each for each in certificates if not each.is_development]
    for at, each in enumerate(kept):
        if each.certificate == renewed.certificate:
            kept[at] = renewed
            return tuple(kept)
    return (*kept, renewed)
