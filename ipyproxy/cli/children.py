"""The programs that the demo starts: their logs, their exits, and leftover processes.

Knows processes and signals. Knows nothing of what the programs do.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

MARK = "IPYPROXY_DEMO"
"""The environment variable that marks every descendant of a demo."""


class DemoError(Exception):
    """The demo cannot start or go on; the message, for its user, says why."""


@dataclass
class Child:
    """A program that the demo started, in a session of its own, and its log."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, name: str, command: list[str], environment: dict[str, str], log: Path) -> Child:
        """Start ``command``; Ctrl-C does not reach it, so the demo decides who ends when."""
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return cls(name, log, process)

    def ended(self) -> bool:
        """Whether the program itself is gone."""
        return self.process.poll() is not None

    def require_alive(self) -> None:
        """Raise :class:`DemoError` with the last lines of the log if it has ended."""
        if self.ended():
            status = self.process.returncode
            raise DemoError(f"{self.name} ended (status {status}). Its last lines:\n{self.tail()}")

    def tail(self) -> str:
        """The end of the log, indented."""
        text = self.log.read_text(errors="replace").splitlines()[-15:]
        return "\n".join(f"    {line}" for line in text)


@dataclass
class StopSignals:
    """Counts stop signals instead of interrupting the running code."""

    count: int = 0

    def install(self) -> None:
        """Take over SIGINT, SIGTERM and SIGHUP."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._remember)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.count += 1


def descendants(mark: str) -> Iterator[int]:
    """Ids of running processes that inherited ``mark``, even from a parent that has ended.

    Kernels and terminals live in sessions of their own and outlive a killed Jupyter; their
    environment still tells where they come from. Linux only: elsewhere there are none.
    """
    wanted = f"{MARK}={mark}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:  # it ended, or belongs to somebody else
            continue
        if int(entry.name) != os.getpid() and wanted in environment.split(b"\0"):
            yield int(entry.name)
