"""Where a connection to an upstream leads, and on which terms it is made.

An address is a small value that is cheap to hash and to compare. Knows nothing of sockets: dialling
is in ``sockets.py`` and ``tlsdial.py``.
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
    """The name of a host, which is looked up for each connection, and a port."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"


Literal = TCPAddress | UNIXPath
"""What can be dialled as it stands."""

Address = Literal | NamedAddress


def loopback(port: int) -> TCPAddress:
    """The address of ``port`` on this machine."""
    return TCPAddress(LOOPBACK, port)


def is_loopback(address: Address) -> bool:
    """Whether what listens at ``address`` runs on this machine and has a TCP port."""
    return isinstance(address, TCPAddress) and ip_address(address.host).is_loopback


class ClientTLS(Protocol):
    """The terms on which the proxy speaks TLS: whom to expect at the other end.

    Terms that are equal may stand for each other: what was found out on one holds on the other.
    """

    def connection(self, sock: Any) -> Any:
        """The client's end of a new connection (``OpenSSL.SSL.Connection``) on a socket."""

    def fault(self, connection: Any) -> str | None:
        """Why a peer whose certificate holds is still not the one who is meant; None if it is."""
