"""``ipyproxy renew NAME``: makes the running proxy get a certificate at once.

Knows the store that the two share. The command writes a request into it; the proxy asks the
authority.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial

from ipyproxy.acme.material import Reason
from ipyproxy.acme.store import Store
from ipyproxy.cli.certificates import own_store
from ipyproxy.cli.configuration import add_file, read_file
from ipyproxy.config import ConfigError
from ipyproxy.daemon.settings import certificate_files

TAKEN_UP = 15.0
"""Seconds in which a running proxy notices the request, unless it has to wait."""
DONE = 300.0
"""Seconds to wait for the authority."""

Command = Callable[[Callable[[], float], Callable[[float], object]], tuple[bool, str]]
"""Leaves word and waits, by a clock and a sleep; whether it was done, and what to say."""


def add(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to the parser."""
    parser = words.add_parser(
        "renew",
        help="get a new certificate for a name at once",
        description="The status is 1 if there is none.",
    )
    parser.add_argument("name", metavar="NAME", help="one of those that certificates are got for")
    add_file(parser)
    parser.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> int:
    name = given.name.lower()
    store = store_for(given, name)
    return carry_out(store, partial(renew, store, name))


def carry_out(store: Store, command: Command) -> int:
    """Do what changes something in ``store``, say how it went, and give the exit status."""
    try:
        went_well, said = command(time.monotonic, time.sleep)
    except OSError as error:
        raise ConfigError([f"{store.directory}: {error.strerror}"]) from None
    sys.stdout.write(said + "\n")
    return 0 if went_well else 1


def store_for(given: argparse.Namespace, name: str | None = None) -> Store:
    """The store of ACME's files.

    :param name: a name that must have its certificate from ACME.
    :raises ConfigError: if it has not, or if the store cannot be used.
    """
    config = read_file(given)
    store = own_store(config, certificate_files(config))
    if store is None:
        raise ConfigError(
            ["tls.acme is not on: renew the certificates with the program that made them"]
        )
    if name is not None and name not in store.names:
        got = ", ".join(store.names) or "no name"
        raise ConfigError([f"{name}: certificates are got for {got}"])
    return store


def renew(
    store: Store,
    name: str,
    seconds: Callable[[], float],
    sleep: Callable[[float], object],
    reason: Reason | None = None,
) -> tuple[bool, str]:
    """Write the request and wait. Returns whether there is a new certificate, and a message.

    :param reason: the reason to revoke the former one; None: do not revoke it.
    """
    stamp, attempts = store.stamps().get(name), store.attempts(name)
    store.ask(name, reason)
    began = seconds()
    while seconds() - began < DONE:
        sleep(0.5)
        if store.stamps().get(name, stamp) != stamp:
            return True, f"got {store.certificate(name)}"
        now = store.attempts(name)
        if now.last > attempts.last:
            return False, f"no certificate for {name}: {now.why}"
        if seconds() - began > TAKEN_UP and name in store.asked():
            return False, (
                f"{name} is not asked for yet. If the proxy runs, four attempts have failed within "
                "an hour: it goes on by itself then. If it does not run, it asks when it starts."
            )
    return False, f"the authority has not answered within {DONE / 60:g} minutes; see the log"
