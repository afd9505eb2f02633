"""What came of the last reload: written down by the daemon, for whoever has asked for one.

Knows one file in the state directory. Knows nothing of signals, nor of what is reloaded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from ipyproxy import statefiles

_MOST_BYTES = 1024 * 1024


class Outcome(NamedTuple):
    """Of one reload.

    :ivar pid: the daemon's process.
    :ivar began: when it began to read, by ``CLOCK_MONOTONIC``: a reload that was asked for before
        that has been done.
    :ivar problems: why it was refused, one sentence each; none if it was done.
    """

    pid: int
    began: float
    problems: tuple[str, ...]


def outcome_file(directory: Path) -> Path:
    """The file, in the state directory."""
    return directory / "reload.json"


def write_outcome(file: Path, outcome: Outcome) -> None:
    """Put ``outcome`` in the place of the last one. Raises OSError."""
    statefiles.write(file, json.dumps(outcome._asdict()).encode() + b"\n")


def read_outcome(file: Path) -> Outcome | None:
    """The last outcome; None if there is none."""
    try:
        with file.open("rb") as opened:
            found = json.loads(opened.read(_MOST_BYTES))
        return Outcome(int(found["pid"]), float(found["began"]), tuple(found["problems"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
