"""What a route is: which requests take it, where it leads, and on which terms.

Values only. Sources of routes (the ports of notebooks, the configuration) make them; the table
finds them. Knows nothing of connections, resources or files.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import PurePath
from typing import NamedTuple

from ipyproxy.http.rewriting import Manners, Redirects
from ipyproxy.net.address import Address


class Server(NamedTuple):
    """One of the servers that an application runs on.

    :ivar name: as the configuration spells it; what people know it by.
    :ivar tls_name: the name that its certificate has to bear; empty: it is spoken to plainly.
    """

    name: str
    address: Address
    tls_name: str = ""


@dataclass(frozen=True, slots=True)
class Application:
    """A destination: servers of which any may answer.

    :ivar sendfile: directories with files that the application may have sent by naming them.
    :ivar below: a path of the servers that all requests go below, without a slash at its end.
    """

    servers: tuple[Server, ...]
    sendfile: tuple[PurePath, ...] = ()
    below: bytes = b""


@dataclass(frozen=True, slots=True)
class StaticFiles:
    """A destination: a directory with files, or one file.

    :ivar max_age: seconds for which browsers may use one without asking again; None: theirs to say.
    :ivar immutable: patterns of paths below it, of files that never change under their names.
    """

    directory: PurePath
    max_age: int | None = None
    immutable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Redirect:
    """A destination: the client is sent to another address, with its path and query.

    :ivar to: what comes before the path, such as ``https://example.org``.
    """

    to: str
    status: int = 308


class Notebooks(NamedTuple):
    """A destination: the notebooks of this host, one below each port."""


class InteractiveTools(NamedTuple):
    """A destination: the interactive tools of a Galaxy, each with an address of its own below."""


Destination = Application | StaticFiles | Redirect | Notebooks | InteractiveTools


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One route.

    :ivar host: the host that requests are for; ``*.`` stands for one label; empty: any.
    :ivar path: the prefix of their paths, without a slash at the end unless it is all of it.
    :ivar strip: whether the prefix is taken off before a request goes on.
    :ivar timeout: seconds for which an answer may not begin; None: as for notebooks.
    :ivar allow: the networks of clients that may come; none given: all.
    :ivar lines: field lines that every answer bears.
    :ivar sent: field lines that the application gets with every request, and that no client can
        say itself; ``{user}`` in one stands for the name of the user, and without a user that line
        is left out.
    :ivar tells: whether the application gets X-Forwarded-*.
    :ivar redirects: what becomes of the application's own address in Location; None: it stays.
    :ivar manners: what the application hears of the public side.
    """

    destination: Destination
    host: str = ""
    path: str = "/"
    strip: bool = False
    timeout: float | None = None
    allow: tuple[IPv4Network | IPv6Network, ...] = ()
    lines: tuple[bytes, ...] = ()
    sent: tuple[bytes, ...] = ()
    tells: bool = True
    redirects: Redirects | None = None
    manners: Manners = Manners.APPLICATION

    @property
    def name(self) -> str:
        """Host and path as people know it by, such as ``galaxy.example.org/static``."""
        return self.host + self.path

    @property
    def prefix(self) -> bytes:
        """The path as it stands before whatever comes below it: nothing for ``/``."""
        return self.path.rstrip("/").encode("utf-8", "surrogateescape")

    def leads_as(self, other: Route) -> bool:
        """Whether requests fare on this route as on ``other``."""
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)
