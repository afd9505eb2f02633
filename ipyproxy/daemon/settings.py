"""All that the daemon runs with, read whole before any of it is used: configuration, certificates.

Knows which files a configuration names, and reads them. Knows nothing of the command line, nor of
what is made of it all.
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
    applications_tls: Mapping[str, UpstreamTLS]
    """How servers of applications are spoken to, by their names; not listed: plainly."""
    state_directory: Path
    owners: Owners | None
    """Whose notebooks are served; None: anybody's."""
    auth_files: AuthFiles
    acme: Acme | None = None
    """None: all certificates are files."""
    doubts: tuple[str, ...] = ()
    """What is probably not meant, one sentence each."""
    error_pages: Mapping[int, bytes] = NO_PAGES
    """Pages of the site's own for what goes wrong, by status."""
    hub: HubFiles | None = None
    """What the API of a hub is served with; None: there is no hub."""


def load(config: Config, state_directory: Path) -> Settings:
    """Read what ``config`` names.

    :param state_directory: where what outlives the process is kept, such as the development
        certificate, if none is configured.
    :raises ConfigError: if there is no certificate to serve with, or no users to let in.
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
    """What the files of a hub hold."""
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
    """What is to be got beside ``files``."""
    if not config.tls.acme:
        return None
    from ipyproxy.acme.store import Store

    store = Store(state_directory / "acme", missing_names(config, files))
    return Acme(store, _trusted_authorities(config.tls))


def _trusted_authorities(tls: Tls) -> tuple[x509.Certificate, ...] | None:
    with _named("tls.acme_ca"):
        return None if tls.acme_ca is None else load_authorities(tls.acme_ca)


def missing_names(config: Config, files: Iterable[Certificate]) -> Sequence[str]:
    """The names that certificates are to be got for, because none of ``files`` bears them."""
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
        # Without it they could not be told from others.
        find_kernel(owners)
        return owners
    except OwnersError as error:
        raise ConfigError([f"notebooks.owners: {error}"]) from error


def configured_names(config: Config) -> tuple[str, ...]:
    """The names that the site is to be reached by: those of ``site.hosts`` come first.

    :raises ConfigError: if a certificate cannot be read.
    """
    borne = (name for each in certificate_files(config) for name in each.names)
    return tuple(dict.fromkeys((*config.site.hosts, *config.certificate_names, *borne)))


def certificate_files(config: Config) -> tuple[Certificate, ...]:
    """The certificates that the configuration names files of; the first is the default.

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
    """Say at which key it stands what cannot be read."""
    try:
        yield
    except CertificateError as error:
        raise ConfigError([f"{key}: {error}"]) from error


def check(config: Config, state_directory: Path) -> Sequence[str]:
    """Look at what ``config`` names, as :func:`load` does, but make nothing; what is doubtful.

    :param state_directory: as for :func:`load`.
    :raises ConfigError: with everything that would keep the daemon from starting, and also for a
        chain of certificates that browsers would refuse.
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
    """The hosts that are answered at; None: it depends on a certificate that is made up."""
    return answered_hosts(config, files) if files or config.tls.acme else None


def _of_certificates(certificates: Sequence[Certificate], now: datetime) -> Iterator[str]:
    for each in certificates:
        yield from problems(each)
        yield from ages(each, now)


def _unreached(config: Config) -> Iterator[str]:
    """What routes stand in the way of."""
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
    """Names that browsers may ask for, and will be shown another one's certificate."""
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
