"""Checks a configuration before the daemon uses it, with the daemon's rights.

Knows which account's rights count, and how to print the result. :mod:`ipyproxy.daemon.settings`
finds errors and doubts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence

from ipyproxy.config import Config, ConfigError
from ipyproxy.daemon.account import SERVICE, NoAccountError, answered_as, find_account, in_the_unit
from ipyproxy.daemon.settings import check
from ipyproxy.daemon.state import state_directory

_PROBLEM, _WARNING = "!", "?"


Placed = Callable[[Iterable[str]], Iterable[str]]
"""Adds to each problem that begins with a key the place where the key is set."""


def run_check(
    load: Callable[[], Config], placed: Placed = list, user: str | int | None = None
) -> int:
    """Check what ``load`` reads, and print the result. Returns the exit status.

    Root may read everything, so as root the check runs with the rights of the daemon's account.

    :param user: that account; None: the one that the package creates, if it exists.
    """
    lines, reader = _findings(load, placed, user)
    for line in lines:
        sys.stderr.write(f"ipyproxy: {line[1:]}\n")
    if any(line.startswith(_PROBLEM) for line in lines):
        return 2
    sys.stdout.write(f"configuration is valid{reader}\n")
    return 0


def _findings(
    load: Callable[[], Config], placed: Placed, user: str | int | None
) -> tuple[Sequence[str], str]:
    def look() -> list[str]:
        try:
            config = load()
            doubts = check(config, state_directory(config, os.environ))
            return [_WARNING + line for line in placed(doubts)]
        except ConfigError as error:
            return [_PROBLEM + line for line in placed(error.problems)]

    if os.geteuid() != 0:
        return look(), ""
    try:
        account = find_account(SERVICE if user is None else user)
    except NoAccountError as error:
        if user is not None:
            return [f"{_PROBLEM}{error}"], ""
        why = f"{error}, so nobody knows whether the service's user can read these files"
        return look(), f" as root reads it ({why})"
    if account.name == SERVICE:
        account = in_the_unit(account)
    return answered_as(account, look), f" as user {account.name} reads it"
