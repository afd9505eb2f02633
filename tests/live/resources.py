"""What a process has of the machine, by what Linux tells in /proc: memory, files, cores."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path


class Memory:
    """How far the resident set of a process grows from now on, at its peak."""

    def __init__(self, pid: int) -> None:
        self._directory = Path(f"/proc/{pid}")
        # Sets the peak back to what is resident now (proc(5)).
        (self._directory / "clear_refs").write_text("5")
        self._before = self._look("VmRSS")

    def growth(self) -> int:
        """Bytes between the peak since then and what was resident at that time."""
        return self._look("VmHWM") - self._before

    def _look(self, name: str) -> int:
        for line in (self._directory / "status").read_text().splitlines():
            key, _, value = line.partition(":")
            if key == name:
                return int(value.removesuffix("kB")) * 1024
        raise LookupError(name)


class Files:
    """Which files a process opens from now on, looked at often."""

    def __init__(self, pid: int) -> None:
        self._directory = Path(f"/proc/{pid}/fd")
        self._before = self._look()
        self._opened: set[str] = set()
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._keep_looking)
        self._watch.start()

    def opened(self) -> set[str]:
        """Paths of all files it has opened, deleted ones too; the looking ends."""
        self._over.set()
        self._watch.join()
        return self._opened

    def _keep_looking(self) -> None:
        while not self._over.wait(0.02):
            self._opened |= self._look() - self._before

    def _look(self) -> set[str]:
        paths = set()
        for entry in self._directory.iterdir():
            with contextlib.suppress(FileNotFoundError):
                paths.add(str(entry.readlink()))
        return {path for path in paths if path.startswith("/") and not path.startswith("/dev/")}


class Delay:
    """How long a process that wants to run has waited for a core, from now on."""

    def __init__(self, pid: int) -> None:
        self._file = Path(f"/proc/{pid}/schedstat")
        self._before = self._look()

    def mean(self) -> float:
        """Seconds for each time that it was given one."""
        (waited, turns), (waited_before, turns_before) = self._look(), self._before
        return (waited - waited_before) / max(1, turns - turns_before) / 1e9

    def _look(self) -> tuple[int, int]:
        _, waited, turns = map(int, self._file.read_text().split())
        return waited, turns
