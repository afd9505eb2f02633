"""Makes the gate that a configuration describes, and its reserved fields.

Knows the configuration and every method. Decides nothing about requests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from ipyproxy.access.reserved import ReservedFields
from ipyproxy.access.rules import Rule, Rules
from ipyproxy.access.subjects import Subjects
from ipyproxy.access.tokens import Keyring
from ipyproxy.auth.attempts import LoginAttempts
from ipyproxy.auth.certificate import Certificates
from ipyproxy.auth.gate import Gate, Method
from ipyproxy.auth.htpasswd import Htpasswd, Users, prepare, user_file
from ipyproxy.auth.link import Links, key_file
from ipyproxy.auth.login import PasswordLogin
from ipyproxy.auth.lookout import Lookout
from ipyproxy.auth.revocations import Revocations
from ipyproxy.auth.sessions import Sessions
from ipyproxy.auth.threads import WorkThreads
from ipyproxy.auth.watchedfile import UnusableFileError, WatchedFile
from ipyproxy.clock import Clock
from ipyproxy.config import Auth, ConfigError
from ipyproxy.net.descriptors import Reactor
from ipyproxy.net.hosts import as_in_field
from ipyproxy.server.clients import Clients
from ipyproxy.server.refusals import Audit
from ipyproxy.server.request import ClientConnection
from ipyproxy.threads import PatientThreads, Run
from ipyproxy.tls import client_subject

T = TypeVar("T")


class AuthFiles(NamedTuple):
    """The files of the methods; None if not configured."""

    users: WatchedFile[Users] | None
    keys: WatchedFile[Keyring] | None


class AuthContext(NamedTuple):
    """What the methods need from outside.

    :param look: reads a file in a thread.
    :param wall_clock: seconds since the epoch, as by :func:`time.time`.
    :param subject: returns the subject of a transport's verified client certificate, if any.
    """

    reactor: Clock
    wall_clock: Callable[[], float]
    look: Run
    threads: WorkThreads
    attempts: LoginAttempts
    revocations: Revocations
    sessions: Sessions
    subject: Callable[[ClientConnection], str | None]


def make_auth_context(reactor: Reactor, clients: Clients) -> AuthContext:
    """What methods need, around ``reactor``; nothing is kept in files yet."""
    return AuthContext(
        reactor,
        time.time,
        # One for each file there is.
        PatientThreads(reactor, 2, "users and keys").run,
        WorkThreads(reactor),
        LoginAttempts(clients, reactor, Audit(clients)),
        Revocations(PatientThreads(reactor, 1, "revocations").run),
        Sessions(PatientThreads(reactor, 1, "sessions").run, time.time),
        lambda connection: client_subject(connection.tls),
    )


_Maker = Callable[[Auth, AuthFiles, AuthContext], Method]


def make_methods(
    auth: Auth, files: AuthFiles, around: AuthContext, tools: str = ""
) -> dict[str, Method]:
    """The methods that rules require, by name.

    :param files: the files that ``auth`` names.
    :param tools: the path above the interactive tools.
    """
    makers: dict[str, _Maker] = {**_MAKERS, "forward": partial(_make_forward, tools)}
    return {name: makers[name](auth, files, around) for name in auth.methods}


def make_gate(
    auth: Auth, methods: Mapping[str, Method], prefix: str, around: AuthContext
) -> Gate | None:
    """Make the gate; None if no rule requires a method.

    :param prefix: the path above all notebooks.
    """
    if not methods:
        return None
    return Gate(
        make_rules(auth),
        methods,
        prefix=prefix,
        user_header=auth.user_header,
        revoked=around.revocations.of,
        subject=around.subject,
    )


def make_rules(auth: Auth) -> Rules:
    """The rules of a configuration."""
    return Rules(
        Rule(rule.path.encode("ascii"), rule.require, frozenset(rule.users), as_in_field(rule.host))
        for rule in auth.rules
    )


def read_files(auth: Auth) -> AuthFiles:
    """Read the files of users and keys; may wait for a disk.

    :raises ConfigError: with all errors in them.
    """
    problems: list[str] = []
    files = AuthFiles(
        _read("htpasswd", user_file, auth.htpasswd, problems),
        _read("link_keys", key_file, auth.link_keys, problems),
    )
    if problems:
        raise ConfigError(problems)
    return files


def _read(
    key: str, read: Callable[[Path], WatchedFile[T]], path: Path | None, problems: list[str]
) -> WatchedFile[T] | None:
    try:
        return None if path is None else read(path)
    except UnusableFileError as error:
        problems.append(f"auth.{key}: {error}")
        return None


def _watched(file: WatchedFile[T] | None, around: AuthContext) -> Lookout[T]:
    assert file is not None, "a rule that asks for it names no file"
    return Lookout(around.reactor, around.look, file.content)


def _make_htpasswd(auth: Auth, files: AuthFiles, around: AuthContext) -> Method:
    prepare()
    users = _watched(files.users, around)
    passwords = Htpasswd(users, around.reactor, around.threads, around.attempts)
    return PasswordLogin(passwords, around.sessions, round(auth.session_lifetime))


def _make_forward(tools: str, auth: Auth, files: AuthFiles, around: AuthContext) -> Method:
    # Imported only when needed, because Twisted's HTTP client is large.
    from ipyproxy.auth.forward import ForwardAuth, agent

    return ForwardAuth(
        agent(around.reactor, auth.forward_timeout),
        around.reactor,
        auth.forward_url,
        user_header=auth.forward_user,
        headers=auth.forward_headers,
        reserved=(auth.user_header,),
        timeout=auth.forward_timeout,
        remembered=auth.forward_cache,
        login=auth.forward_login,
        tools=tools,
    )


def _make_links(auth: Auth, files: AuthFiles, around: AuthContext) -> Method:
    return Links(_watched(files.keys, around), around.wall_clock, around.sessions)


def _make_certificates(auth: Auth, files: AuthFiles, around: AuthContext) -> Method:
    return Certificates(Subjects(auth.certificates))


_MAKERS: dict[str, _Maker] = {
    "certificate": _make_certificates,
    "htpasswd": _make_htpasswd,
    "link": _make_links,
}


def reserved_fields(auth: Auth) -> ReservedFields | None:
    """Fields that a client may not send to an upstream; None if there is no authentication."""
    if not auth.methods:
        return None
    names = [auth.user_header, *auth.forward_headers]
    if "forward" in auth.methods:
        names.append(auth.forward_user)
    basic = bool(auth.methods & {"htpasswd", "forward"}) and not auth.basic_upstream
    return ReservedFields(names, basic=basic)
