"""Translates directives into a plan, with a remark on every directive that is not in it.

Knows how sections lie in each other, and what follows from all that they say. What a directive says
is in ``settings`` and ``routing``. Nothing is left out in silence: a directive is taken over, or a
remark says what takes its place, or that nothing does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ipyproxy.cli.apache.needless import NEEDLESS
from ipyproxy.cli.apache.parsing import Directive
from ipyproxy.cli.apache.placing import Placement, covering, without_empty
from ipyproxy.cli.apache.plan import PlannedRoute, Rule
from ipyproxy.cli.apache.routing import ROUTES, Routing
from ipyproxy.cli.apache.settings import (
    RULE,
    SETTINGS,
    Host,
    LeftError,
    Remark,
    Said,
    Scope,
)
from ipyproxy.config.values import is_within

_PLAIN = re.compile(r"/[^*?\[]*")
_TRANSPARENT = ("ifmodule", "requireany")
_HANDLERS = {**SETTINGS, **ROUTES}


class Translation(Routing):
    """Translates directives one by one; then :attr:`plan` and :attr:`remarks` are complete."""

    def __init__(self) -> None:
        super().__init__()
        self._hosts: list[Host] = []
        self._outside = Host()

    def take(self, directives: Iterable[Directive]) -> None:
        """Translate all directives of a file."""
        self._take_all(directives, Scope(self._outside))

    def finish(self) -> None:
        """After the last file: assign settings of paths to the routes, and name the hosts."""
        hosts = [*self._hosts, self._outside]
        for host in hosts:
            self._add_websockets(host)
            self._add_document_root(host)
            self._except(host)
        placements = self._place(hosts)
        serving = [host for host in hosts if host.routes or host.has_notebooks]
        several = len(serving) > 1
        names: list[str] = []
        for host in hosts:
            names += [name for name in host.names if name not in names]
        # If both have a name, the HTTPS host counts.
        for host in sorted(serving, key=lambda host: host.is_plain):
            own = host.names if several and host.names else [""]
            for route in sorted(host.routes.values(), key=lambda route: route.path):
                keys = without_empty(route.keys)
                for name in own:
                    self._add(PlannedRoute(route.path, keys, name, source=route.source))
            self._add_rules(host, placements[id(host)].rules(), own)
        if names:
            self.plan.set("site.hosts", list(names))
        if self.plan.rules:
            self.plan.set("auth.rules", list(self.plan.rules))

    def _add(self, route: PlannedRoute) -> None:
        for other in self.plan.routes:
            if (other.host, other.path) == (route.host, route.path):
                if other.keys != route.keys:
                    why = f"{other.source.place} says what answers there"
                    self._leave(route.source, why, None)
                return
        self.plan.routes.append(route)

    # Directives.

    def _take_all(self, directives: Iterable[Directive], scope: Scope) -> None:
        for directive in directives:
            if directive.is_section:
                self._take_section(directive, scope)
                continue
            try:
                why = self._take(directive, scope)
            except LeftError as left:
                self._leave(directive, str(left), scope)
            else:
                if why:
                    self.remarks.append(Remark(directive, is_left=False, why=why))

    def _take_section(self, section: Directive, scope: Scope) -> None:
        arguments = section.arguments
        argument = arguments[0] if arguments else ""
        if section.name == "virtualhost":
            self._take_host(section)
        elif section.name == "location" and argument.startswith("/"):
            path = argument.rstrip("/") or "/"
            self._take_alternatives(section, Scope(scope.host, path, scope.directory))
        elif section.name in ("directory", "files", "filesmatch", "proxy") or (
            section.name == "location"
        ):
            is_directory = section.name == "directory" and bool(_PLAIN.fullmatch(argument))
            directory = argument if is_directory else section.text
            self._take_alternatives(section, Scope(scope.host, scope.path, directory))
        elif section.name in _TRANSPARENT:
            self._take_alternatives(section, scope)
        elif section.name == "requireall":
            self._take_together(section, scope)
        else:
            self._leave(section, "no route has such a condition", scope)

    def _take_together(self, section: Directive, scope: Scope) -> None:
        """Translate conditions that all apply: at most one on networks and one on users."""
        said = scope.host.said
        # Beside another condition this one has no effect.
        asked = [each for each in section.children if not _lets_all_in(each)]
        known: set[str] = set()
        for child in asked or section.children:
            before = len(said)
            self._take_all([child], scope)
            keys = {each.key for each in said[before:]} & {"allow", RULE}
            if keys & known:
                self._close(section, "a route takes one condition of a kind", scope)
            known |= keys

    def _take_alternatives(self, section: Directive, scope: Scope) -> None:
        """Translate a section in which one condition is enough."""
        self._remark_alternatives(section)
        self._take_all(section.children, scope)
        if len([each for each in section.children if each.name == "requireall"]) > 1:
            self._close(section, "a route takes one condition of a kind", scope)

    def _remark_alternatives(self, section: Directive) -> None:
        """Remark if in Apache a network or a user is enough, because here both are required."""
        asked = [each for each in section.children if each.name == "require" and each.arguments]
        users = [each for each in asked if each.arguments[0].lower() in ("user", "valid-user")]
        networks = [each for each in asked if each.arguments[0].lower() in ("ip", "local")]
        if users and networks:
            why = "either would do in Apache; here it takes both, the network and the user"
            self.remarks.append(Remark(users[-1], is_left=True, why=why))

    def _take_host(self, section: Directive) -> None:
        port = section.arguments[0].rpartition(":")[2] if section.arguments else ""
        host = Host(is_plain=not _is_secured(section.children) and port != "443")
        self._hosts.append(host)
        if host.is_plain:
            self.plan.set("listen.http", 80 if not port.isdigit() else int(port))
        else:
            self.plan.set("listen.https", 443 if not port.isdigit() else int(port))
        self._take_all(section.children, Scope(host))
        if host.is_plain and (host.routes or host.document_root):
            self._leave(
                Directive(section.name, [], section.file, section.line, section.text),
                "nothing is served by plain HTTP: what stands in it is by HTTPS, and plain HTTP "
                "leads there",
                None,
            )

    def _take(self, directive: Directive, scope: Scope) -> str | None:
        """Translate one directive. Returns what replaces it, if it is not in the plan.

        Raises :class:`LeftError`.
        """
        name = directive.name
        handler = _HANDLERS.get(name)
        if handler is not None:
            return handler(self, directive, scope)
        if name in NEEDLESS:
            return NEEDLESS[name]
        raise LeftError("it has no counterpart that is known here")

    # What follows from all that was said.

    def _add_websockets(self, host: Host) -> None:
        """Add routes for WebSockets at paths where other requests have none."""
        for path, (server, base, directive) in host.websockets.items():
            if covering([each for each in host.routes.values() if each.kind == "to"], path):
                continue
            try:
                self._proxied(host, path, server, base, directive)
            except LeftError as left:
                self._leave(directive, str(left), None)

    def _add_document_root(self, host: Host) -> None:
        root = host.document_root
        if root is None:
            return
        if "/" in host.routes:
            why = "all requests are answered by other means"
            self.remarks.append(Remark(root, is_left=False, why=why))
        else:
            self._route(host, "/", root).keys["files"] = root.arguments[0]

    def _except(self, host: Host) -> None:
        """Serve paths that ProxyPass excludes from the files of the host."""
        for path, directive in host.excepted:
            if path in host.routes:
                continue
            if host.document_root is None:
                self._leave(directive, "nothing says what answers there", None)
                continue
            files = f"{host.document_root.arguments[0].rstrip('/')}{path}"
            self._route(host, path, directive).keys["files"] = files

    def _place(self, hosts: Sequence[Host]) -> dict[int, Placement]:
        """Assign the settings of each host to its routes, and general settings to all hosts."""
        placements = {}
        placed: list[Said] = []
        for host in hosts:
            inherited = [] if host is self._outside else self._outside.said
            placement = placements[id(host)] = Placement(host)
            placement.place([*inherited, *host.said])
            placed += placement.placed
            for said in placement.closed:
                why = "it is said of files here; until you say who may come, only this host "
                self._leave(said.directive, why + "itself may (allow)", None)
                placed.append(said)
        for said in (said for host in hosts for said in host.said):
            # A setting that grants access to a place without a route has no effect: nothing is
            # served there.
            is_needless = said.value in (None, []) or said.scope.directory == "/"
            if said not in placed and not is_needless:
                self._leave(said.directive, f"no route of this host takes {said.key} there", None)
        return placements

    def _add_rules(self, host: Host, found: Iterable[Rule], names: Sequence[str]) -> None:
        """Add the rules of a host: for each of its names, and for the notebooks that it has.

        Notebooks are at every host, and so are their rules.
        """
        rules = list(found)
        for name in names:
            for rule in rules:
                self._add_rule({**rule, "host": name} if name else rule)
        prefix = self.plan.tables.get("notebooks", {}).get("prefix")
        if host.has_notebooks and isinstance(prefix, str) and names != [""]:
            for rule in rules:
                if is_within(str(rule["path"]), prefix):
                    self._add_rule(rule)
            above = [rule for rule in rules if is_within(prefix, str(rule["path"]))]
            if above:
                longest = max(above, key=lambda rule: len(rule["path"]))
                self._add_rule({**longest, "path": prefix})

    def _add_rule(self, rule: Rule) -> None:
        if rule not in self.plan.rules:
            self.plan.rules.append(rule)


def _lets_all_in(directive: Directive) -> bool:
    said = [each.lower() for each in directive.arguments]
    return directive.name == "require" and said == ["all", "granted"]


def _is_secured(directives: Iterable[Directive]) -> bool:
    return any(
        (each.name == "sslengine" and each.arguments[:1] == ["on"]) or _is_secured(each.children)
        for each in directives
    )
