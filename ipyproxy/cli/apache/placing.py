"""Assigns settings of paths and directories to a host's routes, and to rules of ``[auth]``.

Knows the order in which Apache applies sections: first directories, shorter paths before longer
ones, then files, then paths in their order in the file; each time, sections outside of all hosts
come before those in a host. The last section that restricts access to a place counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ipyproxy.cli.apache.plan import PlannedRoute, Rule, Value
from ipyproxy.cli.apache.settings import NOBODY, RULE, Host, Said, Scope
from ipyproxy.config.values import is_within


class _Access(NamedTuple):
    """The login that the section ``scope`` requires at a path.

    Only ``users`` may pass; empty: all users; None: no login is required.
    """

    scope: Scope
    users: list[str] | None


class Placement:
    """Assigns settings to the routes of one host.

    :ivar placed: settings that were assigned.
    :ivar closed: settings without a place that restrict access; so access there is denied.
    """

    def __init__(self, host: Host) -> None:
        self.placed: list[Said] = []
        self.closed: list[Said] = []
        self._routes = host.routes
        self._access: dict[str, _Access] = {}
        # The last section that restricts access to a path, and whether it denies all access.
        self._allowed_by: dict[str, tuple[Scope, bool]] = {}

    def place(self, said: Iterable[Said]) -> None:
        """Assign all settings; ``said`` begins with those outside of the host."""
        for each in sorted(said, key=_rank):
            if self._put(each):
                self.placed.append(each)

    def rules(self) -> Iterator[Rule]:
        """The rules for the host, without its name."""
        for path, (_, users) in sorted(self._access.items()):
            if users:
                yield {"path": path, "require": "htpasswd", "users": users}
            elif users is not None:
                yield {"path": path, "require": "htpasswd"}
            elif self._is_guarded_above(path):
                yield {"path": path, "require": "none"}

    def _is_guarded_above(self, path: str) -> bool:
        above = [each for each in self._access if each != path and is_within(path, each)]
        return bool(above) and self._access[max(above, key=len)].users is not None

    def _put(self, said: Said) -> bool:
        scope = said.scope
        if said.key == RULE:
            assert said.value is None or isinstance(said.value, list)
            users = None if said.value is None else [str(each) for each in said.value]
            paths = [path for _, path in self._in(scope.directory)]
            for path in paths if scope.directory else [scope.path]:
                self._require(path, scope, users)
            found = bool(paths) or not scope.directory
        else:
            routes = list(self._meant(said))
            for route in routes:
                self._set(route, said)
            found = bool(routes)
        # A directory without a route is not served anyway.
        if not found and scope.directory[:1] not in ("", "/") and _keeps_out(said):
            below = [each for each in self._routes.values() if is_within(each.path, scope.path)]
            for route in below:
                route.keys["allow"] = list(NOBODY)
                self._allowed_by[route.path] = scope, True
            if below:
                self.closed.append(said)
        return found

    def _require(self, path: str, scope: Scope, users: list[str] | None) -> None:
        before = self._access.get(path)
        for other in [each for each in self._access if is_within(each, path)]:
            if self._access[other].scope is not scope:
                del self._access[other]
        if before is not None and before.scope is scope:
            open_to_all = users is None or before.users is None
            users = None if open_to_all else _either(before.users or [], users or [])
        self._access[path] = _Access(scope, users)

    def _meant(self, said: Said) -> Iterator[PlannedRoute]:
        """The routes that it is said of; those for a part of another one are made."""
        scope = said.scope
        if scope.directory:
            for route, path in self._in(scope.directory):
                if _takes(route, said.key) and (path == route.path or _changes(route, said)):
                    yield route if path == route.path else self._narrowed(route, path, said)
            return
        meant = [route for route in self._routes.values() if _takes(route, said.key)]
        if scope.path not in self._routes and (above := covering(meant, scope.path)):
            if _changes(above, said):
                yield self._narrowed(above, scope.path, said)
            elif said.key == "allow":
                yield above  # it is open there as it is
        yield from (route for route in meant if is_within(route.path, scope.path))

    def _in(self, directory: str) -> list[tuple[PlannedRoute, str]]:
        """Where the files of ``directory`` stand: routes, and paths below them."""
        found = []
        top = directory.rstrip("/") or "/"
        for route in list(self._routes.values()) if directory.startswith("/") else ():
            files = route.keys.get("files")
            if not isinstance(files, str):
                continue
            if is_within(files, top):
                found.append((route, route.path))
            elif is_within(top, files):
                path = route.path.rstrip("/") + top[len(files) :]
                if path not in self._routes:
                    found.append((route, path))
        return found

    def _narrowed(self, route: PlannedRoute, path: str, said: Said) -> PlannedRoute:
        """A route of its own for a part of ``route``, which leads to the same place."""
        keys = dict(route.keys)
        if "files" in keys:
            keys["files"] = f"{keys['files']}{path.removeprefix(route.path.rstrip('/'))}"
        narrowed = PlannedRoute(path, keys, source=said.directive)
        self._routes[path] = narrowed
        return narrowed

    def _set(self, route: PlannedRoute, said: Said) -> None:
        keys, key = route.keys, said.key
        value: Any = said.value
        before: Any = keys.get(key)
        if key == "allow":
            section, is_closed = self._allowed_by.get(route.path, (None, False))
            goes_on = section is said.scope
            is_closed = value is NOBODY or (goes_on and is_closed)
            self._allowed_by[route.path] = said.scope, is_closed
            # Of several in one section any will do.
            joined = _either(before or [], value) if goes_on else list(value)
            keys[key] = list(NOBODY) if is_closed else joined
        elif isinstance(before, list):
            keys[key] = [*before, *value]
        elif isinstance(before, dict):
            keys[key] = {**before, **value}
        elif key == "timeout":
            keys.setdefault(key, value)  # ProxyPass says it of one path
        else:
            keys[key] = value


def _rank(said: Said) -> tuple[int, int]:
    directory = said.scope.directory
    if directory.startswith("/"):
        return 0, len(directory)
    is_of_files = directory and not directory.lower().startswith("<location")
    return (1, 0) if is_of_files else (2, 0)


def _keeps_out(said: Said) -> bool:
    return said.value is not None if said.key == RULE else said.key == "allow" and bool(said.value)


def _changes(route: PlannedRoute, said: Said) -> bool:
    """Whether it says something else than what is said of ``route`` already."""
    return bool(said.value or route.keys.get(said.key))


def _either(one: Sequence[str], other: Sequence[str]) -> list[str]:
    """The union of two lists, of which an empty one means all."""
    return [*one, *(each for each in other if each not in one)] if one and other else []


_MEANT_FOR = {"timeout": ("to",), "sendfile": ("to",), "send": ("to",), "max_age": ("files",)}


def _takes(route: PlannedRoute, key: str) -> bool:
    return route.kind in _MEANT_FOR.get(key, ("to", "files", "redirect"))


def covering(routes: Iterable[PlannedRoute], path: str) -> PlannedRoute | None:
    """The route that takes ``path``."""
    above = [route for route in routes if is_within(path, route.path)]
    return max(above, key=lambda route: len(route.path), default=None)


def without_empty(keys: dict[str, Value]) -> dict[str, Value]:
    """The keys less those that say what is so anyway."""
    return {key: value for key, value in keys.items() if value != []}
