"""``ipyproxy link``: makes a link that lets one user reach one notebook for a while.

Knows the configuration and the keys that it names. The running proxy is not asked.
"""

from __future__ import annotations

import argparse
import re
import socket
import sys
import time
from pathlib import Path
from typing import Any

from ipyproxy.access.tokens import Ticket, is_enclosable, is_link_user
from ipyproxy.auth.link import key_file
from ipyproxy.auth.watchedfile import UnusableFileError
from ipyproxy.config import Config, ConfigError
from ipyproxy.config.file import read_config
from ipyproxy.daemon.gate import make_rules

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add(words: Any) -> None:
    """Add the word to those of the command."""
    parser = words.add_parser(
        "link", help="make a link that lets one user reach one notebook for a while"
    )
    parser.add_argument("port", type=int, help="the notebook's port")
    parser.add_argument("--user", required=True, type=_user, help="who may use the link")
    parser.add_argument(
        "--for", dest="seconds", default="8h", type=_seconds, help="90s, 30m, 8h or 7d [8h]"
    )
    parser.add_argument(
        "--config",
        default="/etc/ipyproxy/ipyproxy.toml",
        type=Path,
        help="the proxy's configuration file [%(default)s]",
    )
    parser.add_argument(
        "--token-stdin",
        action="store_true",
        help="read the notebook's own token from standard input: the link logs in there as well",
    )
    parser.add_argument("--origin", help="what the link begins with, such as https://hub.example")
    parser.set_defaults(run=_run)


def _user(text: str) -> str:
    if not is_link_user(text):
        raise argparse.ArgumentTypeError("up to 128 letters, digits and ._@+=~- make a user")
    return text


def _seconds(text: str) -> int:
    match = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError("a time is 90s, 30m, 8h or 7d")
    return int(match[1]) * _UNITS[match[2]]


def _run(given: argparse.Namespace) -> int:
    config = read_config(given.config.absolute(), {}, str(given.config))
    enclosed = _read_token() if given.token_stdin else b""
    link = make_link(config, given.port, given.user, given.seconds, given.origin, enclosed)
    sys.stdout.write(link + "\n")
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

    :param origin: what it begins with; None: what the configuration tells of that.
    :param enclosed: the notebook's own token, if the link is to log in there as well.
    :raises ConfigError: if it would open nothing.
    """
    if port not in config.notebooks.ports:
        raise ConfigError([f"{port} is none of notebooks.ports"])
    route = f"{config.notebooks.prefix}/{port}"
    rule = make_rules(config.auth).covering(route.encode("ascii"))
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
    return f"{origin or _origin(config, port)}{route}/?token={token}"


def _origin(config: Config, port: int) -> str:
    named = [host for host in config.site.hosts if not host.startswith("*.")]
    host = named[0] if named else socket.gethostname()
    if config.site.notebook_domain:
        host = f"{port}.{config.site.notebook_domain}"
    host = f"[{host}]" if ":" in host else host
    ours = config.listen.https
    return f"https://{host}" if ours == 443 or isinstance(ours, str) else f"https://{host}:{ours}"
