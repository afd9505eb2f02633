"""``ipyproxy rekey``: changes the key of the account with the authority.

Knows the store that the command and the running proxy share. The command writes a request into it;
the proxy asks the authority.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

from ipyproxy.acme.store import Store
from ipyproxy.cli.configuration import add_file
from ipyproxy.cli.renew import carry_out, store_for

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
    return carry_out(store, partial(rekey, store))


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
