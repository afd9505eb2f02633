"""Where the nodes of a fleet are: each in a network namespace of its own where that is possible."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

NODES = 3
SUBNET = "198.18.0"  # for tests of networks (RFC 2544)
_TOOLS = ("unshare", "nsenter", "ip")


class Places:
    """Where things are: an address for whatever is not a node, and one for each node."""

    def __init__(self, central: str, nodes: Sequence[str]) -> None:
        self.central = central
        self.nodes = nodes

    def inside(self, node: int) -> tuple[str, ...]:
        """What comes before a command so that it runs where a node is."""
        return ()


class _Network(Places):
    """One namespace for the tests, and one for each node, on a bridge. Gone with this process."""

    def __init__(self) -> None:
        super().__init__(f"{SUBNET}.1", [f"{SUBNET}.{11 + at}" for at in range(NODES)])
        self._holding = [_holder() for _ in range(1 + NODES)]
        self._outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        core, *nodes = [each.pid for each in self._holding]
        lines = [
            "ip link set lo up",
            "ip link add fleet type bridge",
            f"ip address add {self.central}/24 dev fleet",
            "ip link set fleet up",
        ]
        for at, pid in enumerate(nodes):
            lines += [
                f"ip link add node{at} type veth peer name eth0 netns {pid}",
                f"ip link set node{at} master fleet up",
            ]
        try:
            _run_in(core, lines)
            for pid, address in zip(nodes, self.nodes, strict=True):
                there = f"ip address add {address}/24 dev eth0"
                _run_in(pid, ["ip link set lo up", there, "ip link set eth0 up"])
            with Path(f"/proc/{core}/ns/net").open() as namespace:
                _enter(namespace.fileno())
        except BaseException:
            self.close()
            raise

    def inside(self, node: int) -> tuple[str, ...]:
        return "nsenter", f"--net=/proc/{self._holding[1 + node].pid}/ns/net", "--"

    def close(self) -> None:
        """Go back to where this thread came from."""
        _enter(self._outside)
        os.close(self._outside)
        for holder in self._holding:
            holder.kill()
            holder.wait()


def _holder() -> subprocess.Popen[bytes]:
    """A process with a network of its own, which does nothing but last."""
    # It ends with its standard input, and so with this process.
    command = ["unshare", "--net", "--", "sh", "-c", "echo; exec cat"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def _run_in(pid: int, lines: Sequence[str]) -> None:
    script = "\n".join(["set -e", *lines])
    command = ["nsenter", f"--net=/proc/{pid}/ns/net", "--", "sh", "-c", script]
    subprocess.run(command, check=True, capture_output=True)


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, 0):
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def places() -> Iterator[Places]:
    """Namespaces with this thread in one of them, or else addresses of the loopback device."""
    network = None
    if os.geteuid() == 0 and all(map(shutil.which, _TOOLS)):
        with contextlib.suppress(subprocess.CalledProcessError, OSError):
            network = _Network()
    if network is None:
        yield Places("127.0.0.1", [f"127.0.0.{11 + at}" for at in range(NODES)])
        return
    try:
        yield network
    finally:
        network.close()
