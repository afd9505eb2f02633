"""``ipyproxy revoke NAME``: replaces a certificate and revokes the old one.

Knows the store that the command and the running proxy share. The command writes a request into it;
the proxy asks the authority.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

from ipyproxy.acme.material import Reason
from ipyproxy.acme.store import Store
from ipyproxy.cli.configuration import add_file
from ipyproxy.cli.renew import DONE, carry_out, renew, store_for
from ipyproxy.config import ConfigError


def add(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to the parser."""
    parser = words.add_parser(
        "revoke",
        help="replace the certificate for a name, and have the old one revoked",
        description="The old one stays if no other can be got. The status is 1 if it is not "
        "revoked.",
    )
    parser.add_argument("name", metavar="NAME", help="one of those that certificates are got for")
    parser.add_argument(
        "--compromised",
        action="store_true",
        help="somebody else may have its key: make a new one even if tls.reuse_key is on, and "
        "revoke the certificate even if no other can be got",
    )
    add_file(parser)
    parser.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> int:
    name = given.name.lower()
    store = store_for(given, name)
    if name not in store.stamps():
        raise ConfigError([f"{name} has no certificate"])
    reason = Reason.COMPROMISED if given.compromised else Reason.SUPERSEDED
    return carry_out(store, partial(revoke, store, name, reason))


def revoke(
    store: Store,
    name: str,
    reason: Reason,
    seconds: Callable[[], float],
    sleep: Callable[[float], object],
) -> tuple[bool, str]:
    """Write the request and wait. Returns whether the certificate is revoked, and a message."""
    old = store.certificate(name).chain[0]
    renewed, said = renew(store, name, seconds, sleep, reason)
    if not renewed and reason is not Reason.COMPROMISED:
        return False, f"{said}; the certificate is not revoked"
    began = seconds()
    while not (done := store.is_revoked(old)) and seconds() - began < DONE:
        sleep(0.5)
    if done:
        return True, f"{said}; the one before ({old.serial_number:x}) is revoked"
    return False, (
        f"{said}; the authority has not revoked the one before. See the log; it is asked again "
        "every hour."
    )
