"""Bodies sent to a client: one that is encoded as it arrives, one that is cached encoded.

Knows pieces, their order, and backpressure. Knows nothing of heads, or of why a body is encoded.

Encoding delays nothing: what the notebook has sent is flushed to the client as soon as no more
bytes are there. Large pieces are encoded in a thread, so that others are served meanwhile; only one
of each body at a time, so that their order stays. Until it is done, the notebook has to wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ipyproxy.encoding.codecs import Encoder
from ipyproxy.encoding.store import Entry, Recording
from ipyproxy.encoding.worker import Work
from ipyproxy.net.stream import Stream

SMALL = 8 * 1024
"""Pieces up to this size are encoded without the thread: that takes 0.2 ms at most, and a thread
would cost half as much."""
_PIECE = 64 * 1024
_PIECES_AT_ONCE = 4


class Sink(Protocol):
    """The answer that the body belongs to."""

    transport: Stream
    """The client's stream, for backpressure."""
    consumer: Any
    """Called when the client is gone."""

    def write(self, data: bytes) -> None:
        """Send bytes of the body (not empty)."""

    def finish(self) -> None:
        """End the answer."""


class EncodedBody:
    """A body that is encoded as it arrives from a notebook.

    It is a producer between the two transports: the notebook's is paused while the client's is
    full, and while a piece is being encoded.

    :param source: the notebook's transport.
    :param length: bytes of the whole body, if known.
    :param left: called once encoding has ended, for any reason: with the recording, if the body is
        complete, and the size of the body.
    :param broken: called if the body cannot be encoded.
    """

    def __init__(
        self,
        encoder: Encoder,
        worker: Work,
        sink: Sink,
        source: Any,
        length: int | None,
        recording: Recording | None,
        left: Callable[[Recording | None, int], None],
        broken: Callable[[], None],
    ) -> None:
        # Freed as soon as it is not needed: it takes a megabyte, and this body may live longer.
        self._encoder: Encoder | None = encoder
        self._worker = worker
        self._sink = sink
        self._source: Any = source
        self._length = length
        self._recording = recording
        self._left = left
        self._broken = broken
        self._received = 0
        self._pending: list[bytes] = []
        self._encoding = False
        self._is_full = False
        self._ended = False
        self._over = False
        self._unflushed = False
        self._looks_again_at: int | None = None

    # Called by the exchange.

    def received(self, data: bytes) -> None:
        """The notebook has sent bytes of the body."""
        self._received += len(data)
        self._pending.append(data)
        self._go_on()

    def ended(self) -> None:
        """The notebook has sent the whole body. Other requests may now use its connection."""
        self._source = None
        self._ended = True
        self._sink.consumer = self
        self._go_on()

    def abandon(self) -> None:
        """Stop: nobody wants the body any more, or it stays incomplete."""
        if not self._over:
            self._over = True
            self._source = None
            self._encoder = None
            self._pending.clear()
            if self._recording is not None:
                self._recording.abandon()
            self._left(None, self._received)

    # Called by the server: this is the consumer of the request once the notebook's part is over.

    def body_received(self, data: bytes) -> None:
        """Never called: answers to requests with a body are not encoded."""

    def body_ended(self) -> None:
        """Never called either."""

    def client_lost(self) -> None:
        """The client is gone."""
        self.abandon()

    # Called by the client's transport.

    def pauseProducing(self) -> None:
        """The client does not read fast enough."""
        self._is_full = True
        self._rest()

    def resumeProducing(self) -> None:
        """The client has read everything so far."""
        self._is_full = False
        self._rest()
        self._flush_soon()

    def stopProducing(self) -> None:
        """The client is gone."""
        if self._source is not None:
            self._source.stopProducing()

    def _rest(self) -> None:
        source = self._source
        if source is None:
            return
        if self._is_full or self._encoding:
            source.pauseProducing()
        else:
            source.resumeProducing()

    # Encoding.

    def _go_on(self) -> None:
        """Encode the bytes that have come, here or in the thread."""
        encoder = self._encoder
        if self._encoding or encoder is None:
            return
        data, self._pending = b"".join(self._pending), []
        ended, flush = self._ended, not self._more_is_there()
        self._unflushed = not (ended or flush)
        if len(data) <= SMALL:
            self._encoded(_encode(encoder, data, flush=flush, ended=ended), ended=ended)
            return
        self._encoding = True
        self._rest()
        self._worker.run(
            lambda: _encode(encoder, data, flush=flush, ended=ended),
            lambda encoded: self._done(encoded, ended=ended),
        )

    def _more_is_there(self) -> bool:
        """Whether more of the body, or its end, is there already; if not, flush to the client."""
        if self._source is None or self._received == self._length:
            return True
        return bool(self._source.has_input)

    def _done(self, encoded: bytes | None, *, ended: bool) -> None:
        self._encoding = False
        if self._over:
            return
        if encoded is None:
            self.abandon()
            self._broken()
            return
        self._encoded(encoded, ended=ended)
        if self._over:
            return
        if self._pending or self._ended:
            self._go_on()
        else:
            self._rest()

    def _encoded(self, encoded: bytes, *, ended: bool) -> None:
        if encoded:
            if self._recording is not None:
                self._recording.take(encoded)
            self._sink.write(encoded)
        if ended and not self._over:
            self._over = True
            self._encoder = None
            self._left(self._recording, self._received)
            self._sink.consumer = None
            self._sink.finish()
        else:
            self._flush_soon()

    def _flush_soon(self) -> None:
        """Flush after the next turn, since the input there may have had no byte of the body."""
        if self._unflushed and not self._is_full and self._looks_again_at is None:
            self._looks_again_at = self._received
            self._sink.transport.call_soon(self._look_again)

    def _look_again(self) -> None:
        seen, self._looks_again_at = self._looks_again_at, None
        encoder = self._encoder
        if encoder is None or self._encoding or self._is_full or not self._unflushed:
            return
        if seen == self._received:
            self._unflushed = False
            self._encoded(encoder.flush(), ended=False)
        else:
            self._flush_soon()


def _encode(encoder: Encoder, data: bytes, *, flush: bool, ended: bool) -> bytes:
    encoded = encoder.encode(data) if data else b""
    if ended:
        return encoded + encoder.finish()
    return encoded + encoder.flush() if flush else encoded


class KeptBody:
    """A cached body, sent as fast as the client reads it.

    :param ended: called once the body is not needed any more.
    """

    def __init__(self, entry: Entry, sink: Sink, ended: Callable[[], None]) -> None:
        self._body = entry.body
        self._sink = sink
        self._was_sent = ended
        self._at = 0
        self._is_full = False
        self._waits = False
        self._over = False

    def received(self, data: bytes) -> None:
        """Never called: the notebook's answer is 304."""

    def ended(self) -> None:
        """The notebook's 304 is complete: send the cached body."""
        self._sink.consumer = self
        self._sink.transport.registerProducer(self, True)
        self._send()

    def abandon(self) -> None:
        """Stop: nobody wants the body any more."""
        if not self._over:
            self._over = True
            self._was_sent()

    def body_received(self, data: bytes) -> None:
        """Never called: answers to requests with a body are not cached."""

    def body_ended(self) -> None:
        """Never called either."""

    def client_lost(self) -> None:
        """The client is gone."""
        self._sink.transport.unregisterProducer()
        self.abandon()

    def pauseProducing(self) -> None:
        """The client does not read fast enough."""
        self._is_full = True

    def resumeProducing(self) -> None:
        """The client has read everything so far."""
        self._is_full = False
        self._send()

    def stopProducing(self) -> None:
        """The client is gone; :meth:`client_lost` says so too."""

    def _send(self) -> None:
        """Send some pieces, then let other connections have their turn."""
        if self._waits or self._over:
            return
        for _ in range(_PIECES_AT_ONCE):
            piece = self._body[self._at : self._at + _PIECE]
            if not piece or self._is_full:
                break
            self._at += len(piece)
            self._sink.write(piece)
        if self._at >= len(self._body):
            self._sink.transport.unregisterProducer()
            self._sink.consumer = None
            self.abandon()
            self._sink.finish()
        elif not self._is_full:
            self._waits = True
            self._sink.transport.call_soon(self._send_on)

    def _send_on(self) -> None:
        self._waits = False
        if not self._is_full:
            self._send()
