"""What a connection's bytes can be asked: who carries them, who waits for whom, how they end.

Knows nothing but the calls. :class:`~ipyproxy.net.tcp.TCPTransport` answers them; the names are
those of Twisted's interfaces (``ITCPTransport``, ``IConsumer``, ``IPushProducer``) where these have
one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Stream(Protocol):
    """One connection, as the protocol on it sees it, and whoever it lets have it."""

    connected: bool
    bytes_sent: int
    """Bytes that the kernel has taken so far."""

    @property
    def bytes_waiting(self) -> int:
        """Bytes that were written and that the kernel has not taken yet."""

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be sent that a producer is paused."""

    @property
    def is_reading(self) -> bool:
        """Whether bytes of the peer are taken at present."""

    @property
    def has_input(self) -> bool:
        """Whether bytes of the peer, or its end, wait to be read."""

    @property
    def has_hung_up(self) -> bool:
        """Whether the peer has closed or reset; known even where its bytes are not taken."""

    @property
    def server_name(self) -> bytes | None:
        """The host that the peer asked TLS for by name, lower-case; None if for none."""

    def write(self, data: bytes, /) -> None:
        """Send ``data``."""

    def registerProducer(self, producer: Any, streaming: bool, /) -> None:
        """Pause and resume ``producer`` (an IPushProducer) by how much waits to be sent."""

    def unregisterProducer(self) -> None:
        """Forget the producer."""

    def pauseProducing(self) -> None:
        """Read nothing, so that the peer has to wait."""

    def resumeProducing(self) -> None:
        """Read again."""

    def stopProducing(self) -> None:
        """End the connection."""

    def read_less(self, pieces: int, /) -> None:
        """Take fewer bytes in the next event: this one held ``pieces`` pieces for the protocol."""

    def call_soon(self, call: Callable[[], object], /) -> None:
        """Call in a later turn of the event loop, after others have had theirs."""

    def setTcpKeepAlive(self, enabled: bool, /) -> None:
        """Let the kernel probe a silent peer."""

    def loseConnection(self) -> None:
        """Close once everything written has been sent; read nothing more."""

    def loseWriteConnection(self) -> None:
        """Send FIN once everything written has been sent; go on reading."""

    def abortConnection(self) -> None:
        """Close now, with a reset, so that the peer knows the stream is not whole."""
