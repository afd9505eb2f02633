"""Makes a JSON Schema from the tables and the example file, so that editors can complete and check.

Knows JSON Schema's types. A file that passes can still be refused: a schema can't check hosts, or
two keys that need each other.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import attrs

from ipyproxy.config.tables import Config
from ipyproxy.config.values import SHAPES

_KEY = re.compile(r"#(\w+) = ")


def schema(example: str) -> dict[str, Any]:
    """The schema of the configuration file.

    :param example: the text of a file with every key, commented out with its default, behind a
        comment that explains it.
    """
    uncommented = re.sub(r"^#(?=\w+ = |\[\[)", "", example, flags=re.MULTILINE)
    defaults, words = tomllib.loads(uncommented), _comments(example)
    include = {
        **_shape(tuple[str, ...]),
        "description": words["", "include"],
        "default": defaults["include"],
    }
    tables = {}
    for table, kind in get_type_hints(Config).items():
        shown = tables[table] = _shape(kind)
        values = defaults[table]
        if get_origin(kind) is tuple:
            # A list of tables.
            shown, kind, (values,) = shown["items"], get_args(kind)[0], values
        tables[table]["description"] = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        for key, shape in shown["properties"].items():
            shape["description"] = words[table, key]
            shape["default"] = values[key]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of ipyproxy",
        "type": "object",
        "properties": {"include": include, **tables},
        "additionalProperties": False,
    }


def _shape(kind: Any) -> dict[str, Any]:
    """The JSON Schema of a value of this type."""
    origin = get_origin(kind)
    if origin is Annotated:
        return dict(SHAPES.get(kind.__metadata__[0], {"type": "string"}))
    if origin is Literal:
        return {"enum": list(get_args(kind))}
    if origin is tuple:
        return {"type": "array", "items": _shape(get_args(kind)[0])}
    if attrs.has(kind):
        hints = get_type_hints(kind, include_extras=True)
        required = [field.name for field in attrs.fields(kind) if field.default is attrs.NOTHING]
        found: dict[str, Any] = {
            "type": "object",
            "properties": {name: _shape(hint) for name, hint in hints.items()},
            "additionalProperties": False,
        }
        return {**found, "required": required} if required else found
    return {"type": {bool: "boolean", int: "integer", float: "number"}.get(kind, "string")}


def _comments(example: str) -> dict[tuple[str, str], str]:
    """The comment before each key of each table; adjacent keys share one."""
    words: dict[tuple[str, str], str] = {}
    table, comment, in_keys = "", "", False
    for line in example.splitlines():
        key = _KEY.match(line)
        if key:
            words[table, key[1]] = comment
        elif line.startswith(("[", "#[[")):
            table, comment = line.strip("#[]"), ""
        elif line.startswith("# ") and not in_keys and comment:
            comment += " " + line[2:]
        elif line.startswith("# "):
            comment = line[2:]
        in_keys = key is not None or not line.startswith("# ")
    return words


if __name__ == "__main__":
    made = schema(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.stdout.write(json.dumps(made, indent=2, ensure_ascii=False) + "\n")
