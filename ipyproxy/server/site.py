"""The interface between a connection, its server and the site; limits and counts.

Knows what a connection asks of a site. Knows nothing of connections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from twisted.python.failure import Failure

from ipyproxy.clock import Clock
from ipyproxy.http1.head import HeadLimits

if TYPE_CHECKING:
    from ipyproxy.errors import ProxyError
    from ipyproxy.server.channel import HTTPChannel
    from ipyproxy.server.request import Request


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """Limits of one connection: bytes, bytes per second, seconds."""

    head: HeadLimits
    body_bytes: int
    body_rate: int
    buffer_bytes: int
    handshake_timeout: float
    head_timeout: float
    body_timeout: float
    keepalive_timeout: float


class Site(Protocol):
    """What a server serves."""

    common_lines: bytes
    """Field lines that every answer gets, each with its CRLF."""

    def handle(self, request: Request) -> None:
        """Answer ``request``, now or later. Every request gets exactly one answer."""

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Answer a request that could not be read, or that took too long."""


@dataclass(slots=True)
class Handshakes:
    """Counts TLS handshakes of one server: those done, and connections that ended before."""

    done: int = 0
    failed: int = 0


class Server:
    """What a connection needs from the server that it belongs to.

    It is a class, because compiled code calls its methods ten times faster than a ``Protocol``'s.

    :ivar draining: whether connections are closed after their current answer.
    """

    reactor: Clock
    site: Site
    limits: ChannelLimits
    draining: bool
    handshakes: Handshakes

    def admit(self, request: Request) -> None:
        """A request begins. Raises :class:`ProxyError` if there are too many."""
        raise NotImplementedError

    def record(self, request: Request) -> None:
        """A request has been answered, or never will be. Called once for each."""
        raise NotImplementedError

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Let the site say what went wrong."""
        raise NotImplementedError

    def forget(self, channel: HTTPChannel, reason: Failure) -> None:
        """The connection has ended."""
        raise NotImplementedError
