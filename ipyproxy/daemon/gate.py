"""The gate that a configuration describes, and what of a client's fields it keeps back.

Knows the configuration and every method. Decides nothing about requests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ipyproxy.access.reserved import ReservedFields
from ipyproxy.access.rules import Rule, Rules
from ipyproxy.access.subjects import Subjects
from ipyproxy.access.tokens import COOKIE
from ipyproxy.auth.attempts import LoginAttempts
from ipyproxy.auth.certificate import Certificates
from ipyproxy.auth.gate import Gate, Method
from ipyproxy.auth.htpasswd import Htpasswd, prepare, user_file
from ipyproxy.auth.link import Links, key_file
from ipyproxy.auth.revocations import Revocations
from ipyproxy.auth.threads import WorkThreads
from ipyproxy.auth.watchedfile import UnusableFileError
from ipyproxy.config import Auth, ConfigError


class AuthContext(NamedTuple):
    """What the methods need of the world.

    :param wall_clock: seconds since the epoch, as by :func:`time.time`.
    :param subject: the subject of the verified certificate of a client's transport, if any.
    """

    reactor: Any
    wall_clock: Callable[[], float]
    threads: WorkThreads
    attempts: LoginAttempts
    revocations: Revocations
    subject: Callable[[Any], str | None]


def make_gate(auth: Auth, prefix: str, around: AuthContext) -> Gate | None:
    """The gate; None if no rule asks for anything.

    :param prefix: the path that all notebooks are below.
    :raises ConfigError: if a file cannot be used.
    """
    if not auth.methods:
        return None
    try:
        methods = {name: _MAKERS[name](auth, around) for name in auth.methods}
    except UnusableFileError as error:
        raise ConfigError([str(error)]) from error
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
        Rule(rule.path.encode("ascii"), rule.require, frozenset(rule.users)) for rule in auth.rules
    )


def check_files(auth: Auth) -> None:
    """Look at the files of users and keys.

    :raises ConfigError: with everything that is wrong with them.
    """
    problems = []
    for read, path in (user_file, auth.htpasswd), (key_file, auth.link_keys):
        try:
            if path is not None:
                read(path)
        except UnusableFileError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError(problems)


def _make_htpasswd(auth: Auth, around: AuthContext) -> Method:
    assert auth.htpasswd is not None
    prepare()
    return Htpasswd(user_file(auth.htpasswd), around.reactor, around.threads, around.attempts)


def _make_forward(auth: Auth, around: AuthContext) -> Method:
    # Twisted's HTTP client is much to load for those who don't use it.
    from ipyproxy.auth.forward import ForwardAuth, agent

    return ForwardAuth(
        agent(around.reactor, auth.forward_timeout),
        around.reactor,
        auth.forward_url,
        user_header=auth.forward_user,
        headers=auth.forward_headers,
        withheld=(auth.user_header,),
        timeout=auth.forward_timeout,
        remembered=auth.forward_cache,
    )


def _make_links(auth: Auth, around: AuthContext) -> Method:
    assert auth.link_keys is not None
    return Links(key_file(auth.link_keys), around.wall_clock)


def _make_certificates(auth: Auth, around: AuthContext) -> Method:
    return Certificates(Subjects(auth.certificates))


_MAKERS: dict[str, Callable[[Auth, AuthContext], Method]] = {
    "certificate": _make_certificates,
    "forward": _make_forward,
    "htpasswd": _make_htpasswd,
    "link": _make_links,
}


def withheld(auth: Auth) -> ReservedFields | None:
    """What of a client's own fields never goes upstream; None if there is no authentication."""
    if not auth.methods:
        return None
    names = [auth.user_header, *auth.forward_headers]
    if "forward" in auth.methods:
        names.append(auth.forward_user)
    basic = bool(auth.methods & {"htpasswd", "forward"}) and not auth.basic_upstream
    return ReservedFields(names, basic=basic)


def own_cookies(auth: Auth) -> tuple[bytes, ...]:
    """Names of the cookies that no notebook gets to see."""
    return (COOKIE,) if "link" in auth.methods else ()
