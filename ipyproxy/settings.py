"""All that the daemon runs with, read whole before any of it is used: configuration, certificate.

Knows which files a configuration names, and reads them. Knows nothing of the command line, nor of
what is made of it all.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ipyproxy.config import Config, ConfigError
from ipyproxy.tls import (
    Certificate,
    CertificateError,
    development_certificate,
    load_certificate,
)


@dataclass(frozen=True, slots=True)
class Settings:
    """A configuration, and what stood in the files that it names."""

    config: Config
    certificate: Certificate


def load(config: Config, state_directory: Path) -> Settings:
    """Read what ``config`` names.

    :param state_directory: where the development certificate is kept, if none is configured.
    :raises ConfigError: if there is no certificate to serve with.
    """
    tls = config.tls
    try:
        if tls.certificate is not None and tls.key is not None:
            certificate = load_certificate(tls.certificate, tls.key)
        else:
            now = datetime.now(UTC)
            certificate = development_certificate(state_directory, socket.gethostname(), now)
    except CertificateError as error:
        raise ConfigError([str(error)]) from error
    return Settings(config, certificate)


def check(config: Config) -> None:
    """Look at what ``config`` names, as :func:`load` does, but make nothing.

    :raises ConfigError: also for a certificate that browsers would refuse.
    """
    tls = config.tls
    if tls.certificate is None or tls.key is None:
        return
    try:
        certificate = load_certificate(tls.certificate, tls.key)
    except CertificateError as error:
        raise ConfigError([str(error)]) from error
    if certificate.is_expired(datetime.now(UTC)):
        raise ConfigError([f"{tls.certificate}: expired on {certificate.not_after:%Y-%m-%d}"])
