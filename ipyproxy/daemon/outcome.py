"""The outcome of the last reload: the daemon writes it to a file, and commands read it.

Knows one file in the state directory. Knows nothing of signals, or of what is reloaded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from ipyproxy import statefiles

_MOST_BYTES = 1024 * 1024


class Outcome(NamedTuple):
    """The outcome of one reload.

    :ivar pid: the daemon's process.
    :ivar began: when it began to read, by ``CLOCK_MONOTONIC``; it covers all requests for a reload
        from before that time.
    :ivar problems: the reasons why it was refused, one sentence each; empty if it was done.
    """

    pid: int
    began: float
    problems: tuple[str, ...]


def outcome_file(directory: Path) -> Path:
    """The path of the file in the state directory."""
    return directory / "reload.json"


def write_outcome(file: Path, outcome: Outcome) -> None:
    """Replace the last outcome by ``outcome``. Raises OSError."""
    statefiles.write(file, json.dumps(outcome._asdict()).encode() + b"\n")


def read_outcome(file: Path) -> Outcome | None:
    """The last outcome; None if there is none."""
    try:
        with file.open("rb") as opened:
            found = json.loads(opened.read(_MOST_BYTES))
        return Outcome(int(found["pid"]), float(found["began"]), tuple(found["problems"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
