"""TOML text and command line values -> a :class:`Config`, or every problem with its line.

Knows TOML and cattrs' errors. Must not know files, the environment or the reactor: text goes in,
values come out.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from operator import itemgetter
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import attrs
from cattrs import (
    AttributeValidationNote,
    BaseValidationError,
    Converter,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)
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
"""The keys that the command line can set, each with its option."""


class ConfigError(Exception):
    """The configuration is refused; ``problems`` has one line for each error."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


# How cattrs reads the types used above. The last one registered is tried first.
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
        # Only once there is such a table, because cattrs compiles code for it.
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
        # A string is iterable too, but it is a mistake here.
        if isinstance(value, list):
            return structure(value, kind)
        raise refused(value, 'is not a list such as ["...", "..."]')

    return read


@_converter.register_structure_hook_factory(_is(Annotated))
def _reader_hook(kind: Any) -> Callable[[object, object], object]:
    reader = kind.__metadata__[0]
    return lambda value, _: reader(value)


class Text(NamedTuple):
    """The text of a file, and the file's name for messages."""

    text: str
    source: str


def parse(
    toml_text: str,
    overrides: Mapping[str, object],
    source: str,
    included: Sequence[Text] = (),
) -> Config:
    """Read a configuration file's text; ``overrides`` has values by dotted key.

    ``source`` is the file's name for messages, ``included`` are the files that it includes. Raises
    :class:`ConfigError` with every problem, each with its line or command line option.
    """
    document, set_at = _join([Text(toml_text, source), *included])
    for dotted, value in overrides.items():
        table, key = dotted.split(".")
        content = document.setdefault(table, {})
        if isinstance(content, dict):
            content[key] = value
    try:
        return _converter.structure(document, Config)
    except BaseValidationError as error:
        findings = [
            (_place(path, set_at), _dotted(path), why) for path, why in _findings(error, ())
        ]
    nowhere = _Place(0, source, 0)
    told = [
        (nowhere if dotted in overrides or place is None else place, dotted, why)
        for place, dotted, why in findings
    ]
    told.sort(key=itemgetter(0))
    raise ConfigError(_problem(place, dotted, why, overrides) for place, dotted, why in told)


class _Place(NamedTuple):
    """A line of one of the files; ``file`` is the file's index, 0 for the main file."""

    file: int
    source: str
    line: int


KeyPath = tuple[str | int, ...]
"""The path of a value: tables and keys, and the index in a list of tables."""


def _dotted(path: KeyPath) -> str:
    return ".".join(part for part in path if isinstance(part, str))


def _place(path: KeyPath, places: Mapping[KeyPath, _Place]) -> _Place | None:
    """The place that sets ``path``; for a table in an inline list, the place of the list."""
    return places.get(path) or places.get(tuple(part for part in path if isinstance(part, str)))


def _join(texts: Iterable[Text]) -> tuple[dict[str, Any], dict[KeyPath, _Place]]:
    """Merge all files; returns the document and the place of each value.

    Raises :class:`ConfigError`.
    """
    document: dict[str, Any] = {}
    places: dict[KeyPath, _Place] = {}
    problems: list[str] = []
    for number, (text, source) in enumerate(texts):
        try:
            content = tomllib.loads(text)
        except ValueError as error:
            line, why = syntax_problem(str(error), text)
            problems.append(f"{source}:{line}: {why}" if line else f"{source}: {why}")
            continue
        lines = _locate(text, {name: len(of) for name, of in document.items() if _is_list(of)})
        found = {path: _Place(number, source, line) for path, line in lines.items()}
        if number == 0:
            content.pop("include", None)  # the includes have been read before
        for path in _add(document, content):
            where = found[path]
            said = f"{where.source}:{where.line}: {_dotted(path)}: "
            if path == ("include",):
                problems.append(f"{said}only the first file includes others")
            else:
                before = places[path]
                problems.append(f"{said}is set in {before.source}:{before.line} already")
        for path, place in found.items():
            places.setdefault(path, place)
    if problems:
        raise ConfigError(problems)
    return document, places


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _add(document: dict[str, Any], content: Mapping[str, Any]) -> Iterator[KeyPath]:
    """Merge the content of a file into ``document``; yields the keys that conflict."""
    for table, value in content.items():
        before = document.get(table)
        if table == "include":
            yield (table,)
        elif before is None:
            document[table] = value
        elif isinstance(before, list) and isinstance(value, list):
            before += value
        elif isinstance(before, dict) and isinstance(value, dict):
            for key, new in value.items():
                if key in before:
                    yield table, key
                else:
                    before[key] = new
        else:
            yield (table,)


def _problem(place: _Place, dotted: str, why: str, overrides: Mapping[str, object]) -> str:
    if dotted in overrides:
        return f"{FLAGS.get(dotted, dotted)}: {why}"
    where = f"{place.source}:{place.line}" if place.line else place.source
    return f"{where}: {dotted}: {why}"


def _findings(error: BaseValidationError, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Flatten cattrs' tree of errors into pairs of a key path and a message."""
    for inner in error.exceptions:
        # A field's name, or a list's index, is in a note on the error.
        notes = getattr(inner, "__notes__", ())
        names: list[str | int]
        names = [note.name for note in notes if isinstance(note, AttributeValidationNote)]
        names += [note.index for note in notes if isinstance(note, IterableValidationNote)]
        at = path + tuple(names[:1])
        if isinstance(inner, BaseValidationError):
            yield from _findings(inner, at)
        elif isinstance(inner, ForbiddenExtraKeysError):
            for key in sorted(inner.extra_fields):
                yield (*at, key), "unknown key" + _hint(inner.cl, key)
        elif isinstance(inner, RefusedError):
            yield (*at, *inner.key.split(".")) if inner.key else at, str(inner)
        else:
            raise inner  # a bug, not an error in the configuration


def _hint(table: type, key: str) -> str:
    """Suggest a key: one with a similar spelling, or the same one in the right table."""
    alike = get_close_matches(key, attrs.fields_dict(table), n=1)
    elsewhere = [
        f"{field.name}.{key}"
        for field in attrs.fields(Config)
        if field.type and attrs.has(field.type) and key in attrs.fields_dict(field.type)
    ]
    meant = (alike + elsewhere)[:1]
    return f'; did you mean "{meant[0]}"?' if meant else ""


def places(toml_text: str) -> dict[str, int]:
    """The line on which each key is first set, by dotted key; empty if the text is no TOML."""
    try:
        tomllib.loads(toml_text)
    except ValueError:
        return {}
    lines: dict[str, int] = {}
    for path, line in _locate(toml_text, {}).items():
        lines.setdefault(_dotted(path), line)
    return lines


def _locate(toml_text: str, begun: Mapping[str, int]) -> dict[KeyPath, int]:
    """The line on which each table and key of a valid TOML text is first set.

    ``begun`` is how many tables of each list of tables there are already.

    A statement is a run of lines that tomllib accepts, so quotes, comments and multi-line values
    are handled as in TOML.
    """
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    counts = dict(begun)
    statement, first = "", 1
    for number, line in enumerate(toml_text.split("\n"), 1):
        statement += line + "\n"
        try:
            content = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        paths = list(_paths(content, ()))
        if statement.lstrip().startswith("[["):
            name = str(paths[-1][0])
            table = (name, counts.get(name, 0))
            counts[name] = counts.get(name, 0) + 1
            paths = [(name,), table]
        elif statement.lstrip().startswith("["):
            table = paths[-1]
            paths = [table]
        else:
            paths = [table + path for path in paths]
        for path in paths:
            lines.setdefault(path, first)
        statement, first = "", number + 1
    return lines


def _paths(content: object, path: KeyPath) -> Iterator[KeyPath]:
    if path:
        yield path
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _paths(value, (*path, key))
