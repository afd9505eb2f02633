"""Processes: started on one core, read through /proc, ended by id.

Knows nothing of proxies and load. Linux only.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic, sleep

PROXY_CORE = 0
LOAD_CORE = 1

REALTIME = ("chrt", "--rr", "10")
"""Before a command: it never waits for the CPU, whatever else wants its core. Its own threads take
turns, since wrk has one that ends the run."""

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PATIENCE = 5.0  # seconds from SIGTERM to SIGKILL


class Process:
    """A program on one core, with all its descendants.

    :param log: takes standard output and standard error.
    :param core: where it and its descendants run.
    """

    def __init__(
        self,
        argv: Sequence[str],
        log: Path,
        core: int,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        own = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})  # a child inherits it
        try:
            with log.open("ab") as output:
                self._popen = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=log.parent,
                    env={**os.environ, **(env or {})},
                )
        finally:
            os.sched_setaffinity(0, own)

    def is_alive(self) -> bool:
        return self._popen.poll() is None

    def pids(self) -> list[int]:
        """Give its own id and those of all its descendants."""
        return tree(self._popen.pid)

    def last_words(self) -> str:
        """Give the last line of its output, for a report of what went wrong."""
        text = self._log.read_text(errors="replace").strip()
        return text.rpartition("\n")[2][-200:]

    def stop(self) -> None:
        """End it: asked first, killed if it does not listen. Descendants do not outlive it."""
        pids = self.pids()
        if self.is_alive():
            self._popen.terminate()
            try:
                self._popen.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        deadline = monotonic() + _PATIENCE
        while (left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]) and (
            monotonic() < deadline
        ):
            sleep(0.02)
        for pid in left:
            os.kill(pid, signal.SIGKILL)


def realtime_is_allowed() -> bool:
    """Tell whether this user may start what :data:`REALTIME` stands before."""
    try:
        return subprocess.run([*REALTIME, "true"], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def _stat(pid: int) -> list[str]:
    """Give the fields of /proc/<pid>/stat after the command's name; none if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def tree(root: int) -> list[int]:
    """Give a process's id and those of all its descendants, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    pids = [root]
    for pid in pids:
        pids.extend(children.get(pid, []))
    return pids


def cpu_seconds(pids: Sequence[int]) -> float:
    """Give the user and system time that these processes have used up so far."""
    stats = [_stat(pid) for pid in pids]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats if stat) / _TICKS_PER_SECOND


def rss_kib(pids: Sequence[int]) -> int:
    """Give the resident memory of processes that belong together, in KiB.

    Pages that a forked worker shares with its parent are counted once: what is private is added
    up, of what is shared the largest part is taken.
    """
    private, shared = 0, 0
    for pid in pids:
        sizes = _rollup(pid)
        private += sum(size for name, size in sizes.items() if name.startswith("Private_"))
        shared = max(shared, sum(n for name, n in sizes.items() if name.startswith("Shared_")))
    return private + shared


def _rollup(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
