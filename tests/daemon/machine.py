"""A machine of its own for systemd to boot on: namespaces of Linux, and only the units under test.

Knows how systemd is booted and asked. What it must not touch is covered: /run, /tmp and /opt are
the machine's own, and what is changed in /etc, /usr and /var is lost with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import pty
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from .running import PATIENCE

SYSTEMD = Path("/lib/systemd/systemd")
_NAMESPACES = ["--fork", "--mount-proc", "-mpuinC", "--kill-child"]
_TARGETS = ("sysinit", "basic", "shutdown", "network", "sockets", "multi-user")
_TARGET = "[Unit]\nDefaultDependencies=no\nAllowIsolate=yes\n"

# What is changed in /etc, /usr and /var stays on the machine.
_BOOT = """
set -e
mount --make-rprivate /
mount --bind {console} /dev/console
for place in /run /opt; do mount -t tmpfs -o mode=0755 tmpfs $place; done
for place in /etc /usr /var; do
    mkdir -p /run/changes$place /run/work$place
    mount -t overlay -o lowerdir=$place,upperdir=/run/changes$place,workdir=/run/work$place \
        overlay $place
done
rm -rf /var/lib/ipyproxy /var/log/ipyproxy /etc/ipyproxy
mount -t tmpfs -o mode=0755 tmpfs /etc/systemd/system
mkdir -p /run/test /run/lock
mount --bind {directory} /run/test
{furnish}
for place in /tmp /var/tmp; do mount -t tmpfs -o mode=1777 tmpfs $place; done
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
ip address add 192.0.2.1/32 dev lo
exec env -i PATH="$PATH" container=other SYSTEMD_UNIT_PATH={units} \
    SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_COLOR=0 \
    {systemd} --system --unit=basic.target
"""


def why_not() -> str:
    """Why no systemd can be booted here; empty if it can."""
    if os.geteuid() != 0:
        return "booting systemd takes root"
    if not SYSTEMD.exists():
        return "systemd is not installed"
    for tool in ("unshare", "nsenter", "ip"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    place = "/sys/fs/cgroup"
    probe = (
        f"mount --make-rprivate / && umount -R {place} && mount -t cgroup2 x {place} "
        "&& mount -t tmpfs x /run && mkdir /run/a /run/b "
        "&& mount -t overlay -o lowerdir=/etc,upperdir=/run/a,workdir=/run/b x /etc"
    )
    tried = subprocess.run(
        ["unshare", *_NAMESPACES, "sh", "-c", probe], capture_output=True, text=True
    )
    return f"no namespaces to boot systemd in: {tried.stderr.strip()}" if tried.returncode else ""


class Machine:
    """A booted systemd on a copy of this machine, of whose services none runs.

    ``directory`` is ``/run/test`` in there, and its ``units`` come before those of the system.

    :param furnish: a script that makes the machine what the test wants, before it boots.
    :param units: directories that systemd looks for units in.
    """

    def __init__(self, directory: Path, furnish: str, *, units: str = "/run/test/units") -> None:
        self.directory = directory
        (directory / "units").mkdir(exist_ok=True)
        for name in _TARGETS:
            (directory / "units" / f"{name}.target").write_text(_TARGET)
        self._console, slave = pty.openpty()
        script = _BOOT.format(
            console=os.ttyname(slave), directory=directory, furnish=furnish, units=units,
            systemd=SYSTEMD,
        )  # fmt: skip
        self._process = subprocess.Popen(
            ["unshare", *_NAMESPACES, "bash", "-c", script],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.said = ""
        threading.Thread(target=self._hear, daemon=True).start()
        deadline = time.monotonic() + PATIENCE
        while self.ask("is-system-running").stdout.strip() not in ("running", "degraded"):
            assert time.monotonic() < deadline, self.said
            assert self._process.poll() is None, self.said
            time.sleep(0.1)

    def _hear(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self._console, 65536):
                self.said += data.decode(errors="replace")

    @property
    def pid(self) -> int:
        """The id of systemd, seen from outside."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return int((children.read_text().split() or ["0"])[0])

    def run_there(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in there."""
        inside = ["nsenter", "-t", str(self.pid), "-m", "-p", "-n", "-i", "-u", "-C"]
        return subprocess.run(
            [*inside, *command], capture_output=True, text=True, timeout=PATIENCE * 2
        )

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``systemctl`` in there."""
        return self.run_there("systemctl", *arguments)

    def do(self, *arguments: str) -> None:
        """Run ``systemctl``, which is to succeed."""
        done = self.ask(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stderr}\n{self.said}"

    def show(self, name: str, unit: str = "ipyproxy.service") -> str:
        """A property of a unit."""
        return self.ask("show", "--value", "-p", name, unit).stdout.strip()

    def process(self, unit: str = "ipyproxy.service") -> Path:
        """The main process of a unit, below /proc as seen from outside."""
        wanted = self.show("MainPID", unit)
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, IndexError):
                status = (entry / "status").read_text()
                ids = status.partition("NSpid:")[2].split("\n")[0].split()
                same = (entry / "ns/pid").readlink() == Path(f"/proc/{self.pid}/ns/pid").readlink()
                if same and ids[-1] == wanted:
                    return entry
        raise LookupError(f"no process {wanted}")

    def run(self, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a scenario of asyncio's in the machine's network."""
        failures: list[BaseException] = []

        def inside() -> None:
            try:
                self.enter_network()
                asyncio.run(asyncio.wait_for(scenario(), PATIENCE * 4))
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        for failure in failures:
            raise failure

    def enter_network(self) -> None:
        """Move this thread, which is to be one of the test's own, to the machine's network."""
        with Path(f"/proc/{self.pid}/ns/net").open() as namespace:
            libc = ctypes.CDLL(None, use_errno=True)
            assert libc.setns(namespace.fileno(), 0) == 0, os.strerror(ctypes.get_errno())

    def stop(self) -> None:
        """Pull the plug."""
        self._process.kill()
        self._process.wait()
        os.close(self._console)
