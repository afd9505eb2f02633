"""The interface between a server and the site that it serves; limits and counts.

Knows what a server asks of a site. Knows nothing of connections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ipyproxy.errors import ProxyError
from ipyproxy.http1.head import HeadLimits
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
