"""The names and addresses of this host, as far as they are known without a name server.

Knows Linux's interfaces and ``/etc/hosts``. No name server is asked, because that can take long.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Final

_HOSTS: Final = Path("/etc/hosts")
_INET6: Final = Path("/proc/net/if_inet6")
_SIOCGIFADDR: Final = 0x8915


def own_names() -> set[str]:
    """The host's name, its full name if ``/etc/hosts`` has it, and its addresses.

    Loopback and link-local addresses are left out: they are no use to other hosts.
    """
    name = socket.gethostname()
    return {name, *_full_names(name), *_addresses()}


def _full_names(name: str) -> Iterator[str]:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        for line in _HOSTS.read_text().splitlines():
            words = line.partition("#")[0].split()[1:]
            if name in words:
                yield from (word for word in words if "." in word)


def _addresses() -> Iterator[str]:
    for text in (*_ipv4(), *_ipv6()):
        address = ip_address(text)
        if not (address.is_loopback or address.is_link_local):
            yield str(address)


def _ipv4() -> Iterator[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, interface in socket.if_nameindex():
            request = struct.pack("256s", interface.encode())
            with contextlib.suppress(OSError):  # it has none
                found = fcntl.ioctl(asking.fileno(), _SIOCGIFADDR, request)
                yield socket.inet_ntoa(found[20:24])


def _ipv6() -> Iterator[str]:
    with contextlib.suppress(OSError):
        for line in _INET6.read_text().splitlines():
            yield socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line.split()[0]))
