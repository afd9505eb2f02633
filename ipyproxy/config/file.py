"""The configuration file: found, read and understood, or why not.

Knows files and their encoding. What stands in one is :mod:`ipyproxy.config`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ipyproxy.config import Config, ConfigError, anchored, parse


def read_config(file: Path, overrides: Mapping[str, object], spoken: str) -> Config:
    """The configuration in ``file``.

    :param overrides: values by dotted key, which win.
    :param spoken: what people are told that the file is called.
    :raises ConfigError: with all that is wrong.
    """
    return anchored(parse(_read(file), overrides, spoken), file.parent)


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
