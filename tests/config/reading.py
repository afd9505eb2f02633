"""Configurations as text: what they are read as, and what is said of those that are refused."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest

from ipyproxy.config import Config, ConfigError, parse


def parsed(text: str, **overrides: object) -> Config:
    """The configuration of this text; overrides are spelled ``table__key``."""
    return parse(text, {key.replace("__", "."): v for key, v in overrides.items()}, "i.toml")


def problems(text: str, **overrides: object) -> list[str]:
    """What is said of a text that is refused."""
    with pytest.raises(ConfigError) as caught:
        parsed(text, **overrides)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)


def value(table: str, key: str, toml: str) -> Any:
    """What a key's TOML value is read as."""
    return getattr(getattr(parsed(f"[{table}]\n{key} = {toml}\n"), table), key)


def refusal(table: str, key: str, toml: str) -> str:
    """Why a key's TOML value is refused; exactly one problem, on its line."""
    (problem,) = problems(f"[{table}]\n{key} = {toml}\n")
    place = f"i.toml:2: {table}.{key}: "
    assert problem.startswith(place)
    return problem.removeprefix(place)


def with_psycopg(patch: pytest.MonkeyPatch, *, installed: bool) -> None:
    """Have Python find psycopg, or not, whatever is installed."""
    module = ModuleType("psycopg")
    module.__spec__ = ModuleSpec("psycopg", None)
    patch.setitem(sys.modules, "psycopg", module if installed else None)
