"""``ipyproxy link``: makes a link that lets one user reach one notebook for a while.

Knows the configuration and the keys that it names. Asks the running proxy only for its port.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from urllib.parse import urlsplit

from ipyproxy.access.tokens import Ticket, is_enclosable, is_link_user
from ipyproxy.auth.link import key_file
from ipyproxy.auth.watchedfile import UnusableFileError
from ipyproxy.cli.configuration import add_file, read_file
from ipyproxy.cli.status import ask_daemon
from ipyproxy.config import Config, ConfigError, RefusedError
from ipyproxy.config.values import read_origin
from ipyproxy.daemon.gate import make_rules
from ipyproxy.daemon.settings import configured_names
from ipyproxy.net.hosts import as_in_field, covers

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = 366 * _UNITS["d"]


def add(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to the parser."""
    parser = words.add_parser(
        "link", help="make a link that lets one user reach one notebook for a while"
    )
    parser.add_argument("port", type=int, help="the notebook's port")
    parser.add_argument("--user", required=True, type=_user, help="who may use the link")
    parser.add_argument(
        "--for", dest="seconds", default="8h", type=_seconds, help="90s, 30m, 8h or 7d [8h]"
    )
    add_file(parser)
    parser.add_argument(
        "--origin", type=_origin, help="what the link begins with, such as https://hub.example.org"
    )
    parser.add_argument(
        "--token-stdin",
        action="store_true",
        help="read the notebook's own token from standard input: the link logs in there as well",
    )
    parser.set_defaults(run=_run)


def _user(text: str) -> str:
    if not is_link_user(text):
        raise argparse.ArgumentTypeError("up to 128 letters, digits and ._@+=~- make a user")
    return text


def _seconds(text: str) -> int:
    match = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError("a time is 90s, 30m, 8h or 7d")
    seconds = int(match[1]) * _UNITS[match[2]]
    if seconds > _LONGEST:
        raise argparse.ArgumentTypeError("a link is good for 366 days at most")
    return seconds


def _origin(text: str) -> str:
    try:
        return read_origin(text)
    except RefusedError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _run(given: argparse.Namespace) -> int:
    config = read_file(given)
    if given.origin:
        _check_origin(config, given.origin)
    enclosed = _read_token() if given.token_stdin else b""
    link = make_link(config, given.port, given.user, given.seconds, given.origin, enclosed)
    sys.stdout.write(link + "\n")
    if not enclosed:
        sys.stderr.write(
            "ipyproxy: note: everybody who has this link passes the proxy; a notebook with a token "
            "or a password asks for that as well (see --token-stdin)\n"
        )
    return 0


def _read_token() -> bytes:
    token = sys.stdin.readline().strip().encode("utf-8", "replace")
    if not is_enclosable(token):
        raise ConfigError(
            ["standard input holds no token: up to 512 letters, digits and signs, on one line"]
        )
    return token


def make_link(
    config: Config,
    port: int,
    user: str,
    seconds: int,
    origin: str | None,
    enclosed: bytes = b"",
) -> str:
    """The link.

    :param origin: the link's origin; None: take it from the configuration.
    :param enclosed: the notebook's own token, if the link should log in there too.
    :raises ConfigError: if the link would not work.
    """
    if port not in config.notebooks.ports:
        raise ConfigError([f"{port} is none of notebooks.ports"])
    route = f"{config.notebooks.prefix}/{port}"
    public = origin or _public_origin(config, port)
    host = as_in_field(urlsplit(public).hostname or "")
    rule = make_rules(config.auth).covering(route.encode("ascii"), host)
    if config.auth.link_keys is None or rule is None or not rule.asks("link"):
        raise ConfigError([f"auth.rules: no rule for {route} asks for a link"])
    if rule.users and user not in rule.users:
        raise ConfigError([f"auth.rules: the rule for {route} lets others pass than {user}"])
    try:
        keys = key_file(config.auth.link_keys).content()
    except UnusableFileError as error:
        raise ConfigError([str(error)]) from error
    now = int(time.time())
    ticket = Ticket(user, now, now + seconds, enclosed)
    token = keys.sign(route.encode("ascii"), ticket).decode("ascii")
    return f"{public}{route}/?token={token}"


def _public_origin(config: Config, port: int) -> str:
    """The public origin of the notebook: a served name and the public port."""
    if config.site.notebook_domain:
        host = f"{port}.{config.site.notebook_domain}"
    else:
        named = [name for name in configured_names(config) if not name.startswith("*.")]
        if not named:
            raise ConfigError(
                ["neither site.hosts nor a certificate names this host; say --origin "
                 "https://hub.example.org"]
            )  # fmt: skip
        host = f"[{named[0]}]" if ":" in named[0] else named[0]
    ours = _public_port(config)
    return f"https://{host}" if ours == 443 else f"https://{host}:{ours}"


def _public_port(config: Config) -> int:
    """The port that the running daemon listens on, or the configured one."""
    try:
        listeners = json.loads(ask_daemon(config))["listeners"]
        return int(listeners[0].rpartition(" ")[2])
    except (ConfigError, LookupError, ValueError) as error:
        configured = config.listen.https if isinstance(config.listen.https, int) else 443
        why = error.problems[0] if isinstance(error, ConfigError) else "it listens on no port"
        sys.stderr.write(
            f"ipyproxy: note: the link has the port {configured}, which the configuration names, "
            f"for the daemon could not be asked for its own ({why}); --origin names another\n"
        )
        return configured


def _check_origin(config: Config, origin: str) -> None:
    host = (urlsplit(origin).hostname or "").lower()
    names = configured_names(config)
    domain = config.site.notebook_domain
    if (
        names
        and host not in names
        and not covers(names, host)
        and not (domain and host.endswith(f".{domain}"))
    ):
        raise ConfigError(
            [f"--origin: {host} is none of the names that the proxy serves ({', '.join(names)})"]
        )
