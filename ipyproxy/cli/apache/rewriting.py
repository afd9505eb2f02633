"""Recognizes the usual forms of RewriteRule on hosts with notebooks and applications.

Knows patterns and targets. Other forms are reported as not understood.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_NOTEBOOKS = re.compile(r"\^?(?P<prefix>(?:/[\w~-]+)+)/\((?:\[0-9\]|\\d)\+\)/.*")
_NOTEBOOK_TARGET = re.compile(
    r"(?:https?|wss?)://(?:127\.0\.0\.1|localhost):\$1(?P<prefix>(?:/[\w~-]+)+)/\$1/.*"
)
# Everything below a path: ^/static/(.*)$, or all requests: ^/?(.*), (.*).
_BELOW = re.compile(r"\^?(?P<path>(?:/[\w.~-]+)*)/?\??\(\.[*+]\)\$?")
_EXACT = re.compile(r"\^?(?P<path>(?:/(?:[\w~-]|\\?\.)+)+)\$?")
_URL = re.compile(r"(?P<scheme>https?|wss?)://(?P<server>[^/$%]+)(?P<base>(?:/[\w.~-]+)*)/?\$1")
_UNIX = re.compile(r"(?P<server>unix:[^|$%]+)\|(?:http|ws)://[^/]*(?P<base>(?:/[\w.~-]+)*)/?\$1")
_DIRECTORY = re.compile(r"(?P<directory>(?:/[^/$%]+)+)/\$1")
_FILE = re.compile(r"(?:/[^/$%]+)+")
_TO_HTTPS = re.compile(
    r"https://(%\{HTTP_HOST\}|%\{SERVER_NAME\})(/?%\{REQUEST_URI\}|/?\$1)", re.IGNORECASE
)


class Notebooks(NamedTuple):
    """Requests go to the port that the path names, below ``prefix``."""

    prefix: str


class Proxied(NamedTuple):
    """Requests below ``path`` go to a server, there below ``base``."""

    path: str
    server: str
    base: str


class ByFiles(NamedTuple):
    """Requests for ``path``, or below it, are answered with a file, or from a directory."""

    path: str
    directory: str


class ToHTTPS(NamedTuple):
    """All requests are redirected to the same address on HTTPS."""


class NotUnderstood(NamedTuple):
    """The rule has a form that is not known here."""

    why: str


Rule = Notebooks | Proxied | ByFiles | ToHTTPS | NotUnderstood


def read_rule(arguments: Sequence[str], conditions: Sequence[Sequence[str]]) -> Rule:
    """Interpret a rule and the conditions before it.

    :param arguments: pattern, target and flags.
    :param conditions: the arguments of each RewriteCond.
    """
    if len(arguments) < 2:
        return NotUnderstood("it has no target")
    pattern, target = arguments[:2]
    flags = {flag.partition("=")[0].upper() for flag in _flags(arguments)}
    if flags & {"R", "REDIRECT"} or target.startswith("https://%{"):
        below = _BELOW.fullmatch(pattern)
        plain = all(_is_about_https(condition) for condition in conditions)
        if below and not below["path"] and plain and _TO_HTTPS.fullmatch(target):
            return ToHTTPS()
        return NotUnderstood("it redirects; see redirect of a route")
    if not all(_is_about_websockets(condition) for condition in conditions):
        return NotUnderstood("its RewriteCond has no counterpart")
    if flags & {"F", "G", "FORBIDDEN", "GONE"}:
        return NotUnderstood("it refuses requests; see allow of a route")
    notebooks = _NOTEBOOKS.fullmatch(pattern)
    to_notebook = _NOTEBOOK_TARGET.fullmatch(target)
    if notebooks and to_notebook and notebooks["prefix"] == to_notebook["prefix"]:
        return Notebooks(notebooks["prefix"])
    return _read_path(pattern, target, proxies=bool(flags & {"P", "PROXY"}))


def _read_path(pattern: str, target: str, *, proxies: bool) -> Rule:
    below = _BELOW.fullmatch(pattern)
    if proxies:
        url = _URL.fullmatch(target) or _UNIX.fullmatch(target)
        if below and url:
            found = url.groupdict()
            scheme = found.get("scheme", "")
            start = "" if not scheme else scheme.replace("ws", "http", 1) + "://"
            return Proxied(below["path"] or "/", start + found["server"], found["base"])
    elif below and (directory := _DIRECTORY.fullmatch(target)):
        return ByFiles(below["path"] or "/", directory["directory"])
    elif (exact := _EXACT.fullmatch(pattern)) and _FILE.fullmatch(target):
        return ByFiles(exact["path"].replace("\\", ""), target)
    return NotUnderstood("no route has this form")


def _flags(arguments: Sequence[str]) -> list[str]:
    return arguments[2].strip("[]").split(",") if len(arguments) > 2 else []


def _is_about_https(condition: Sequence[str]) -> bool:
    return condition[:1] == ["%{HTTPS}"] or condition[:1] == ["%{SERVER_PORT}"]


def _is_about_websockets(condition: Sequence[str]) -> bool:
    # WebSockets need no rule here.
    return condition[:1] in (["%{HTTP:Upgrade}"], ["%{HTTP:Connection}"])
