"""All that the daemon runs with, read whole before any of it is used: configuration, certificates.

Knows which files a configuration names, and reads them. Knows nothing of the command line, nor of
what is made of it all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509

from ipyproxy.config import Config, ConfigError, Notebooks, Tls
from ipyproxy.daemon.gate import AuthFiles, read_files
from ipyproxy.net.hosts import covers
from ipyproxy.tls import (
    Certificate,
    CertificateError,
    ClientAuthorities,
    Development,
    Directory,
    FilePair,
    Profile,
    Source,
    Terms,
    UpstreamTLS,
    load_all,
    load_authorities,
    load_trusted,
)
from ipyproxy.tls.checking import problems, warnings
from ipyproxy.upstream.owners import Owners, OwnersError
from ipyproxy.upstream.tenancy import find_kernel

if TYPE_CHECKING:
    from ipyproxy.acme.store import Store


class Acme(NamedTuple):
    """Certificates that are got by ACME."""

    store: Store
    """Has the names that they are for."""
    trusted: tuple[x509.Certificate, ...] | None
    """Who may have issued the authority's own certificate; None: whom this system trusts."""


class Settings(NamedTuple):
    """A configuration, and what stood in the files that it names."""

    config: Config
    certificates: tuple[Certificate, ...]
    """At least one; the first is the default."""
    terms: Terms
    notebooks_tls: UpstreamTLS | None
    """How notebooks are spoken to; None: plainly."""
    state_directory: Path
    owners: Owners | None
    """Whose notebooks are served; None: anybody's."""
    auth_files: AuthFiles
    acme: Acme | None = None
    """None: all certificates are files."""


def load(config: Config, state_directory: Path) -> Settings:
    """Read what ``config`` names.

    :param state_directory: where what outlives the process is kept, such as the development
        certificate, if none is configured.
    :raises ConfigError: if there is no certificate to serve with, or no users to let in.
    """
    auth_files = read_files(config.auth)
    try:
        certificates = certificate_files(config)
        acme = _acme(config, state_directory, certificates)
        if acme is not None:
            certificates += load_all([acme.store])
        if not certificates:
            certificates = load_all([Development(state_directory)])
        owners = _owners(config)
        return Settings(
            config,
            certificates,
            _terms(config.tls),
            _notebooks_tls(config.notebooks),
            state_directory,
            owners,
            auth_files,
            acme,
        )
    except CertificateError as error:
        raise ConfigError([str(error)]) from error


def _acme(
    config: Config, state_directory: Path, certificates: Sequence[Certificate]
) -> Acme | None:
    """What is to be got beside ``certificates``, which are files."""
    if not config.tls.acme:
        return None
    from ipyproxy.acme.store import Store

    ca = config.tls.acme_ca
    trusted = None if ca is None else load_authorities(ca)
    return Acme(Store(state_directory / "acme", missing_names(config, certificates)), trusted)


def missing_names(config: Config, files: Iterable[Certificate]) -> Sequence[str]:
    """The names that certificates are to be got for, because none of ``files`` bears them."""
    borne = {name for each in files for name in each.names}
    return [name for name in config.certificate_names if not _bears(borne, name)]


def certificate_files(config: Config) -> tuple[Certificate, ...]:
    """The certificates that the configuration names files of. Raises CertificateError."""
    return load_all(_sources(config.tls))


def _bears(names: Collection[str], wanted: str) -> bool:
    return wanted in names or covers(names, wanted)


def _owners(config: Config) -> Owners | None:
    names = config.notebooks.owners
    if not names:
        return None
    try:
        owners = Owners(names)
        # Without it they could not be told from others.
        find_kernel(owners)
        return owners
    except OwnersError as error:
        raise ConfigError([f"notebooks.owners: {error}"]) from error


def _sources(tls: Tls) -> Iterator[Source]:
    """Where the certificates come from; those of the first are the default."""
    if tls.certificate is not None and tls.key is not None:
        yield FilePair(tls.certificate, tls.key)
    if tls.directory is not None:
        yield Directory(tls.directory)


def _notebooks_tls(notebooks: Notebooks) -> UpstreamTLS | None:
    if not notebooks.tls:
        return None
    trusted = None if notebooks.tls_ca is None else load_trusted(notebooks.tls_ca)
    return UpstreamTLS(notebooks.tls_name, trusted)


def _terms(tls: Tls) -> Terms:
    clients = None
    if tls.client_ca is not None:
        clients = ClientAuthorities(
            load_authorities(tls.client_ca), tls.client_certificates == "required"
        )
    profile = Profile[tls.profile.upper()]
    return Terms(profile, clients, refuses_unknown_names=tls.unknown_name == "refuse")


def check(config: Config) -> Sequence[str]:
    """Look at what ``config`` names, as :func:`load` does, but make nothing; what is not yet wrong.

    :raises ConfigError: also for a certificate that browsers would refuse.
    """
    read_files(config.auth)
    now = datetime.now(UTC)
    try:
        certificates = certificate_files(config)
        if config.tls.acme_ca is not None:
            load_authorities(config.tls.acme_ca)
        _terms(config.tls)
        _notebooks_tls(config.notebooks)
        _owners(config)
    except CertificateError as error:
        raise ConfigError([str(error)]) from error
    wrong = [problem for each in certificates for problem in problems(each, now)]
    if wrong:
        raise ConfigError(wrong)
    doubtful = [warning for each in certificates for warning in warnings(each, now)]
    return [*doubtful, *_unborne(config, certificates)]


def _unborne(config: Config, certificates: Sequence[Certificate]) -> Iterator[str]:
    """Names that browsers may ask for, and will be shown another one's certificate."""
    names = {name for each in certificates for name in each.names}
    names.update(config.certificate_names)
    for host in config.site.hosts:
        if names and not _bears(names, host):
            yield f"site.hosts: no certificate bears the name {host}"
    domain = config.site.notebook_domain
    if names and domain and f"*.{domain}" not in names:
        yield f"site.notebook_domain: no certificate bears the name *.{domain}"
