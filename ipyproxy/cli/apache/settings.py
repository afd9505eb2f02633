"""Translates directives for listeners, names, TLS, fields and access into keys.

Knows our keys for Apache's directives. Knows nothing of how routes are made.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ipyproxy.cli.apache.parsing import Directive
from ipyproxy.cli.apache.plan import Plan, PlannedRoute, Value

_LIMIT = re.compile(r"max-age=(\d+)(.*)", re.DOTALL)
_EXPIRES = re.compile(r"(?:access|now)(?: plus)? (\d+) (second|minute|hour|day|week|month|year)s?")
_SECONDS = {
    "second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800, "month": 2592000,
    "year": 31536000,
}  # fmt: skip
_OWN_FIELDS = ("x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-for",
               "x-real-ip", "x-scheme", "x-url-scheme")  # fmt: skip


class Remark(NamedTuple):
    """A remark on a directive without a key here: what replaces it, or why nothing does."""

    directive: Directive
    is_left: bool
    why: str


_ACCESS = frozenset(
    ("require", "allow", "deny", "satisfy", "authtype", "authuserfile", "authgroupfile",
     "authmerging", "sslrequire", "sslverifyclient")
)  # fmt: skip
# The conditions that do not restrict access.
_OPENING = (
    ["require", "all", "granted"],
    ["allow", "from", "all"],
    ["authmerging", "off"],
    ["sslverifyclient", "none"],
    ["sslverifyclient", "optional"],
    ["sslverifyclient", "optional_no_ca"],
)
NOBODY = ["127.0.0.1"]
"""The value of ``allow`` where an access rule cannot be translated: it denies access. If it is this
very list and no copy, the whole section is closed, whatever else it contains."""
RULE = "rule"
"""A pseudo key for a required login. Its value has the allowed users; empty: all users; None: no
login."""


# Debian's and Fedora's.
_HIDDEN = re.compile(r'<Files(?:Match)? "?(?:\^\\\.ht|\.ht\*)"?>', re.IGNORECASE)
_OF_USER = re.compile(r"%\{(?:(?:LA-U:)?REMOTE_USER|RU)\}[es]|expr=%\{REMOTE_USER\}")


def _restricts(directive: Directive) -> bool:
    said = [each.lower() for each in directive.arguments]
    return directive.name in _ACCESS and [directive.name, *said] not in _OPENING


def _is_alternative(directive: Directive) -> bool:
    """Whether it grants access without the other conditions of its section."""
    said = [each.lower() for each in directive.arguments[:1]]
    return _restricts(directive) and directive.name == "require" and said != ["not"]


class LeftError(Exception):
    """A directive can't be translated; the message says why, or what to do."""


class Said(NamedTuple):
    """A key for the routes at ``scope``, or :data:`RULE`."""

    directive: Directive
    scope: Scope
    key: str
    value: Value | None


@dataclass
class Host:
    """One ``<VirtualHost>``, or the part outside of all."""

    names: list[str] = field(default_factory=list)
    is_plain: bool = False
    routes: dict[str, PlannedRoute] = field(default_factory=dict)
    has_notebooks: bool = False
    # Paths with a server for WebSockets, which need no route of their own if all requests go there.
    websockets: dict[str, tuple[str, str, Directive]] = field(default_factory=dict)
    # Settings of paths, assigned to routes once all are known.
    said: list[Said] = field(default_factory=list)
    # Paths that ProxyPass excludes.
    excepted: list[tuple[str, Directive]] = field(default_factory=list)
    conditions: list[Directive] = field(default_factory=list)
    document_root: Directive | None = None


@dataclass(eq=False)
class Scope:
    """The context of a directive: its host, Location and Directory.

    Each section has one scope.
    """

    host: Host
    path: str = "/"
    directory: str = ""


class Settings:
    """Translates directives with a key of their own, and makes remarks on others."""

    def __init__(self) -> None:
        self.plan = Plan()
        self.remarks: list[Remark] = []

    def _leave(self, directive: Directive, why: str, scope: Scope | None) -> None:
        """Remark that a directive is not translated. Access that it denied stays denied."""
        if scope is not None and _is_alternative(directive):
            self._close(directive, why, scope, list(NOBODY))
        elif scope is not None and _restricts(directive):
            self._close(directive, why, scope)
        else:
            self.remarks.append(Remark(directive, is_left=True, why=why))
        for child in directive.children:
            within = f"it stands in {directive.text}"
            if scope is not None and _restricts(child):
                self._close(child, within, scope)
            else:
                self._leave(child, within, scope)

    def _close(
        self, directive: Directive, why: str, scope: Scope, allow: list[str] = NOBODY
    ) -> None:
        """Deny access, because the rule in ``directive`` cannot be translated.

        :param allow: a copy of :data:`NOBODY` if the same section may grant access otherwise.
        """
        self._say(directive, scope, "allow", allow)
        why += "; until you say who may, only this host itself may (allow)"
        self.remarks.append(Remark(directive, is_left=True, why=why))

    def _say(self, directive: Directive, scope: Scope, key: str, value: Value | None) -> None:
        """Remember a setting of a path until its routes are known."""
        scope.host.said.append(Said(directive, scope, key, value))

    # Listeners and names.

    def _listen(self, directive: Directive, scope: Scope) -> str | None:
        address, _, port = directive.arguments[0].rpartition(":")
        if not port.isdigit():
            raise LeftError("no port")
        key = "listen.https" if port == "443" or "https" in directive.arguments[1:] else ""
        key = key or ("listen.http" if port == "80" else "")
        if not key:
            raise LeftError("a listener is for HTTPS (listen.https) or leads there (listen.http)")
        value: Value = int(port)
        if address not in ("", "*"):
            interface = address.strip("[]").replace(":", "\\:")
            value = f"tcp:{port}:interface={interface}"
        if not self.plan.set(key, value):
            raise LeftError(f"{key} is set already")
        return None

    def _server_name(self, directive: Directive, scope: Scope) -> str | None:
        for argument in directive.arguments:
            name = argument.rpartition("://")[2].partition(":")[0].lower()
            if not re.fullmatch(r"(\*\.)?[a-z0-9_.-]+", name):
                raise LeftError(f"{name} is no name, nor one with a star for its first label")
            scope.host.names.append(name)
        return None

    def _index(self, directive: Directive, scope: Scope) -> str | None:
        if directive.arguments[:1] != ["index.html"]:
            raise LeftError("the index of a directory is index.html")
        return "it is always index.html"

    # Fields.

    def _header(self, directive: Directive, scope: Scope) -> str | None:
        arguments = [each for each in directive.arguments if each.lower() != "always"]
        if len(arguments) < 3 or arguments[0].lower() not in ("set", "add"):
            raise LeftError("a route can set fields (headers), and change none")
        name, value = arguments[1:3]
        if name.lower() == "origin":
            return "no browser reads Origin in an answer"
        if name.lower() == "strict-transport-security":
            match = _LIMIT.match(value)
            if match is None or not self.plan.set("tls.hsts", int(match[1])):
                raise LeftError("see tls.hsts")
            if match[2].strip("; "):
                raise LeftError(f"tls.hsts is set, but does not say {match[2].strip('; ')}")
            return None
        if len(arguments) > 3 or "%{" in value:
            raise LeftError("a field of a route (headers) is the same for all")
        self._say(directive, scope, "headers", {name: value})
        return None

    def _request_header(self, directive: Directive, scope: Scope) -> str | None:
        arguments = [each for each in directive.arguments if each.lower() != "early"]
        name = arguments[1].lower() if len(arguments) > 1 else ""
        if name in _OWN_FIELDS:
            return "an application gets X-Forwarded-For, -Host, -Port and -Proto"
        if name == "origin":
            return "a notebook gets Host, Origin and Referer of its own"
        if arguments[:1] == ["set"] and len(arguments) == 3:
            value = "{user}" if _OF_USER.fullmatch(arguments[2]) else arguments[2]
            # For programs behind CGI, WSGI and the like, both are HTTP_REMOTE_USER.
            name = arguments[1].replace("_", "-")
            if not re.search(r"%\{|^expr=", value) and re.fullmatch(r"[A-Za-z0-9-]{1,64}", name):
                self._say(directive, scope, "send", {name: value})
                return None
        raise LeftError("a field for the application (send) is the same for all, or the user")

    def _set_env(self, directive: Directive, scope: Scope) -> str | None:
        if len(directive.arguments) > 2 and "/([0-9]+)/" in directive.arguments[1]:
            return "the port is read from the path"
        raise LeftError("there are no variables")

    def _expires(self, directive: Directive, scope: Scope) -> str | None:
        match = _EXPIRES.fullmatch(directive.arguments[0].lower())
        if match is None:
            raise LeftError("max_age counts from when a file is fetched, in seconds")
        self._say(directive, scope, "max_age", int(match[1]) * _SECONDS[match[2]])
        return None

    # Access.

    def _require(self, directive: Directive, scope: Scope) -> str | None:
        what = [each.lower() for each in directive.arguments[:2]]
        if what == ["all", "granted"]:
            self._say(directive, scope, RULE, None)
            self._say(directive, scope, "allow", [])
            return "a route is for all unless it says otherwise"
        if what == ["all", "denied"] and scope.directory == "/":
            self._say(directive, scope, "allow", NOBODY)
            return "a route has its files for this host itself, unless another section opens them"
        if what == ["all", "denied"] and _HIDDEN.fullmatch(scope.directory):
            return "files whose names begin with a dot are never served"
        if what[:1] == ["ip"]:
            networks = [_network(each) for each in directive.arguments[1:]]
            self._say(directive, scope, "allow", networks)
            return None
        if what[:1] in (["valid-user"], ["user"]):
            users = directive.arguments[1:] if what[0] == "user" else []
            self._say(directive, scope, RULE, users)
            return None
        if what == ["local"]:
            self._say(directive, scope, "allow", ["127.0.0.0/8", "::1"])
            return None
        raise LeftError("see allow of a route, and the rules of [auth]")

    def _old_access(self, directive: Directive, scope: Scope) -> str | None:
        """Allow and Deny of Apache 2.2."""
        who = directive.arguments[1:]
        if directive.name == "order":
            return "allow denies all clients that it does not list"
        if directive.name == "allow" and [each.lower() for each in who] == ["all"]:
            return "a route is for all unless it says otherwise"
        if directive.name == "allow" and all(re.fullmatch(r"[0-9a-f.:/]+", each) for each in who):
            self._say(directive, scope, "allow", [_network(each) for each in who])
            return None
        raise LeftError("see allow of a route")

    def _auth_type(self, directive: Directive, scope: Scope) -> str | None:
        if directive.arguments[0].lower() == "none":
            return "the rules of [auth] say it"
        if directive.arguments[0].lower() != "basic":
            raise LeftError("see docs/authentication.md")
        return "the rules of [auth] say it"

    def _auth_file(self, directive: Directive, scope: Scope) -> str | None:
        if not self.plan.set("auth.htpasswd", directive.arguments[0]):
            raise LeftError("there is one file of users (auth.htpasswd)")
        return None

    def _auth_provider(self, directive: Directive, scope: Scope) -> str | None:
        if directive.arguments != ["file"]:
            raise LeftError("see docs/authentication.md")
        return "the rules of [auth] say it"

    def _override(self, directive: Directive, scope: Scope) -> str | None:
        if [each.lower() for each in directive.arguments] != ["none"]:
            raise LeftError("no .htaccess is read")
        return "no .htaccess is read"

    def _options(self, directive: Directive, scope: Scope) -> str | None:
        named = {each.lower().lstrip("+") for each in directive.arguments}
        if named & {"indexes", "all", "execcgi", "includes", "multiviews"}:
            raise LeftError("files are sent as they are, and directories are not listed")
        return "links are followed within a directory, and it is never listed"

    # TLS.

    def _certificate(self, directive: Directive, scope: Scope) -> str | None:
        key = {"sslcertificatefile": "tls.certificate", "sslcertificatekeyfile": "tls.key"}
        if not self.plan.set(key[directive.name], directive.arguments[0]):
            raise LeftError("put key, certificate and chain of further names into one file in "
                            "tls.directory")  # fmt: skip
        return None

    def _client_ca(self, directive: Directive, scope: Scope) -> str | None:
        if not self.plan.set("tls.client_ca", directive.arguments[0]):
            raise LeftError("there is one file of authorities (tls.client_ca)")
        return None

    def _verify_client(self, directive: Directive, scope: Scope) -> str | None:
        word = {"require": "required", "optional": "optional"}.get(directive.arguments[0].lower())
        if word is None or scope.path != "/" or scope.directory:
            raise LeftError("see tls.client_certificates, and the rules of [auth] for a path")
        self.plan.set("tls.client_certificates", word)
        return None

    def _tls_options(self, directive: Directive, scope: Scope) -> str | None:
        if [each.lower() for each in directive.arguments] != ["+stdenvvars"]:
            raise LeftError("see docs/authentication.md for client certificates")
        return "no program is run that could read such variables"

    def _timeout(self, directive: Directive, scope: Scope) -> str | None:
        key = {"timeout": "timeouts.response", "keepalivetimeout": "timeouts.keepalive"}
        if not self.plan.set(key[directive.name], int(directive.arguments[0])):
            raise LeftError(f"{key[directive.name]} is for all hosts")
        return None

    def _include(self, directive: Directive, scope: Scope) -> str | None:
        raise LeftError("name the files that it includes to this command, too")

    def _output_filter(self, directive: Directive, scope: Scope) -> str | None:
        if directive.arguments[:1] != ["DEFLATE"]:
            raise LeftError("answers are passed on as they are")
        return "answers of applications are compressed; see [compression]"

    def _error_page(self, directive: Directive, scope: Scope) -> str | None:
        status = directive.arguments[0]
        raise LeftError(f"site.error_pages is a directory of such pages: {status}.html")

    def _body_limit(self, directive: Directive, scope: Scope) -> str | None:
        if scope.path != "/" or not self.plan.set("limits.body_bytes", int(directive.arguments[0])):
            raise LeftError("limits.body_bytes is for all paths")
        return None


def _network(text: str) -> str:
    """Apache's ``10.1`` is ``10.1.0.0/16``."""
    parts = text.rstrip(".").split(".")
    if "/" in text or ":" in text or len(parts) == 4:
        return text
    return ".".join(parts + ["0"] * (4 - len(parts))) + f"/{8 * len(parts)}"


SETTINGS: dict[str, Callable[[Any, Directive, Scope], str | None]] = {
    "addoutputfilterbytype": Settings._output_filter,
    "allow": Settings._old_access,
    "allowoverride": Settings._override,
    "authbasicprovider": Settings._auth_provider,
    "authtype": Settings._auth_type,
    "authuserfile": Settings._auth_file,
    "deny": Settings._old_access,
    "directoryindex": Settings._index,
    "errordocument": Settings._error_page,
    "expiresdefault": Settings._expires,
    "include": Settings._include,
    "includeoptional": Settings._include,
    "keepalivetimeout": Settings._timeout,
    "ssloptions": Settings._tls_options,
    "timeout": Settings._timeout,
    "header": Settings._header,
    "limitrequestbody": Settings._body_limit,
    "listen": Settings._listen,
    "options": Settings._options,
    "order": Settings._old_access,
    "requestheader": Settings._request_header,
    "require": Settings._require,
    "serveralias": Settings._server_name,
    "servername": Settings._server_name,
    "setenvif": Settings._set_env,
    "sslcacertificatefile": Settings._client_ca,
    "sslcertificatefile": Settings._certificate,
    "sslcertificatekeyfile": Settings._certificate,
    "sslverifyclient": Settings._verify_client,
}
"""By the directive's name in lower case: a method that translates it, or returns what replaces
it."""
