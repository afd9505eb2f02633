"""``ipyproxy-chp``: the proxy as JupyterHub starts it, with configurable-http-proxy's options.

Knows the options, and the files and environment variables that they name. Knows nothing of how the
proxy is made, and imports it only at the start.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ipyproxy import __version__
from ipyproxy.http1.lines import TOKEN as NAME
from ipyproxy.net.address import LOOPBACK

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorCore

    from ipyproxy.daemon.hubproxy import HubProxySettings, Place
    from ipyproxy.daemon.hubterms import Identity, ServerTerms
    from ipyproxy.daemon.service import MainReactor
    from ipyproxy.http.forwarding import Network
    from ipyproxy.hub.store import Manner

PROGRAM = "ipyproxy-chp"
TOKEN = "CONFIGPROXY_AUTH_TOKEN"  # noqa: S105
"""The environment variable with the token of the API."""
PASSPHRASES = {
    "ssl": "CONFIGPROXY_SSL_KEY_PASSPHRASE",
    "api_ssl": "CONFIGPROXY_API_SSL_KEY_PASSPHRASE",
}
"""The environment variables with the passphrases of keys, by group of options."""

_FIELD = re.compile(rf"({NAME.decode('ascii')})[ \t]*:[ \t]*([\x20-\x7e]*)")
_REFUSED = {
    "storage-backend": "routes are kept in memory; the hub puts them in again after a restart",
    "change-origin": "the hub and its servers compare Origin with Host, so Host stays as it came",
    "ssl-protocol": "TLS 1.2 and 1.3 are spoken, as Mozilla's intermediate guideline has it",
    "ssl-ciphers": "the suites are those of Mozilla's intermediate guideline",
    "ssl-allow-rc4": "RC4 is broken (RFC 7465)",
    "ssl-dhparam": "keys are agreed on by elliptic curves only, which need no parameters",
}
"""Options of configurable-http-proxy that are not supported, and why."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        PROGRAM,
        description="The proxy of a JupyterHub, in the place of configurable-http-proxy.",
        epilog=f"The token of the API is in the environment: {TOKEN}.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("-V", "--version", action="version", version=__version__)
    add("--ip", default="", help="address to serve browsers on; none: all")
    add("--port", type=int, help="port to serve browsers on (8000)")
    add("--socket", type=Path, help="UNIX socket to serve browsers on instead")
    add("--api-ip", help="address of the API (localhost)")
    add("--api-port", type=int, help="port of the API (the public one and 1)")
    add("--api-socket", type=Path, help="UNIX socket of the API instead")
    add("--metrics-ip", default="", help="address of the metrics; none: all")
    add("--metrics-port", type=int, help="port of the metrics (there are none)")
    add("--metrics-socket", type=Path, help="UNIX socket of the metrics instead")
    for family, of in ("", "browsers"), ("api-", "the API"), ("client-", "servers"):
        add(f"--{family}ssl-key", type=Path, help=f"the key for {of}, a PEM file")
        add(f"--{family}ssl-cert", type=Path, help="its certificate")
        add(f"--{family}ssl-ca", type=Path, help="who may have issued the other side's")
        add(f"--{family}ssl-request-cert", action="store_true", help="ask for that one")
        add(f"--{family}ssl-reject-unauthorized", action="store_true", help="and insist on it")
    add("--insecure", action="store_true", help="do not look whose servers' certificates are")
    add("--default-target", default="", help="where requests go that no other route takes")
    add("--error-target", default="", help="the server that has pages for what goes wrong")
    add("--error-path", type=Path, help="the directory that has them: <status>.html, error.html")
    add("--redirect-port", type=int, help="port of plain HTTP that leads to HTTPS")
    add("--redirect-to", type=int, help="the port that it leads to (that of --port)")
    add("--pid-file", type=Path, help="file to write the number of the process into")
    add("--no-x-forward", action="store_true", help="tell servers nothing by X-Forwarded-*")
    add("--no-prepend-path", action="store_true", help="leave out the path of a target")
    add("--no-include-prefix", action="store_true", help="take the path of the route off")
    add("--auto-rewrite", action="store_true", help="put our host for a server's in Location")
    add("--protocol-rewrite", choices=("http", "https"), help="and this scheme")
    add("--custom-header", action="append", default=[], help='"name: value" for servers')
    add("--host-routing", action="store_true", help="the first segment of a route is its host")
    add("--timeout", type=int, help="milliseconds without a byte of a client")
    add("--proxy-timeout", type=int, help="milliseconds until a server begins its answer")
    add("--keep-alive-timeout", type=int, help="milliseconds until an idle client is closed")
    add("--log-level", default="info", help="debug, info, warn or error")
    add(
        "--trusted-proxies",
        default="127.0.0.0/8,::1,unix",
        help="networks whose X-Forwarded-For and -Proto are believed; ours alone has this",
    )
    for name in _REFUSED:
        add(f"--{name}", nargs="?", const="", help=argparse.SUPPRESS)
    return parser


class OptionError(Exception):
    """An option is not supported or invalid; the message says why."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the proxy until it is stopped."""
    options = _parser().parse_args(arguments)
    try:
        settings = read_settings(options, os.environ)
    except OptionError as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        sys.exit(1)
    _run(settings, options.log_level, options.pid_file)


def _run(settings: HubProxySettings, level: str, pid_file: Path | None) -> None:
    import gc
    from signal import Signals

    from twisted.internet import reactor

    from ipyproxy.clock import measure_durations
    from ipyproxy.daemon.eventlog import begin_log
    from ipyproxy.daemon.hubproxy import HubProxy
    from ipyproxy.daemon.signals import on_signals

    main = cast("MainReactor", reactor)
    core = cast("IReactorCore", reactor)
    begin_log(level)
    measure_durations(main)
    proxy = HubProxy(main, settings)
    proxy.startService()
    core.addSystemEventTrigger("before", "shutdown", proxy.stopService)
    on_signals(main, {Signals.SIGTERM: proxy.stop, Signals.SIGINT: proxy.stop})
    if pid_file is not None:
        pid_file.write_text(str(os.getpid()), "ascii")
    gc.freeze()
    try:
        core.run()
    finally:
        if pid_file is not None:
            pid_file.unlink(missing_ok=True)


def read_settings(options: argparse.Namespace, environment: Mapping[str, str]) -> HubProxySettings:
    """Make settings from ``options``. Raises :class:`OptionError`."""
    _check(options)
    from ipyproxy.daemon.hubproxy import HubProxySettings, Place

    port = options.port or 8000
    redirect = options.redirect_port
    kept_alive = options.keep_alive_timeout
    return HubProxySettings(
        public=_place(options.ip, port, options.socket),
        api=_place(options.api_ip or LOOPBACK, options.api_port or port + 1, options.api_socket),
        token=environment.get(TOKEN, "").encode(),
        manner=_manner(options),
        public_tls=_identity(options, "ssl", environment),
        api_tls=_identity(options, "api_ssl", environment),
        servers=_server_terms(options),
        default_target=options.default_target,
        error_target=options.error_target,
        error_files=_error_files(options.error_path),
        metrics=_metrics_place(options),
        redirect=None if redirect is None else Place(_address(options.ip), redirect),
        redirect_to=options.redirect_to or port,
        trusted=_networks(options.trusted_proxies),
        body_timeout=options.timeout / 1000 if options.timeout else 60.0,
        keepalive_timeout=kept_alive / 1000 if kept_alive else 75.0,
    )


def _check(options: argparse.Namespace) -> None:
    """Refuse options that are not supported, alone or together."""
    for name, why in _REFUSED.items():
        if getattr(options, name.replace("-", "_")) is not None:
            raise OptionError(f"--{name} is not taken: {why}")
    for one in ("", "api_", "metrics_"):
        if getattr(options, f"{one}socket") is not None and getattr(options, f"{one}port"):
            name = one.replace("_", "-")
            raise OptionError(f"--{name}socket and --{name}port cannot be given together")
    if options.error_target and options.error_path:
        raise OptionError("Cannot specify both error-target and error-path. Pick one.")
    if options.redirect_port and not options.ssl_cert:
        raise OptionError("HTTPS redirection specified but certificates not provided.")
    if options.log_level.lower() not in ("debug", "info", "warn", "warning", "error"):
        raise OptionError("--log-level is none of debug, info, warn, error")
    if options.default_target or options.error_target:
        _check_targets(options.default_target, options.error_target)


def _check_targets(*targets: str) -> None:
    from ipyproxy.hub.reading import MalformedError, read_target

    for target in filter(None, targets):
        try:
            read_target(target)
        except MalformedError as error:
            raise OptionError(f"{target}: {error}") from None


def _place(ip: str, port: int, path: Path | None) -> Place:
    from ipyproxy.daemon.hubproxy import Place

    return Place(path=path) if path is not None else Place(_address(ip), port)


def _metrics_place(options: argparse.Namespace) -> Place | None:
    if options.metrics_socket is None and not options.metrics_port:
        return None
    return _place(options.metrics_ip, options.metrics_port, options.metrics_socket)


def _address(ip: str) -> str:
    """The literal address for ``ip``, an address or a name; empty: all addresses."""
    if ip in ("", "*"):
        return ""
    if ip == "localhost":
        return LOOPBACK
    try:
        found = socket.getaddrinfo(ip, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise OptionError(f"{ip} is no address of this machine: {error.strerror}") from None
    return str(found[0][4][0])


def _networks(said: str) -> tuple[Network, ...]:
    networks: list[Network] = []
    for one in filter(None, (each.strip() for each in said.split(","))):
        if one == "unix":
            networks.append("unix")
            continue
        try:
            networks.append(ip_network(one, strict=False))
        except ValueError:
            raise OptionError(f"--trusted-proxies: {one} is no network, nor unix") from None
    return tuple(networks)


def _manner(options: argparse.Namespace) -> Manner:
    from ipyproxy.http.rewriting import Redirects
    from ipyproxy.hub.store import Manner

    scheme = options.protocol_rewrite or ""
    moves = options.auto_rewrite or scheme
    timeout = options.proxy_timeout
    return Manner(
        host_routing=options.host_routing,
        prepends=not options.no_prepend_path,
        keeps_prefix=not options.no_include_prefix,
        sent=tuple(_field(said) for said in options.custom_header),
        timeout=timeout / 1000 if timeout else None,
        tells=not options.no_x_forward,
        redirects=Redirects(options.auto_rewrite, scheme.encode("ascii")) if moves else None,
    )


def _field(said: str) -> bytes:
    if ":" not in said.strip()[1:]:
        raise OptionError(f"A colon was expected in custom header: {said}")
    match = _FIELD.fullmatch(said.strip())
    if match is None:
        raise OptionError(f"--custom-header: {said} is no header field in printable ASCII")
    return f"{match[1]}: {match[2].strip()}".encode("ascii")


def _error_files(path: Path | None) -> Mapping[int, bytes]:
    from ipyproxy.hub.errorpages import OTHERS

    if path is None:
        return {}
    pages: dict[int, bytes] = {}
    try:
        for file in path.glob("*.html"):
            if file.stem == "error":
                pages[OTHERS] = file.read_bytes()
            elif file.stem.isdecimal():
                pages[int(file.stem)] = file.read_bytes()
    except OSError as error:
        raise OptionError(f"--error-path: {error.filename}: {error.strerror}") from None
    return pages


def _identity(
    options: argparse.Namespace, family: str, environment: Mapping[str, str]
) -> Identity | None:
    """The certificate of one of our sides, and its terms; None: no TLS."""
    from ipyproxy.daemon.hubterms import Identity
    from ipyproxy.tls import (
        CertificateError,
        ClientAuthorities,
        Terms,
        load_certificate,
        load_trusted,
    )

    said = vars(options)
    key, certificate = said[f"{family}_key"], said[f"{family}_cert"]
    if key is None and certificate is None:
        return None
    name = family.replace("_", "-")
    if key is None or certificate is None:
        raise OptionError(f"--{name}-key and --{name}-cert need each other")
    passphrase = environment.get(PASSPHRASES[family], "").encode() or None
    try:
        own = load_certificate(certificate, key, passphrase)
        if not said[f"{family}_request_cert"] or said[f"{family}_ca"] is None:
            return Identity(own, Terms())
        clients = ClientAuthorities(
            load_trusted(said[f"{family}_ca"]), said[f"{family}_reject_unauthorized"]
        )
    except CertificateError as error:
        raise OptionError(str(error)) from None
    return Identity(own, Terms(clients=clients))


def _server_terms(options: argparse.Namespace) -> ServerTerms:
    from ipyproxy.daemon.hubterms import ServerTerms
    from ipyproxy.tls import CertificateError, load_certificate, load_trusted

    key, certificate, ca = options.client_ssl_key, options.client_ssl_cert, options.client_ssl_ca
    if (key is None) != (certificate is None):
        raise OptionError("--client-ssl-key and --client-ssl-cert need each other")
    try:
        own = None if certificate is None else load_certificate(certificate, key)
        authorities = None if ca is None else load_trusted(ca)
    except CertificateError as error:
        raise OptionError(str(error)) from None
    return ServerTerms(own, authorities, not options.insecure)


if __name__ == "__main__":
    main()
