"""TOML text and command line values -> a :class:`Config`, or every problem with its line.

Knows TOML and how cattrs reports. Must not know files, the environment or the reactor: it is
handed text and gives back values.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from operator import itemgetter
from typing import Annotated, Any, Literal, get_args, get_origin

import attrs
from cattrs import BaseValidationError, Converter, ForbiddenExtraKeysError
from cattrs.cols import homogenous_tuple_structure_factory
from cattrs.gen import make_dict_structure_fn

from ipyproxy.config.syntax import syntax_problem
from ipyproxy.config.tables import Config
from ipyproxy.config.values import RefusedError, refused

FLAGS: Mapping[str, str] = {
    "listen.https": "--https",
    "listen.http": "--http",
    "tls.certificate": "--certificate",
    "tls.key": "--key",
    "notebooks.ports": "--ports",
    "site.trusted_origins": "--trusted-origin",
}
"""The keys that the command line sets too, and the option that does so."""


class ConfigError(Exception):
    """The configuration is refused; ``problems`` holds one line for each thing to mend."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


# How cattrs reads the types used above. What is registered last is asked first.
_converter = Converter(detailed_validation=True, forbid_extra_keys=True)


def _is(origin: object) -> Callable[[Any], bool]:
    return lambda kind: get_origin(kind) is origin


@_converter.register_structure_hook
def _read_bool(value: object, _: object) -> bool:
    if isinstance(value, bool):
        return value
    raise refused(value, "is neither true nor false")


@_converter.register_structure_hook_factory(attrs.has)
def _table_hook(table: type[Any], converter: Converter) -> Callable[[object, object], object]:
    @cache
    def structure() -> Callable[..., Any]:
        # Not before there is such a table: cattrs compiles code for it.
        return make_dict_structure_fn(table, converter)

    def read(value: object, _: object) -> object:
        if isinstance(value, dict):
            return structure()(value, table)
        raise refused(value, "is not a table")

    return read


@_converter.register_structure_hook_factory(_is(Literal))
def _choice_hook(kind: object) -> Callable[[object, object], object]:
    choices = get_args(kind)

    def read(value: object, _: object) -> object:
        if value in choices:
            return value
        raise refused(value, "is not one of " + ", ".join(map(json.dumps, choices)))

    return read


@_converter.register_structure_hook_factory(_is(tuple))
def _list_hook(kind: type, converter: Converter) -> Callable[[object, object], object]:
    structure = homogenous_tuple_structure_factory(kind, converter)

    def read(value: object, _: object) -> object:
        # A string is iterable too, but not what is meant.
        if isinstance(value, list):
            return structure(value, kind)
        raise refused(value, 'is not a list such as ["...", "..."]')

    return read


@_converter.register_structure_hook_factory(_is(Annotated))
def _reader_hook(kind: Any) -> Callable[[object, object], object]:
    reader = kind.__metadata__[0]
    return lambda value, _: reader(value)


def parse(toml_text: str, overrides: Mapping[str, object], source: str) -> Config:
    """Read a configuration file's text; ``overrides`` holds values by dotted key, which win.

    ``source`` is the file's name for people. Raises :class:`ConfigError` with every problem there
    is, each with the line or the command line option it comes from.
    """
    try:
        document = tomllib.loads(toml_text)
    except ValueError as error:
        line, why = syntax_problem(str(error), toml_text)
        raise ConfigError([f"{source}:{line}: {why}" if line else f"{source}: {why}"]) from None
    for dotted, value in overrides.items():
        table, key = dotted.split(".")
        content = document.setdefault(table, {})
        if isinstance(content, dict):
            content[key] = value
    try:
        return _converter.structure(document, Config)
    except BaseValidationError as error:
        lines = _locate(toml_text)
        findings = [
            (0 if ".".join(path) in overrides else lines.get(path, 0), path, why)
            for path, why in _findings(error, ())
        ]
    findings.sort(key=itemgetter(0))
    raise ConfigError(
        _problem(line, ".".join(path), why, source, overrides) for line, path, why in findings
    )


def _problem(line: int, dotted: str, why: str, source: str, overrides: Mapping[str, object]) -> str:
    if dotted in overrides:
        return f"{FLAGS.get(dotted, dotted)}: {why}"
    return f"{source}:{line}: {dotted}: {why}" if line else f"{source}: {dotted}: {why}"


def _findings(
    error: BaseValidationError, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Flatten cattrs' tree of errors to pairs of key path and sentence."""
    for inner in error.exceptions:
        # A field's name comes as a note on the error; a list's index is left out.
        names = [note.name for note in getattr(inner, "__notes__", ()) if hasattr(note, "name")]
        at = path + tuple(names[:1])
        if isinstance(inner, BaseValidationError):
            yield from _findings(inner, at)
        elif isinstance(inner, ForbiddenExtraKeysError):
            for key in sorted(inner.extra_fields):
                yield (*at, key), "unknown key" + _hint(inner.cl, key)
        elif isinstance(inner, RefusedError):
            yield (*at, *inner.key.split(".")) if inner.key else at, str(inner)
        else:
            raise inner  # a mistake of ours, not of the configuration


def _hint(table: type, key: str) -> str:
    """Say which key was meant: one spelled alike, or the same one in its own table."""
    alike = get_close_matches(key, attrs.fields_dict(table), n=1)
    elsewhere = [
        f"{field.name}.{key}"
        for field in attrs.fields(Config)
        if field.type and attrs.has(field.type) and key in attrs.fields_dict(field.type)
    ]
    meant = (alike + elsewhere)[:1]
    return f'; did you mean "{meant[0]}"?' if meant else ""


def places(toml_text: str) -> dict[str, int]:
    """The line on which each key of a text is first set, by dotted key; none if it is no TOML."""
    try:
        tomllib.loads(toml_text)
    except ValueError:
        return {}
    return {".".join(path): line for path, line in _locate(toml_text).items()}


def _locate(toml_text: str) -> dict[tuple[str, ...], int]:
    """Give the line on which each table and key of a valid TOML text is first set.

    A statement is what tomllib takes as whole, so quotes, comments and values of several lines
    are seen as TOML sees them.
    """
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    statement, first = "", 1
    for number, line in enumerate(toml_text.split("\n"), 1):
        statement += line + "\n"
        try:
            content = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        paths = list(_paths(content, ()))
        if statement.lstrip().startswith("["):
            table = paths[-1]
            paths = [table]
        else:
            paths = [table + path for path in paths]
        for path in paths:
            lines.setdefault(path, first)
        statement, first = "", number + 1
    return lines


def _paths(content: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if path:
        yield path
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _paths(value, (*path, key))
