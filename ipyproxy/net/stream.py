"""The interface of a connection's byte stream: writing, backpressure, closing.

Declares methods only; :class:`~ipyproxy.net.tcp.TCPTransport` implements them. The names are those
of Twisted's interfaces (``ITCPTransport``, ``IConsumer``, ``IPushProducer``) where these have one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Stream(Protocol):
    """One connection, as seen by its protocol and by code that the protocol hands it to."""

    connected: bool
    bytes_sent: int
    """Bytes that the kernel has taken so far."""

    @property
    def bytes_waiting(self) -> int:
        """Bytes that were written and that the kernel has not taken yet."""

    @property
    def is_full(self) -> bool:
        """Whether so many bytes wait to be sent that the producer is paused."""

    @property
    def is_reading(self) -> bool:
        """Whether the socket is being read at present."""

    @property
    def has_input(self) -> bool:
        """Whether bytes, or the end of the stream, wait to be read."""

    @property
    def has_hung_up(self) -> bool:
        """Whether the peer has closed or reset; known even while reading is paused."""

    @property
    def server_name(self) -> bytes | None:
        """The host name that the peer sent by SNI, in lower case; None without."""

    def write(self, data: bytes, /) -> None:
        """Send ``data``."""

    def registerProducer(self, producer: Any, streaming: bool, /) -> None:
        """Pause ``producer`` (an IPushProducer) while too much waits to be sent."""

    def unregisterProducer(self) -> None:
        """Forget the producer."""

    def pauseProducing(self) -> None:
        """Read nothing, so that the peer has to wait."""

    def resumeProducing(self) -> None:
        """Read again."""

    def stopProducing(self) -> None:
        """End the connection."""

    def read_less(self, pieces: int, /) -> None:
        """Read fewer bytes in the next event, because this one held ``pieces`` pieces."""

    def call_soon(self, call: Callable[[], object], /) -> None:
        """Call in a later turn of the event loop, after other connections."""

    def setTcpKeepAlive(self, enabled: bool, /) -> None:
        """Turn TCP keepalive on or off."""

    def loseConnection(self) -> None:
        """Close once everything written has been sent; read nothing more."""

    def loseWriteConnection(self) -> None:
        """Send FIN once everything written has been sent; go on reading."""

    def abortConnection(self) -> None:
        """Close now with a reset, so that the peer knows that the stream is incomplete."""
