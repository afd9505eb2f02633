"""What a route is: which requests take it, its destination, and its settings.

Values only. Sources of routes (the notebooks' ports, the configuration) make them; the table finds
them. Knows nothing of connections, resources or files.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import PurePath
from typing import NamedTuple

from ipyproxy.http.rewriting import Manners, Redirects
from ipyproxy.net.address import Address


class Server(NamedTuple):
    """One of an application's servers.

    :ivar name: its name for people, as in the configuration.
    :ivar tls_name: the name that its certificate must contain; empty: no TLS.
    """

    name: str
    address: Address
    tls_name: str = ""


@dataclass(frozen=True, slots=True)
class Application:
    """A destination: servers, any of which may answer.

    :ivar sendfile: directories whose files the application may have sent by naming them.
    :ivar below: a path that is put before that of each request, without a slash at its end.
    """

    servers: tuple[Server, ...]
    sendfile: tuple[PurePath, ...] = ()
    below: bytes = b""


@dataclass(frozen=True, slots=True)
class StaticFiles:
    """A destination: a directory with files, or one file.

    :ivar max_age: seconds for which browsers may use a file without asking again; None: they
        choose.
    :ivar immutable: patterns of paths of files that never change under their names.
    """

    directory: PurePath
    max_age: int | None = None
    immutable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Redirect:
    """A destination: a redirect to another address, with the request's path and query.

    :ivar to: the part before the path, such as ``https://example.org``.
    """

    to: str
    status: int = 308


class Notebooks(NamedTuple):
    """A destination: the notebooks of this host, each below its port."""


class InteractiveTools(NamedTuple):
    """A destination: the interactive tools of a Galaxy, each at its own address below."""


Destination = Application | StaticFiles | Redirect | Notebooks | InteractiveTools


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One route.

    :ivar host: the host of the requests; ``*.`` stands for one label; empty: any host.
    :ivar path: the prefix of their paths, without a slash at the end unless it is ``/``.
    :ivar strip: whether the prefix is removed from requests.
    :ivar timeout: seconds to wait for an answer to begin; None: as for notebooks.
    :ivar allow: the networks of allowed clients; empty: all clients.
    :ivar lines: additional field lines of every answer.
    :ivar sent: additional field lines of every request, which clients cannot set themselves.
        ``{user}`` in a line stands for the user's name; without a user that line is left out.
    :ivar tells: whether the application gets X-Forwarded-*.
    :ivar redirects: how Location is rewritten if it names the application itself; None: it stays.
    :ivar manners: what the application learns of the public address.
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
        """Host and path for people, such as ``galaxy.example.org/static``."""
        return self.host + self.path

    @property
    def prefix(self) -> bytes:
        """The path as a prefix of the paths below it: empty for ``/``."""
        return self.path.rstrip("/").encode("utf-8", "surrogateescape")

    def leads_as(self, other: Route) -> bool:
        """Whether requests are treated the same on this route as on ``other``."""
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)
