"""Bodies that are fed to a decoder as a connection feeds them."""

from __future__ import annotations

from ipyproxy.http1.framing import Decoder


def feed(decoder: Decoder, *pieces: bytes) -> tuple[bytes, bytes]:
    """Feed as a connection does; give the whole body and what was left over."""
    body, rest = b"", b""
    for piece in pieces:
        if decoder.done:
            rest += piece
        else:
            payload, rest = decoder.feed(piece)
            body += payload
    return body, rest
