"""What a configuration says that nobody can have meant, and what it needs that is not there.

Knows the configuration, and the modes of the files and directories that it names. Reads none but
the file of users. Nothing here keeps the daemon from starting but what :func:`unwritable` gives,
and that would keep it from starting by itself.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ipyproxy.auth.htpasswd import Users
from ipyproxy.auth.watchedfile import UnusableFileError, WatchedFile
from ipyproxy.config import Auth, AuthRule, Config, Notebooks

_OWN = "/_ipyproxy"
_FILES = {
    "htpasswd": "htpasswd",
    "forward": "forward_url",
    "link": "link_keys",
    "certificate": "certificates",
}
"""The key of ``[auth]`` that sets each method up."""


def doubts_of(config: Config, users: WatchedFile[Users] | None) -> Iterator[str]:
    """What is probably not meant: rules that protect nothing, and files that lie open.

    :param users: the file of users, as it was read; None if none is named.
    """
    auth = config.auth
    served = [route.path for route in config.routes]
    if config.galaxy.map is not None:
        served.append(config.galaxy.path)
    for rule in auth.rules:
        if not any(_meet(rule.path, path) for path in served):
            yield from _unreached(rule, config.notebooks)
    yield from _unasked(auth)
    if auth.htpasswd is None or users is None:
        return
    try:
        yield from _strangers(auth, users.content())
    except UnusableFileError:
        return  # since it was read; whoever logs in is told
    if _is_open(auth.htpasswd):
        yield (
            f"auth.htpasswd: anybody on this host may read {auth.htpasswd} and try to guess the "
            "passwords; chmod o= it"
        )


def _unreached(rule: AuthRule, notebooks: Notebooks) -> Iterator[str]:
    """A rule for a path at which nothing is served."""
    path, prefix = rule.path, notebooks.prefix
    if _is_within(prefix, path) or _is_within(path, _OWN) or path == "/":
        return
    said = f"auth.rules: the rule for {path} protects nothing: "
    if not _is_within(path, prefix):
        yield said + f"notebooks are served below {prefix}, and the proxy's own pages below {_OWN}"
        return
    port = path.removeprefix(f"{prefix}/").partition("/")[0]
    if not (port.isascii() and port.isdigit() and int(port) in notebooks.ports):
        yield said + f"{port} is none of notebooks.ports ({notebooks.ports})"


def _meet(path: str, other: str) -> bool:
    return _is_within(path, other) or _is_within(other, path)


def _is_within(path: str, above: str) -> bool:
    return path == above or path.startswith(f"{above.rstrip('/')}/")


def _unasked(auth: Auth) -> Iterator[str]:
    """A method that is set up, and that no rule asks for."""
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
        return False  # it has gone meanwhile, and will be missed


def _strangers(auth: Auth, users: Users) -> Iterator[str]:
    """Users whom a rule lets in by their passwords only, and who have none."""
    for rule in auth.rules:
        if all("htpasswd" in methods for methods in rule.require):
            for name in rule.users:
                if name not in users:
                    yield (
                        f"auth.rules: the rule for {rule.path} lets {name} pass, who has no line "
                        f"in {auth.htpasswd} and so cannot log in"
                    )


def unwritable(config: Config, state_directory: Path, *, keeps_certificate: bool) -> Iterator[str]:
    """Directories that this process would have to write to, and cannot.

    :param keeps_certificate: whether the development certificate is kept in the state directory.
    """
    access = config.log.access
    if access not in ("", "-"):
        why = _why_no_file(Path(access))
        if why:
            yield f"log.access: {access} cannot be written: {why}"
    # Where nothing has to be kept there, the daemon goes on without.
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
    """Why nothing can be kept in ``directory``, which may have to be made, with those above it."""
    there = next(each for each in (directory, *directory.parents) if each.exists())
    if not there.is_dir():
        return f"{there} is no directory"
    return "" if os.access(there, os.W_OK | os.X_OK) else f"this user may not write to {there}"
