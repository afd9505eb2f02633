"""``ipyproxy check``: reports errors in the configuration before the daemon uses it.

Knows arguments only; ``daemon/checking.py`` does the check.
"""

from __future__ import annotations

import argparse
from functools import partial

from ipyproxy.cli.configuration import add_file, placed, read_file
from ipyproxy.daemon.checking import run_check


def add(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to the parser."""
    parser = words.add_parser(
        "check",
        help="look at the configuration and at the files that it names, and say what is wrong",
        description="Reads the configuration, the certificates and every other file that it names, "
        "and touches no network. Root reads them with the rights of the user ipyproxy, if there is "
        "one, as the service does. The status is 2 if the daemon would not start.",
    )
    add_file(parser)
    parser.set_defaults(
        run=lambda given: run_check(lambda: read_file(given), partial(placed, given))
    )
