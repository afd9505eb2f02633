"""The configuration file: found, read and understood, or why not.

Knows files and their encoding. What stands in one is :mod:`ipyproxy.config`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ipyproxy.config import FLAGS, Config, ConfigError, anchored, parse
from ipyproxy.config.reading import places


def read_config(file: Path, overrides: Mapping[str, object], spoken: str) -> Config:
    """The configuration in ``file``.

    :param overrides: values by dotted key, which win.
    :param spoken: what people are told that the file is called.
    :raises ConfigError: with all that is wrong.
    """
    return anchored(parse(_read(file), overrides, spoken), file.parent)


def with_places(
    problems: Iterable[str], file: Path | None, overrides: Mapping[str, object], spoken: str
) -> Iterator[str]:
    """``problems`` that begin with a key, with the line of the file that sets it before the key.

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
    """The line of each key that ``file`` sets, by dotted key; none if it cannot be read."""
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
