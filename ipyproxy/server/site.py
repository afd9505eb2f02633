"""What a server serves and counts, and within which limits.

Knows what a connection asks of a site. Knows nothing of connections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ipyproxy.http1.head import HeadLimits

if TYPE_CHECKING:
    from ipyproxy.errors import ProxyError
    from ipyproxy.server.request import Request


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """Bounds of one connection: bytes, bytes per second, seconds."""

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

    status_line: bytes
    """Begins every answer; see :data:`ipyproxy.server.request.STATUS_LINE`."""

    def handle(self, request: Request) -> None:
        """Answer ``request``, now or later. Every request gets exactly one answer."""

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Answer a request that could not be read, or that took too long."""


@dataclass(slots=True)
class Handshakes:
    """TLS handshakes of one server: how many were done, and how many connections ended before."""

    done: int = 0
    failed: int = 0
