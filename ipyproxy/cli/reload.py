"""``ipyproxy reload``: makes the daemon reload its configuration, and reports the outcome.

Knows processes and signals, and where the daemon writes the outcome.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from ipyproxy.cli.configuration import add_file, read_file
from ipyproxy.config import Config, ConfigError
from ipyproxy.daemon.account import NoAccountError, find_account
from ipyproxy.daemon.outcome import Outcome, outcome_file, read_outcome
from ipyproxy.daemon.state import state_directory

_LOOK = 0.05
_PATIENCE = 25.0
"""Seconds to wait for a reload: a disk or a directory of users may be slow. systemd waits for 30
(TimeoutStartSec= in the unit) and would not say why it failed."""
_SHORT_PATIENCE = 10.0
"""The same if the file cannot be read, since it may name another state directory."""


def add(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to the parser."""
    parser = words.add_parser(
        "reload",
        help="have the daemon read its configuration anew, and say what came of it",
        description="Sends SIGHUP to the daemon and waits until it has read everything. The status "
        "is 1 if it refused, and then nothing has changed. Under systemd, 'systemctl reload "
        "ipyproxy' does this.",
    )
    parser.add_argument("pid", type=int, metavar="PID", help="the daemon's process")
    add_file(parser)
    parser.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> int:
    wrong: tuple[str, ...] = ()
    try:
        config = read_file(given)
    except ConfigError as error:
        # The daemon will report this too, unless its command line overrides it.
        config, wrong = Config(), error.problems
    file = outcome_file(state_directory(config, os.environ, _home_of(given.pid)))
    asked = time.monotonic()
    try:
        os.kill(given.pid, signal.SIGHUP)
    except OSError as error:
        return _complain([f"process {given.pid}: {error.strerror}"])
    outcome = _wait(file, given.pid, asked, _SHORT_PATIENCE if wrong else _PATIENCE)
    if outcome is None:
        said = f"process {given.pid} has not written to {file} what came of it; see its log"
        return _complain([*wrong, said])
    return _complain(f"NOT RELOADED, all stays as it was: {why}" for why in outcome.problems)


def _home_of(pid: int) -> Path | None:
    try:
        return find_account(Path(f"/proc/{pid}").stat().st_uid).home
    except (OSError, NoAccountError):
        return None


def _wait(file: Path, pid: int, asked: float, patience: float) -> Outcome | None:
    """Wait for the outcome of a reload that began after the time ``asked``."""
    while time.monotonic() < asked + patience:
        outcome = read_outcome(file)
        if outcome is not None and outcome.pid == pid and outcome.began >= asked:
            return outcome
        time.sleep(_LOOK)
    return None


def _complain(problems: Iterable[str]) -> int:
    lines = [f"ipyproxy: {problem}\n" for problem in problems]
    sys.stderr.writelines(lines)
    return int(bool(lines))
