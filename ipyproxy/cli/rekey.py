"""``ipyproxy rekey``: changes the key of the account with the authority.

Knows the store that the command and the running proxy share. The command writes a request into it;
the proxy asks the authority.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from ipyproxy.acme.store import Store
from ipyproxy.cli.configuration import add_file
from ipyproxy.cli.renew import store_for
from ipyproxy.config import ConfigError

DONE = 60.0
"""Seconds to wait for the change."""


def add(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to the parser."""
    parser = words.add_parser(
        "rekey",
        help="give the account with the authority another key",
        description="The account, and what it has proved, stays. The status is 1 if it keeps its "
        "key.",
    )
    add_file(parser)
    parser.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> int:
    store = store_for(given)
    try:
        went_well, said = rekey(store, time.monotonic, time.sleep)
    except OSError as error:
        raise ConfigError([f"{store.directory}: {error.strerror}"]) from None
    sys.stdout.write(said + "\n")
    return 0 if went_well else 1


def rekey(
    store: Store, seconds: Callable[[], float], sleep: Callable[[float], object]
) -> tuple[bool, str]:
    """Write the request and wait. Returns whether the account has a new key, and a message."""
    store.ask_for_account_key()
    began = seconds()
    while seconds() - began < DONE:
        sleep(0.5)
        if not store.wants_account_key():
            return True, "the account has another key"
    return False, (
        f"not done within {DONE:g} s: see the log. If the proxy runs, it tries again every hour; "
        "if it does not run, it does this when it starts."
    )
