"""Bridges through the proxy, both of whose ends the test holds in its hands.

Knows the handshakes and the headers of data frames. Knows nothing of the proxy.
"""

from __future__ import annotations

import base64
import hashlib
import ssl
from dataclasses import dataclass

from tests.integration.proxy import Proxy
from tests.wsframes import BINARY

from .streams import Notebook, Stream, browse

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: With a mask of zeros a payload looks the same masked.
NO_MASK = bytes(4)

HANDSHAKE = b"""\
GET %b HTTP/1.1\r
Host: localhost:%d\r
Connection: Upgrade\r
Upgrade: websocket\r
Sec-WebSocket-Version: 13\r
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r
\r
"""
ANSWER = b"""\
HTTP/1.1 101 Switching Protocols\r
Connection: Upgrade\r
Upgrade: websocket\r
Sec-WebSocket-Accept: %b\r
\r
"""


@dataclass
class Bridge:
    """The two ends of one."""

    browser: Stream
    upstream: Stream

    def sides(self, *, down: bool) -> tuple[Stream, Stream, bytes | None]:
        """Who sends, who receives, and the mask, for messages down to the browser or up."""
        if down:
            return self.upstream, self.browser, None
        return self.browser, self.upstream, NO_MASK

    def close(self) -> None:
        """Hang up at both ends."""
        self.browser.close()
        self.upstream.close()


def open_bridge(
    front: Proxy, tls: ssl.SSLContext, notebook: Notebook, *, receive_buffer: int = 0
) -> Bridge:
    """Do both handshakes; *receive_buffer* bounds what the kernel takes for the browser."""
    browser = browse(front.port, tls, receive_buffer=receive_buffer)
    browser.say(HANDSHAKE % (notebook.path, front.port))
    upstream = notebook.take()
    upstream.say(ANSWER % accept_for(upstream.hear_head()))
    head = browser.hear_head()
    assert head.startswith(b"HTTP/1.1 101 "), head
    return Bridge(browser, upstream)


def accept_for(head: bytes) -> bytes:
    """What answers the key in a handshake (RFC 6455 section 4.2.2)."""
    lines = dict(line.split(b": ", 1) for line in head.splitlines()[1:] if line)
    (key,) = [value for name, value in lines.items() if name.lower() == b"sec-websocket-key"]
    return base64.b64encode(hashlib.sha1(key + _GUID).digest())


def header(size: int, mask: bytes | None) -> bytes:
    """The header of one binary message of *size* bytes, however many."""
    masked = 0 if mask is None else 0x80
    return bytes([0x80 | BINARY, masked | 127]) + size.to_bytes(8, "big") + (mask or b"")
