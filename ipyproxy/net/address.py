"""The address of an upstream, and the terms for TLS to it.

An address is a small value that is cheap to hash and to compare. Knows nothing of sockets;
``sockets.py`` and ``tlsdial.py`` dial.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Final, NamedTuple, Protocol

LOOPBACK: Final = "127.0.0.1"


class TCPAddress(NamedTuple):
    """A literal IP address and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UNIXPath(NamedTuple):
    """The path of a UNIX stream socket."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


class NamedAddress(NamedTuple):
    """A host name, which is looked up for each connection, and a port."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"


Literal = TCPAddress | UNIXPath
"""An address that can be dialled without a look-up."""

Address = Literal | NamedAddress


def loopback(port: int) -> TCPAddress:
    """The address of ``port`` on this machine."""
    return TCPAddress(LOOPBACK, port)


def is_loopback(address: Address) -> bool:
    """Whether ``address`` is a TCP port of this machine."""
    return isinstance(address, TCPAddress) and ip_address(address.host).is_loopback


class ClientTLS(Protocol):
    """The terms for TLS to an upstream: which certificates are accepted.

    Equal terms are interchangeable: what was found out with one holds for the other.
    """

    def connection(self, sock: Any) -> Any:
        """A new ``OpenSSL.SSL.Connection`` on a socket, as the client."""

    def fault(self, connection: Any) -> str | None:
        """Why a peer with a valid certificate is not the expected one; None if it is."""
