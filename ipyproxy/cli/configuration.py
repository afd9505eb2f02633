"""Which configuration file a command reads, and what it says.

Knows the file's usual place. Knows nothing of what a command does with it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ipyproxy.config import Config
from ipyproxy.config.file import read_config

USUAL_FILE = Path("/etc/ipyproxy/ipyproxy.toml")


def add_file(parser: argparse.ArgumentParser) -> None:
    """Let ``--config`` name the file."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"the proxy's configuration file [{USUAL_FILE}]",
    )


def read_file(given: argparse.Namespace) -> Config:
    """The configuration that ``--config`` names, or the usual one; all defaults if there is none.

    :raises ConfigError: with all that is wrong with it.
    """
    if given.config is None and not USUAL_FILE.exists():
        return Config()
    file: Path = given.config or USUAL_FILE
    return read_config(file.absolute(), {}, str(file))
