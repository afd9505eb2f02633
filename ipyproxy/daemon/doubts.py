"""Doubts about a configuration: settings that are probably a mistake, and missing files.

Knows the configuration, and the modes of the files and directories that it names. Reads only the
file of users. Doubts don't keep the daemon from starting, except those of :func:`unwritable`, with
which it could not start anyway.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from ipyproxy.auth.htpasswd import Users
from ipyproxy.auth.watchedfile import UnusableFileError, WatchedFile
from ipyproxy.config import Auth, AuthRule, Config
from ipyproxy.config.routes import OWN_PATH
from ipyproxy.config.values import is_within
from ipyproxy.daemon.hosts import have_in_common

_FILES = {
    "htpasswd": "htpasswd",
    "forward": "forward_url",
    "link": "link_keys",
    "certificate": "certificates",
}
"""The key of ``[auth]`` that configures each method."""


def doubts_of(
    config: Config, users: WatchedFile[Users] | None, hosts: Collection[str] | None
) -> Iterator[str]:
    """What is probably a mistake: rules that protect nothing, and files that others can read.

    :param users: the users read from the file; None if no file is named.
    :param hosts: the hosts that are served; None: not known yet.
    """
    auth = config.auth
    for rule in auth.rules:
        yield from _unreached(rule, config, hosts)
    yield from _unasked(auth)
    if auth.htpasswd is None or users is None:
        return
    try:
        yield from _strangers(auth, users.content())
    except UnusableFileError:
        return  # it has changed since it was read; logins will report it
    if _is_open(auth.htpasswd):
        yield (
            f"auth.htpasswd: anybody on this host may read {auth.htpasswd} and try to guess the "
            "passwords; chmod o= it"
        )


def _unreached(rule: AuthRule, config: Config, hosts: Collection[str] | None) -> Iterator[str]:
    """A rule that no request meets."""
    said = f"auth.rules: the rule for {rule.host}{rule.path} protects nothing: "
    answered = hosts is None or any(have_in_common(rule.host, host) for host in hosts)
    if rule.host and not answered:
        yield f"{said}no request for {rule.host} is answered (site.hosts)"
    elif not _is_met(rule, config) and (why := _no_notebook(rule, config)):
        yield said + why


def _is_met(rule: AuthRule, config: Config) -> bool:
    """Whether something other than a notebook is served there."""
    served = [("", OWN_PATH), *((route.host, route.path) for route in config.routes)]
    if config.galaxy.map is not None:
        served.append(("", config.galaxy.path))
    return any(
        have_in_common(rule.host, host)
        and (is_within(rule.path, path) or is_within(path, rule.path))
        for host, path in served
    )


def _no_notebook(rule: AuthRule, config: Config) -> str:
    """Why the rule covers no notebook; empty if it covers one."""
    path, prefix, ports = rule.path, config.notebooks.prefix, config.notebooks.ports
    if is_within(prefix, path):
        wanted = []
    elif is_within(path, prefix):
        wanted = [path.removeprefix(f"{prefix}/").partition("/")[0]]
    else:
        return f"notebooks are served below {prefix}, and the proxy's own pages below {OWN_PATH}"
    domain = config.site.notebook_domain
    if domain and rule.host:
        label, _, parent = rule.host.partition(".")
        if parent != domain:
            return f"notebooks have hosts of their own below {domain} (site.notebook_domain)"
        wanted += [] if label == "*" else [label]
    for port in wanted:
        if not (port.isascii() and port.isdigit() and int(port) in ports):
            return f"{port} is none of notebooks.ports ({ports})"
    return "" if len(set(wanted)) < 2 else f"notebook {wanted[0]} is at another host"


def _unasked(auth: Auth) -> Iterator[str]:
    """Methods that are configured, but that no rule requires."""
    for method, key in _FILES.items():
        if getattr(auth, key) and method not in auth.methods:
            yield (
                f'auth.{key}: no rule has require = "{method}", so nobody is asked for it; add one '
                "to auth.rules"
            )


def _is_open(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False  # it is gone meanwhile, which is reported elsewhere


def _strangers(auth: Auth, users: Users) -> Iterator[str]:
    """Users in a rule that requires passwords, who have no password."""
    for rule in auth.rules:
        if all("htpasswd" in methods for methods in rule.require):
            for name in rule.users:
                if name not in users:
                    yield (
                        f"auth.rules: the rule for {rule.path} lets {name} pass, who has no line "
                        f"in {auth.htpasswd} and so cannot log in"
                    )


def unwritable(config: Config, state_directory: Path, *, keeps_certificate: bool) -> Iterator[str]:
    """Directories that this process has to write to, but can't.

    :param keeps_certificate: whether the development certificate is stored in the state directory.
    """
    access = config.log.access
    if access not in ("", "-"):
        why = _why_no_file(Path(access))
        if why:
            yield f"log.access: {access} cannot be written: {why}"
    # If nothing has to be stored there, the daemon runs without it.
    if keeps_certificate:
        why = _why_no_directory(state_directory)
        if why:
            yield (
                f"state.directory: no development certificate can be kept in {state_directory}: "
                f"{why}; name tls.certificate and tls.key, or another directory"
            )


def _why_no_file(file: Path) -> str:
    if file.is_dir():
        return "it is a directory"
    if file.exists():
        return "" if os.access(file, os.W_OK) else "this user may not write to it"
    if not file.parent.is_dir():
        return f"there is no directory {file.parent}"
    return "" if os.access(file.parent, os.W_OK | os.X_OK) else f"{file.parent} is closed to it"


def _why_no_directory(directory: Path) -> str:
    """Why ``directory`` can't be written to; it, and those above it, may not exist yet."""
    there = next(each for each in (directory, *directory.parents) if each.exists())
    if not there.is_dir():
        return f"{there} is no directory"
    return "" if os.access(there, os.W_OK | os.X_OK) else f"this user may not write to {there}"
