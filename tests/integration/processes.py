"""Child processes of the tests; knows how to start, watch and end one, not what it serves."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import socket
import struct
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

T = TypeVar("T")

#: The name of the environment variable that marks a child and everything it starts.
MARK = "IPYPROXY_TEST_CHILD"

#: Seconds between two looks at something that is waited for.
POLL_INTERVAL = 0.05

#: Seconds that a child has between SIGTERM and SIGKILL.
STOP_TIMEOUT = 20.0


class Gone(Exception):
    """What is waited for will never come."""


def poll(look: Callable[[], T | None], *, seconds: float, waiting_for: str) -> T:
    """Call *look* until it returns something other than None, and return that.

    Raises TimeoutError after *seconds*, naming what was *waiting_for*.
    """
    deadline = time.monotonic() + seconds
    while (seen := look()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {waiting_for}")
        time.sleep(POLL_INTERVAL)
    return seen


def of_these_tests() -> dict[str, str]:
    """The environment of a child that runs a module of these tests, wherever it is started.

    Without it a child that starts in another directory would find the tests of whatever checkout
    is installed.
    """
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


# Below those that the kernel gives to whoever connects or lets it choose, and none of a notebook's.
_PORTS = range(20000, 30000)
_reserved: list[IO[bytes]] = []


def free_port(candidates: Iterable[int] = ()) -> int:
    """The first of *candidates* that nobody listens on at 127.0.0.1; by default, any port.

    It stays ours until this process ends: no other process gets it from here, and it is none that
    the kernel gives away.
    """
    for port in candidates or random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                sock.bind(("127.0.0.1", port))
                if _reserve(port):
                    return port
    raise OSError("none of the ports is free")


def _reserve(port: int) -> bool:
    """Keep *port* from all other processes that ask :func:`free_port`; whether it was nobody's."""
    directory = Path(tempfile.gettempdir()) / f"ipyproxy-ports-{os.getuid()}"
    directory.mkdir(exist_ok=True)
    file = (directory / str(port)).open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return False
    _reserved.append(file)
    return True


def reset(sock: socket.socket) -> None:
    """Break a TCP connection off, as a client does that has lost its network."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def tail(log: Path, lines: int = 40) -> str:
    """The last *lines* lines of a file."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


class Child:
    """One process in a session of its own, whose output goes to a file."""

    def __init__(
        self, name: str, command: Sequence[str], env: dict[str, str], cwd: Path, **more: Any
    ) -> None:
        """Start *command* in *cwd* with exactly the environment *env*.

        *more* is for subprocess.Popen.
        """
        self.name = name
        self.command = list(command)
        self.log_file = cwd / f"{name}.log"
        self._mark = f"{MARK}={uuid.uuid4().hex}".encode()
        mark_name, _, mark_value = self._mark.decode().partition("=")
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                self.command,
                env={**env, mark_name: mark_value},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **more,
            )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        self._process.send_signal(number)

    def wait(self, seconds: float) -> int:
        """Wait for the process to end by itself; returns its exit status."""
        return self._process.wait(seconds)

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    def log(self) -> str:
        """All that the process has written so far."""
        return self.log_file.read_text(errors="replace")

    def log_tail(self) -> str:
        """The last lines of the log."""
        return tail(self.log_file)

    def wait_until(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Wait until *ready* says so; raises Gone, with the end of the log, if it never will."""

        def look() -> bool | None:
            if self._process.poll() is not None:
                raise Gone(f"it ended with status {self._process.returncode}")
            return ready() or None

        try:
            poll(look, seconds=seconds, waiting_for="it to answer")
        except (Gone, TimeoutError) as error:
            self.stop()
            command = " ".join(self.command)
            raise Gone(f"{self.name}: {error}\n$ {command}\n{self.log_tail()}") from None

    def stop(self) -> int:
        """End the process and whatever it started and left behind; returns its exit status.

        Kernels and terminals run in sessions of their own, so that no process group holds them
        all; they are known by the mark that they have inherited.
        """
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT)
        for pid in marked(self._mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return self._process.wait(STOP_TIMEOUT)


def marked(mark: bytes) -> Iterator[int]:
    """The ids of the processes that have *mark* (``NAME=value``) in their environment."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)
