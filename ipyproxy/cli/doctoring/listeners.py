"""Finds who listens on a TCP port in Linux's /proc.

Knows the formats of /proc/net/tcp and of a process's directory. Makes no connection.
"""

from __future__ import annotations

import contextlib
import pwd
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

_PROC = Path("/proc")
_LISTENING = "0A"
_SOCKET = re.compile(r"socket:\[([0-9]+)\]")
_MOST_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket.

    ``pid`` and ``program`` are unknown if its process is hidden from this user.
    """

    address: IPv4Address | IPv6Address
    user: str
    pid: int | None = None
    program: str = ""

    @property
    def is_reached(self) -> bool:
        """Whether a connection to 127.0.0.1 leads here."""
        return self.address.is_unspecified or self.address == IPv4Address("127.0.0.1")

    @property
    def is_open_to_others(self) -> bool:
        """Whether other hosts can connect."""
        return not self.address.is_loopback

    def __str__(self) -> str:
        who = f"pid {self.pid} ({self.program})" if self.pid else "a process we are not shown"
        return f"{who} of user {self.user} on {self.address}"


def listeners(port: int) -> list[Listener]:
    """All listeners on ``port``; IPv4 first."""
    sockets = [
        found for name in ("tcp", "tcp6") for found in _listening(_PROC / "net" / name, port)
    ]
    holders = _holders({inode for _, _, inode in sockets}) if sockets else {}
    return [_listener(address, uid, holders.get(inode)) for address, uid, inode in sockets]


def _listening(table: Path, port: int) -> list[tuple[IPv4Address | IPv6Address, int, str]]:
    """Address, user id and inode of the sockets in ``table`` that listen on ``port``."""
    found = []
    with contextlib.suppress(OSError):
        for line in table.read_text().splitlines()[1:]:
            columns = line.split()
            address, _, port_digits = columns[1].partition(":")
            if columns[3] == _LISTENING and int(port_digits, 16) == port:
                found.append((_address(address), int(columns[7]), columns[9]))
    return found


def _address(digits: str) -> IPv4Address | IPv6Address:
    """Parse an address that Linux writes as 32-bit words in the machine's byte order."""
    words = [digits[at : at + 8] for at in range(0, len(digits), 8)]
    packed = b"".join(bytes.fromhex(word)[::-1] for word in words)
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def _holders(inodes: set[str]) -> dict[str, int]:
    """The process of each socket; the first one if a socket is shared."""
    holders: dict[str, int] = {}
    for process in sorted(_PROC.glob("[0-9]*"), key=lambda path: int(path.name)):
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                match = _SOCKET.fullmatch(str(descriptor.readlink()))
                if match and match[1] in inodes:
                    holders.setdefault(match[1], int(process.name))
    return holders


def _listener(address: IPv4Address | IPv6Address, uid: int, pid: int | None) -> Listener:
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)  # of a container, perhaps
    return Listener(address, user, pid, _program(pid) if pid else "")


def _program(pid: int) -> str:
    """The command line without values of options, which could be secrets."""
    with contextlib.suppress(OSError):
        words = (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
        shown = " ".join(word.partition("=")[0] for word in words if word)
        return shown if len(shown) <= _MOST_SHOWN else shown[: _MOST_SHOWN - 3] + "..."
    return "?"
