"""The interface of a client's connection, for the code that answers requests.

Declares the methods; :mod:`ipyproxy.server.channel` implements them. It is a class and not a
``Protocol``, because compiled code calls a class's methods ten times faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.net.protocol import StreamProtocol, Tunnel

if TYPE_CHECKING:
    from ipyproxy.server.request import Request


class ClientConnection(StreamProtocol):
    """One connection of a client; at most one request on it is being answered.

    An answer is a head, any number of pieces of its body, and an end. The connection knows how
    these are spelled on the wire, and whether another request may follow.

    :ivar peer: the address at the other end, as text.
    :ivar trusted: whether that is a proxy which is trusted to name the client's address.
    :ivar excess: the problem to refuse requests with, if the connection exceeds a limit.
    :ivar server_name: the host name that the client sent by SNI, in lower case; None if it sent
        none, or if a proxy sent it.
    :ivar persistent: whether another request may follow; an answer can only change it to no.
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
        """Whether the client now sends a body, or reads an answer, below the slowest pace."""
        raise NotImplementedError

    @property
    def tls(self) -> Any:
        """The pyOpenSSL connection; only on connections with TLS."""
        raise NotImplementedError

    # The answer.

    def send_head(self, request: Request, reason: bytes, fields: bytes, length: int | None) -> None:
        """Begin the answer to ``request``; the head is sent with the first bytes of the body.

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
        """Send an informational (1xx) answer, if the client's version of HTTP has such answers."""
        raise NotImplementedError

    def take_back(self) -> bool:
        """Drop the answer if none of it is sent. Returns whether that was possible."""
        raise NotImplementedError

    def cut(self, request: Request) -> None:
        """End an answer that can't be completed, so that the client can tell."""
        raise NotImplementedError

    # What else may happen to a request.

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Let the site say what went wrong."""
        raise NotImplementedError

    def record(self, request: Request) -> None:
        """Write the request into the access log."""
        raise NotImplementedError

    def hand_over(self, tunnel: Tunnel) -> None:
        """Give the connection to ``tunnel``, with the bytes that the client has sent already."""
        raise NotImplementedError
