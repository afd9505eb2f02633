"""The settings of the daemon, read completely before any is used: configuration and files.

Knows which files a configuration names, and reads them. Knows nothing of the command line, or of
how settings are used.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509

from ipyproxy.config import Config, ConfigError, Notebooks, RouteEntry, Tls
from ipyproxy.config.hub import JupyterHub
from ipyproxy.daemon.doubts import doubts_of, unwritable
from ipyproxy.daemon.errorpages import read_error_pages
from ipyproxy.daemon.gate import AuthFiles, read_files
from ipyproxy.daemon.hosts import answered_hosts
from ipyproxy.daemon.hubterms import HubFiles, Identity, ServerTerms
from ipyproxy.net.address import TCPAddress, is_loopback
from ipyproxy.net.hosts import covers
from ipyproxy.server.request import NO_PAGES
from ipyproxy.tls import (
    Certificate,
    CertificateError,
    ClientAuthorities,
    Development,
    Directory,
    FilePair,
    Profile,
    Terms,
    UpstreamTLS,
    load_all,
    load_authorities,
    load_certificate,
    load_trusted,
)
from ipyproxy.tls.checking import ages, problems, warnings
from ipyproxy.upstream.owners import Owners, OwnersError
from ipyproxy.upstream.tenancy import find_kernel

if TYPE_CHECKING:
    from ipyproxy.acme.store import Store


class Acme(NamedTuple):
    """Settings of ACME."""

    store: Store
    """The files, with the names that need certificates."""
    trusted: tuple[x509.Certificate, ...] | None
    """The roots for the authority's own certificate; None: those of this system."""


class Settings(NamedTuple):
    """A configuration, and the content of the files that it names."""

    config: Config
    certificates: tuple[Certificate, ...]
    """At least one; the first is the default."""
    terms: Terms
    notebooks_tls: UpstreamTLS | None
    """The terms for TLS to notebooks; None: no TLS."""
    applications_tls: Mapping[str, UpstreamTLS]
    """The terms for TLS to servers of applications, by their names; not listed: no TLS."""
    state_directory: Path
    owners: Owners | None
    """The users whose notebooks are served; None: all."""
    auth_files: AuthFiles
    acme: Acme | None = None
    """None: all certificates are files."""
    doubts: tuple[str, ...] = ()
    """Probable mistakes, one sentence each."""
    error_pages: Mapping[int, bytes] = NO_PAGES
    """The site's own error pages, by status."""
    hub: HubFiles | None = None
    """The files for the API of a hub; None: there is no hub."""


def load(config: Config, state_directory: Path) -> Settings:
    """Read all files that ``config`` names.

    :param state_directory: the directory of files that outlive the process, such as the development
        certificate.
    :raises ConfigError: if a certificate, the users or another file cannot be used.
    """
    auth_files = read_files(config.auth)
    now = datetime.now(UTC)
    certificates = certificate_files(config)
    doubts = [
        *_of_certificates(certificates, now),
        *_unreached(config),
        *doubts_of(config, auth_files.users, _hosts(config, certificates)),
    ]
    owners = _owners(config)
    acme = _acme(config, state_directory, certificates)
    try:
        if acme is not None:
            certificates += load_all([acme.store])
        if not certificates:
            certificates = load_all([Development(state_directory)])
    except CertificateError as error:
        raise ConfigError([f"state.directory: {error}"]) from error
    return Settings(
        config,
        certificates,
        _terms(config.tls),
        _notebooks_tls(config.notebooks),
        _applications_tls(config.routes),
        state_directory,
        owners,
        auth_files,
        acme,
        tuple(doubts),
        read_error_pages(config.site.error_pages),
        _hub(config.jupyterhub),
    )


def _hub(hub: JupyterHub) -> HubFiles | None:
    """Read the files of a hub."""
    if hub.api is None:
        return None
    token = b"" if hub.token_file is None else _token(hub.token_file)
    api = own = None
    with _named("jupyterhub.api_certificate"):
        if hub.api_certificate is not None and hub.api_key is not None:
            shown = load_certificate(hub.api_certificate, hub.api_key)
            asked = None
            if hub.api_ca is not None:
                asked = ClientAuthorities(load_trusted(hub.api_ca), required=True)
            api = Identity(shown, Terms(clients=asked))
    with _named("jupyterhub.client_certificate"):
        if hub.client_certificate is not None and hub.client_key is not None:
            own = load_certificate(hub.client_certificate, hub.client_key)
        trusted = None if hub.client_ca is None else load_trusted(hub.client_ca)
    return HubFiles(token, api, ServerTerms(own, trusted))


def _token(file: Path) -> bytes:
    try:
        token = file.read_bytes().strip()
    except OSError as error:
        why = f"{file} cannot be read ({error.strerror})"
        raise ConfigError([f"jupyterhub.token_file: {why}"]) from error
    if not re.fullmatch(rb"[!-~]{1,4096}", token):
        why = f"{file} has to hold the token, printable ASCII, and nothing else"
        raise ConfigError([f"jupyterhub.token_file: {why}"])
    return token


def _acme(config: Config, state_directory: Path, files: Sequence[Certificate]) -> Acme | None:
    """ACME for the names that ``files`` do not contain."""
    if not config.tls.acme:
        return None
    from ipyproxy.acme.store import Store

    store = Store(state_directory / "acme", missing_names(config, files))
    return Acme(store, _trusted_authorities(config.tls))


def _trusted_authorities(tls: Tls) -> tuple[x509.Certificate, ...] | None:
    with _named("tls.acme_ca"):
        return None if tls.acme_ca is None else load_authorities(tls.acme_ca)


def missing_names(config: Config, files: Iterable[Certificate]) -> Sequence[str]:
    """The names to get certificates for, because none of ``files`` contains them."""
    borne = {name for each in files for name in each.names}
    return [name for name in config.certificate_names if not _bears(borne, name)]


def _bears(names: Collection[str], wanted: str) -> bool:
    return wanted in names or covers(names, wanted)


def _owners(config: Config) -> Owners | None:
    names = config.notebooks.owners
    if not names:
        return None
    try:
        owners = Owners(names)
        # Without a look-up in the kernel, listeners' users are unknown.
        find_kernel(owners)
        return owners
    except OwnersError as error:
        raise ConfigError([f"notebooks.owners: {error}"]) from error


def configured_names(config: Config) -> tuple[str, ...]:
    """The names of the site: those in ``site.hosts`` come first.

    :raises ConfigError: if a certificate cannot be read.
    """
    borne = (name for each in certificate_files(config) for name in each.names)
    return tuple(dict.fromkeys((*config.site.hosts, *config.certificate_names, *borne)))


def certificate_files(config: Config) -> tuple[Certificate, ...]:
    """The certificates in files that the configuration names; the first is the default.

    :raises ConfigError: if one cannot be served.
    """
    tls = config.tls
    found: list[Certificate] = []
    if tls.certificate is not None and tls.key is not None:
        try:
            found += FilePair(tls.certificate, tls.key).load()
        except CertificateError as error:
            key_alone = str(tls.key) in str(error) and str(tls.certificate) not in str(error)
            raise ConfigError([f"tls.{'key' if key_alone else 'certificate'}: {error}"]) from error
    if tls.directory is not None:
        with _named("tls.directory"):
            found += Directory(tls.directory).load()
    return tuple(found)


def _notebooks_tls(notebooks: Notebooks) -> UpstreamTLS | None:
    if not notebooks.tls:
        return None
    with _named("notebooks.tls_ca"):
        trusted = None if notebooks.tls_ca is None else load_trusted(notebooks.tls_ca)
    return UpstreamTLS(notebooks.tls_name, trusted)


def _applications_tls(routes: Iterable[RouteEntry]) -> dict[str, UpstreamTLS]:
    found = {}
    for route in routes:
        with _named(f"routes: tls_ca of {route.name}"):
            trusted = None if route.tls_ca is None else load_trusted(route.tls_ca)
        for server in route.servers:
            if server.tls_name:
                found[server.name] = UpstreamTLS(server.tls_name, trusted)
    return found


def _terms(tls: Tls) -> Terms:
    clients = None
    if tls.client_ca is not None:
        with _named("tls.client_ca"):
            authorities = load_authorities(tls.client_ca)
        clients = ClientAuthorities(authorities, tls.client_certificates == "required")
    profile = Profile[tls.profile.upper()]
    return Terms(profile, clients, refuses_unknown_names=tls.unknown_name == "refuse")


@contextlib.contextmanager
def _named(key: str) -> Iterator[None]:
    """Add the key to errors about unreadable files."""
    try:
        yield
    except CertificateError as error:
        raise ConfigError([f"{key}: {error}"]) from error


def check(config: Config, state_directory: Path) -> Sequence[str]:
    """Check what ``config`` names, like :func:`load`, but create nothing. Returns doubts.

    :param state_directory: as for :func:`load`.
    :raises ConfigError: with everything that would keep the daemon from starting, and for a
        certificate chain that browsers would refuse.
    """
    auth_files = read_files(config.auth)
    now = datetime.now(UTC)
    certificates = certificate_files(config)
    _trusted_authorities(config.tls)
    _terms(config.tls)
    _notebooks_tls(config.notebooks)
    _applications_tls(config.routes)
    _owners(config)
    read_error_pages(config.site.error_pages)
    wrong = [problem for each in certificates for problem in problems(each)]
    wrong += unwritable(
        config, state_directory, keeps_certificate=config.tls.acme or not certificates
    )
    if wrong:
        raise ConfigError(wrong)
    return [
        *(line for each in certificates for line in (*ages(each, now), *warnings(each))),
        *_unborne(config, certificates),
        *_unreached(config),
        *doubts_of(config, auth_files.users, _hosts(config, certificates)),
    ]


def _hosts(config: Config, files: Sequence[Certificate]) -> Collection[str] | None:
    """The served hosts; None if they depend on the development certificate."""
    return answered_hosts(config, files) if files or config.tls.acme else None


def _of_certificates(certificates: Sequence[Certificate], now: datetime) -> Iterator[str]:
    for each in certificates:
        yield from problems(each)
        yield from ages(each, now)


def _unreached(config: Config) -> Iterator[str]:
    """What routes make unreachable."""
    prefix = config.notebooks.prefix
    covering = {route.host: route for route in config.routes if route.host and route.path == "/"}
    for host, route in covering.items():
        yield (
            f"routes: at {host} no notebook can be reached, for {route.name} takes all paths of "
            f"that host, {prefix} too; leave host out to have both"
        )
    for route in config.routes:
        for server in route.servers:
            address = server.address
            if (
                isinstance(address, TCPAddress)
                and is_loopback(address)
                and address.port in config.notebooks.ports
            ):
                yield (
                    f"routes: {server.name} is one of notebooks.ports, so it can be reached at "
                    f"{prefix}/{address.port}/ as well; leave {address.port} out there"
                )


def _unborne(config: Config, certificates: Sequence[Certificate]) -> Iterator[str]:
    """Names that browsers may use, but that no certificate contains."""
    names = {name for each in certificates for name in each.names}
    names.update(config.certificate_names)
    for host in config.site.hosts:
        if names and not _bears(names, host):
            yield f"site.hosts: no certificate bears the name {host}"
    for route in config.routes:
        if names and route.host and not _bears(names, route.host):
            yield f"routes: no certificate bears the name {route.host}"
    tools = config.galaxy.domain
    if names and tools and f"*.{tools}" not in names:
        yield (
            f"galaxy.host: no certificate bears the name *.{tools}, so browsers warn of tools that "
            "need a host of their own; those at a path need none"
        )
    domain = config.site.notebook_domain
    if names and domain and f"*.{domain}" not in names:
        yield f"site.notebook_domain: no certificate bears the name *.{domain}"
