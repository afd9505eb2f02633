"""Reads the configuration file and the files that it includes.

Knows files and their encoding. :mod:`ipyproxy.config.reading` parses the text.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ipyproxy.config import FLAGS, Config, ConfigError, anchored, parse
from ipyproxy.config.reading import Text, places


def read_config(file: Path, overrides: Mapping[str, object], spoken: str) -> Config:
    """The configuration in ``file``.

    :param overrides: values by dotted key, which override the file.
    :param spoken: the file's name for messages.
    :raises ConfigError: with all errors.
    """
    text = _read(file)
    included = [Text(_read(each), str(each)) for each in _included(text, file, spoken)]
    return anchored(parse(text, overrides, spoken, included), file.parent)


def _included(text: str, file: Path, spoken: str) -> Iterator[Path]:
    """The files that ``text`` includes; those of one pattern are sorted by name."""
    try:
        patterns = tomllib.loads(text).get("include", [])
    except ValueError:
        return  # the error is reported together with all others
    if not isinstance(patterns, list) or not all(isinstance(each, str) for each in patterns):
        raise ConfigError([f'{spoken}: include: is not a list such as ["conf.d/*.toml"]'])
    for pattern in patterns:
        # glob() accepts no absolute pattern, and a name without a star must exist.
        top = Path(file.parent.anchor)
        whole = (file.parent / pattern).relative_to(top)
        found = sorted(top.glob(str(whole)))
        if not found and "*" not in pattern:
            raise ConfigError([f"{spoken}: include: there is no file {pattern}"])
        yield from (each for each in found if each.is_file())


def with_places(
    problems: Iterable[str], file: Path | None, overrides: Mapping[str, object], spoken: str
) -> Iterator[str]:
    """``problems``; those that begin with a key get the line of the file that sets it.

    The parameters are those of :func:`read_config`; without a file no line is added.
    """
    lines = lines_of(file)
    for problem in problems:
        dotted, _, why = problem.partition(": ")
        if dotted in overrides and dotted in FLAGS:
            yield f"{FLAGS[dotted]}: {why}"
        elif line := lines.get(dotted):
            yield f"{spoken}:{line}: {problem}"
        else:
            yield problem


def lines_of(file: Path | None) -> dict[str, int]:
    """The line of each key that ``file`` sets, by dotted key; empty if it cannot be read."""
    if file is None:
        return {}
    try:
        return places(_read(file))
    except ConfigError:
        return {}


def _read(file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError([f"{file}: {error.strerror}"]) from None
    try:
        return content.decode("utf-8-sig")  # Windows editors put a byte order mark in front
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{file}:{line}: is not UTF-8 text"]) from None
