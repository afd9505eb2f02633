"""Translates directives for destinations into routes: to servers, to files, redirects.

Knows Alias, Redirect, ProxyPass and RewriteRule. Knows nothing of sections, or of how the routes
are used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from ipyproxy.cli.apache.parsing import Directive
from ipyproxy.cli.apache.plan import PlannedRoute
from ipyproxy.cli.apache.rewriting import (
    ByFiles,
    Notebooks,
    NotUnderstood,
    Proxied,
    ToHTTPS,
    read_rule,
)
from ipyproxy.cli.apache.settings import Host, LeftError, Scope, Settings

_SERVER = re.compile(
    r"(?:unix:(?P<socket>/[^|]*)\|\w+://[^/]*|(?P<scheme>https?|wss?)://(?P<server>[^/]+))"
    r"(?P<base>(?:/[^?]*)?)"
)
_IGNORED_OPTIONS = ("upgrade", "nocanon", "flushpackets", "keepalive", "retry", "connectiontimeout",
                    "disablereuse", "enablereuse", "max", "min", "smax", "ttl")  # fmt: skip


class Routing(Settings):
    """Adds routes to the hosts of the directives' scopes."""

    def _document_root(self, directive: Directive, scope: Scope) -> str | None:
        scope.host.document_root = directive
        return None

    def _alias(self, directive: Directive, scope: Scope) -> str | None:
        path, target = (
            directive.arguments
            if len(directive.arguments) == 2
            else (scope.path, *directive.arguments)
        )
        self._route(scope.host, path.rstrip("/") or "/", directive).keys["files"] = target.rstrip(
            "/"
        )
        return None

    def _redirect(self, directive: Directive, scope: Scope) -> str | None:
        arguments = list(directive.arguments)
        statuses = {"permanent": 301, "temp": 302, "seeother": 303}
        status = {"redirectpermanent": 301}.get(directive.name, 302)
        if len(arguments) > 1 and not arguments[0].startswith("/"):
            word = arguments.pop(0).lower()
            status = statuses.get(word, int(word) if word.isdigit() else 0)
        target = arguments[-1].rstrip("/")
        path = arguments[0].rstrip("/") if len(arguments) > 1 else scope.path.rstrip("/")
        if status not in (301, 302, 303, 307, 308) or not target.startswith("http"):
            raise LeftError("a route can redirect to http:// and https://, by 301, 302, 303, 307 "
                            "and 308")  # fmt: skip
        if scope.host.is_plain and not path and target.startswith("https://"):
            name = target.removeprefix("https://").lower()
            if not scope.host.names or name in scope.host.names:
                return "listen.http leads to HTTPS"
        if not target.endswith(path):
            raise LeftError("a redirect keeps the path")
        keys = self._route(scope.host, path or "/", directive).keys
        keys |= {"redirect": target.removesuffix(path) if path else target, "status": status}
        return None

    # Proxies.

    def _proxy_pass(self, directive: Directive, scope: Scope) -> str | None:
        arguments = [each for each in directive.arguments if "=" not in each or "://" in each]
        options = [each for each in directive.arguments if each not in arguments]
        arguments = [each for each in arguments if each != "nocanon"]
        path = arguments.pop(0) if len(arguments) > 1 else scope.path
        path = path.rstrip("/") or "/"
        if arguments == ["!"]:
            scope.host.excepted.append((path, directive))
            return None
        match = _SERVER.fullmatch(arguments[0]) if arguments else None
        if match is None:
            raise LeftError("it is no address such as http://127.0.0.1:8080 or unix:/run/app.sock")
        server = f"unix:{match['socket']}" if match["socket"] else ""
        server = server or f"{match['scheme'].replace('ws', 'http')}://{match['server']}"
        if (match["scheme"] or "").startswith("ws"):
            scope.host.websockets[path] = (server, match["base"], directive)
            return None
        self._proxied(scope.host, path, server, match["base"], directive)
        for option in options:
            key, _, value = option.partition("=")
            if key == "timeout" and value.isdigit():
                scope.host.routes[path].keys["timeout"] = int(value)
            elif key not in _IGNORED_OPTIONS:
                raise LeftError(f"{key} has no counterpart; the rest is taken over")
        return None

    def _proxied(self, host: Host, path: str, server: str, base: str, directive: Directive) -> None:
        base = base.rstrip("/")
        if base not in ("", path.rstrip("/")):
            raise LeftError("a route keeps the path, or takes it off whole")
        keys = self._route(host, path, directive).keys
        keys["to"] = server
        if path != "/" and not base:
            keys["strip"] = True

    def _rewrite_condition(self, directive: Directive, scope: Scope) -> str | None:
        scope.host.conditions.append(directive)
        return None

    def _rewrite_rule(self, directive: Directive, scope: Scope) -> str | None:
        conditions, scope.host.conditions = scope.host.conditions, []
        rule = read_rule(directive.arguments, [each.arguments for each in conditions])
        try:
            return self._follow(rule, directive, scope, conditions)
        except LeftError as left:
            for condition in conditions:
                self._leave(condition, f"the rule behind it is left: {left}", None)
            raise

    def _follow(
        self, rule: object, directive: Directive, scope: Scope, conditions: Sequence[Directive]
    ) -> str | None:
        match rule:
            case Notebooks(prefix):
                if not self.plan.set("notebooks.prefix", prefix):
                    raise LeftError("notebooks have one prefix")
                self.plan.set("notebooks.ports", "10000-14999")
                scope.host.has_notebooks = True
            case Proxied(path, server, base):
                if directive.arguments[1].startswith("ws"):
                    scope.host.websockets[path] = (server, base, directive)
                else:
                    self._proxied(scope.host, path, server, base, directive)
            case ByFiles(path, directory):
                self._route(scope.host, path, directive).keys["files"] = directory
            case ToHTTPS():
                self.plan.set("listen.http", 80)
            case NotUnderstood(why):
                raise LeftError(why)
        return None

    def _proxy_timeout(self, directive: Directive, scope: Scope) -> str | None:
        self._say(directive, scope, "timeout", int(directive.arguments[0]))
        return None

    def _preserve_host(self, directive: Directive, scope: Scope) -> str | None:
        if directive.arguments[0].lower() != "on":
            raise LeftError("an application always gets the Host that the browser asked for")
        return "an application gets the Host that the browser asked for"

    def _proxy_requests(self, directive: Directive, scope: Scope) -> str | None:
        if directive.arguments[0].lower() != "off":
            raise LeftError("this is no forward proxy")
        return "this is no forward proxy"

    def _sendfile_path(self, directive: Directive, scope: Scope) -> str | None:
        path = directive.arguments[0].rstrip("/")
        if not path:
            raise LeftError("name the directories that files may be sent from, in sendfile")
        self._say(directive, scope, "sendfile", [path])
        return None

    def _route(self, host: Host, path: str, directive: Directive) -> PlannedRoute:
        """The route at ``path``, whose destination ``directive`` sets.

        Raises :class:`LeftError` if it has a destination already: the first one counts, as in
        Apache.
        """
        if not path.startswith("/"):
            raise LeftError("the path has no slash before it")
        if path in host.routes and host.routes[path].kind:
            raise LeftError(f"{path} leads elsewhere already: {host.routes[path].source.place}")
        route = PlannedRoute(path, source=directive)
        host.routes[path] = route
        return route


ROUTES: dict[str, Callable[[Any, Directive, Scope], str | None]] = {
    "alias": Routing._alias,
    "documentroot": Routing._document_root,
    "proxypass": Routing._proxy_pass,
    "proxypreservehost": Routing._preserve_host,
    "proxyrequests": Routing._proxy_requests,
    "proxytimeout": Routing._proxy_timeout,
    "redirect": Routing._redirect,
    "redirectpermanent": Routing._redirect,
    "redirecttemp": Routing._redirect,
    "rewritecond": Routing._rewrite_condition,
    "rewriterule": Routing._rewrite_rule,
    "xsendfilepath": Routing._sendfile_path,
}
"""By the directive's name in lower case, as :data:`ipyproxy.cli.apache.settings.SETTINGS`."""
