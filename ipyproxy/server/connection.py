"""What others may ask of a client's connection: who answers a request, and who decides about it.

Knows nothing but the calls; :mod:`ipyproxy.server.channel` answers them. A class and no
``Protocol``, because compiled code calls a class's methods ten times faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.net.protocol import StreamProtocol, Tunnel

if TYPE_CHECKING:
    from ipyproxy.server.request import Request


class ClientConnection(StreamProtocol):
    """One connection of a client, with at most one request on it that is being answered.

    An answer is a head, any number of pieces of its body, and an end. How these are spelled on the
    wire is for the connection to know, and so is whether another request may follow.

    :ivar peer: the address at the other end, as text.
    :ivar trusted: whether that is a proxy whose word on the client's address is taken.
    :ivar excess: what a request is refused with, because its connection is one too many.
    :ivar server_name: the host that the client asked TLS for, lower-case; None if for none, or
        through a proxy.
    :ivar persistent: whether another request may follow; an answer can only take that away.
    """

    peer: str
    trusted: bool
    excess: Problem | None
    server_name: bytes | None
    persistent: bool

    def now(self) -> float:
        """Seconds of the reactor's clock."""
        raise NotImplementedError

    @property
    def is_slow(self) -> bool:
        """Whether the client sends a body, or reads an answer, below the slowest pace just now."""
        raise NotImplementedError

    @property
    def tls(self) -> Any:
        """The connection as pyOpenSSL has it; only where there is TLS."""
        raise NotImplementedError

    # The answer.

    def send_head(self, request: Request, reason: bytes, fields: bytes, length: int | None) -> None:
        """Begin the answer to ``request``; its head goes with the first bytes of the body.

        :param fields: field lines without framing and Connection, each with its CRLF.
        :param length: bytes of the body (or what they would be, if none is sent); None: unknown.
        """
        raise NotImplementedError

    def send_body(self, data: bytes) -> None:
        """Send bytes of the body (not empty)."""
        raise NotImplementedError

    def flush(self) -> None:
        """Send the head even though no body has come yet."""
        raise NotImplementedError

    def send_end(self, request: Request) -> None:
        """The answer to ``request`` is whole."""
        raise NotImplementedError

    def send_interim(self, request: Request, status: int, reason: bytes, fields: bytes) -> None:
        """Send an informational answer, if the client's version of HTTP knows any."""
        raise NotImplementedError

    def take_back(self) -> bool:
        """Do as if the answer had not begun; whether that can be: the client has nothing of it."""
        raise NotImplementedError

    def cut(self, request: Request) -> None:
        """The answer to ``request`` can't be completed: let the client see that."""
        raise NotImplementedError

    # What else becomes of a request.

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Let the site say what went wrong."""
        raise NotImplementedError

    def record(self, request: Request) -> None:
        """Write the request into the access log."""
        raise NotImplementedError

    def hand_over(self, tunnel: Tunnel) -> None:
        """Give the connection to ``tunnel``, with what the client has sent ahead."""
        raise NotImplementedError
