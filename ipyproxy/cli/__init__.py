"""The command ``ipyproxy``, for everything besides running the proxy.

Knows its subcommands. Each is a module here, with a function ``add`` that adds it to the parser.
``twistd ipyproxy`` runs the proxy.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ipyproxy import __version__
from ipyproxy.cli import (
    certificates,
    check,
    doctor,
    galaxy,
    import_apache,
    link,
    rekey,
    reload,
    renew,
    revoke,
    status,
)
from ipyproxy.config import ConfigError

COMMANDS = (
    certificates,
    check,
    doctor,
    galaxy,
    import_apache,
    link,
    rekey,
    reload,
    renew,
    revoke,
    status,
)
"""The modules of the subcommands, in the order of ``--help``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with ``arguments`` (by default the process's). Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="ipyproxy",
        description="What goes with the proxy; 'twistd ipyproxy' runs it.",
    )
    parser.add_argument("--version", action="version", version=f"ipyproxy {__version__}")
    words = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(words)
    given = parser.parse_args(arguments)
    try:
        return int(given.run(given))
    except BrokenPipeError:
        # The reader has closed the pipe: "ipyproxy doctor 10000 | head".
        sys.stdout = None  # nothing is left to flush
        return 1
    except ConfigError as error:
        sys.stderr.writelines(f"ipyproxy: {problem}\n" for problem in error.problems)
        return 2
