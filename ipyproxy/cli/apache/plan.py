"""The result of an import, and its TOML.

Knows the keys of our configuration. Knows nothing of what directives mean.
"""

from __future__ import annotations

import json
from dataclasses import KW_ONLY, dataclass, field

from ipyproxy.cli.apache.parsing import Directive

Rule = dict[str, str | list[str]]
Value = str | int | bool | list[str] | list[Rule] | dict[str, str] | Rule


@dataclass
class PlannedRoute:
    """One entry of ``[[routes]]``; ``keys`` are its keys except host and path.

    ``source`` is the original directive.
    """

    path: str
    keys: dict[str, Value] = field(default_factory=dict)
    host: str = ""
    _: KW_ONLY
    source: Directive

    @property
    def kind(self) -> str:
        """Its destination: ``to``, ``files`` or ``redirect``; empty if unknown so far."""
        return next((kind for kind in ("to", "files", "redirect") if kind in self.keys), "")


@dataclass
class Plan:
    """Tables with their keys, and routes."""

    tables: dict[str, dict[str, Value]] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    routes: list[PlannedRoute] = field(default_factory=list)

    def set(self, key: str, value: Value) -> bool:
        """Set a key such as ``tls.key``; False if it has another value already."""
        table, _, name = key.partition(".")
        return self.tables.setdefault(table, {}).setdefault(name, value) == value


def written(plan: Plan) -> str:
    """The plan in TOML."""
    parts = []
    order = ("listen", "tls", "site", "notebooks", "auth", "limits", "timeouts")
    for table in order:
        keys = plan.tables.get(table)
        if keys:
            lines = [f"{name} = {_value(value)}" for name, value in keys.items()]
            parts.append("\n".join([f"[{table}]", *lines]))
    parts += ["\n".join(_route_lines(route)) for route in plan.routes]
    return "\n\n".join(parts) + "\n"


def _route_lines(route: PlannedRoute) -> list[str]:
    lines = [f"[[routes]]  # {route.source.place}"]
    if route.host:
        lines.append(f"host = {_value(route.host)}")
    if route.path != "/":
        lines.append(f"path = {_value(route.path)}")
    return [*lines, *(f"{name} = {_value(value)}" for name, value in route.keys.items())]


def _value(value: Value) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(of)}" for key, of in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    # A basic string in TOML is a JSON string, except for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    return key if key.replace("-", "").isalnum() and key.isascii() else json.dumps(key)
