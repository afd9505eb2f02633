"""Finds and reads the configuration file of a command.

Knows the file's usual place. Knows nothing of what a command does with it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from ipyproxy.config import Config
from ipyproxy.config.file import read_config, with_places

USUAL_FILE = Path("/etc/ipyproxy/ipyproxy.toml")


def add_file(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--config``."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"the proxy's configuration file [{USUAL_FILE}]",
    )


def read_file(given: argparse.Namespace) -> Config:
    """Read the file that ``--config`` names, or the usual one; if there is none, all defaults.

    :raises ConfigError: with all errors in it.
    """
    file = _file(given)
    return Config() if file is None else read_config(file.absolute(), {}, str(file))


def placed(given: argparse.Namespace, problems: Iterable[str]) -> Iterable[str]:
    """``problems`` with the lines of the file that they are about."""
    file = _file(given)
    return with_places(problems, file and file.absolute(), {}, str(file))


def _file(given: argparse.Namespace) -> Path | None:
    file: Path | None = given.config
    return file if file is not None else USUAL_FILE if USUAL_FILE.exists() else None
