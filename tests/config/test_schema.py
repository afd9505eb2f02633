"""The schema for editors: in step with the tables, and never stricter than they are."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from ipyproxy.config import ConfigError, parse
from ipyproxy.config.schema import schema

ETC = Path(__file__).parents[2] / "etc"
EXAMPLE = (ETC / "ipyproxy.toml").read_text()
SCHEMA = schema(EXAMPLE)


def is_valid(toml: str) -> bool:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    return bool(validator.is_valid(tomllib.loads(toml)))


def keys() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for table, shape in SCHEMA["properties"].items():
        for key, inner in shape.get("items", shape)["properties"].items():
            yield table, key, inner


def test_the_file_is_what_make_schema_writes() -> None:
    assert json.loads((ETC / "ipyproxy.schema.json").read_text()) == SCHEMA, "run make schema"


def test_the_example_names_it() -> None:
    assert EXAMPLE.splitlines()[0] == "#:schema ./ipyproxy.schema.json"


def test_it_is_a_schema_and_each_default_is_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert is_valid("")
    assert is_valid(re.sub(r"^#(?=\w+ = |\[\[)", "", EXAMPLE, flags=re.MULTILINE))


@pytest.mark.parametrize(("table", "key", "shape"), list(keys()))
def test_every_key_is_described(table: str, key: str, shape: dict[str, Any]) -> None:
    assert len(shape["description"]) > 10
    assert "default" in shape
    assert "type" in shape or "enum" in shape or "anyOf" in shape


@pytest.mark.parametrize("toml", [
    "listen.https = 443",
    'listen.https = "systemd:domain=INET:index=0"',
    'listen.http = ""',
    "notebooks.ports = 8888",
    "notebooks.ports = [8888, '9000-9010']",
    "limits.body_bytes = 0",
    "timeouts.head = 3",
    "timeouts.response = 0",
    'site.hosts = ["a.example"]',
    'auth.rules = [{ path = "/ipython", require = "none" }]',
    '[[routes]]\nto = "unix:/run/app.sock"\ntimeout = 180',
    '[[routes]]\nto = ["http://127.0.0.1:1", "http://127.0.0.1:2"]\nheaders = { X = "y" }',
    '[[routes]]\nhost = "*.a.example"\nredirect = "https://b.example"\nstatus = 301',
])  # fmt: skip
def test_what_is_taken_is_valid(toml: str) -> None:
    parse(toml, {}, "")
    assert is_valid(toml)


@pytest.mark.parametrize("toml", [
    "limits.connections = 0",
    "limits.connections = 'many'",
    "limits.connections = true",
    "limits.conections = 1",
    "limit.connections = 1",
    "timeouts.head = 0",
    "timeouts.response = 90000",
    'health.mode = "udp"',
    'health.path = "/api"',
    "listen.proxy_protocol = 1",
    'site.hosts = "a.example"',
    'notebooks.prefix = "ipython"',
    'auth.rules = [{ path = "/ipython", requires = "none" }]',
    "[[routes]]\nto = 8080",
    '[[routes]]\nto = "unix:/run/app.sock"\nstatus = 200',
    '[[routes]]\nto = "unix:/run/app.sock"\npath = "galaxy"',
])  # fmt: skip
def test_what_a_schema_can_know_is_not_valid_where_it_is_refused(toml: str) -> None:
    with pytest.raises(ConfigError):
        parse(toml, {}, "")
    assert not is_valid(toml)
