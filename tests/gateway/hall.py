"""A WebSocket on its way through the proxy: what each side says, and what the other hears.

The browser and the notebook are played by the test; all between them is real, but for TLS.
"""

from __future__ import annotations

import base64
import hashlib

from tests.front import Browser
from tests.web.gate import Gate
from tests.wires import Wire
from tests.wsframes import TEXT, Frame

PORT = 10001
PATH = b"/ipython/10001/api/kernels/1/channels?session_id=a%2Fb&x=1"
ORIGIN = b"Origin: https://hub.example"
# The example of RFC 6455 section 1.3.
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="

VERSION = b"Sec-WebSocket-Version: 13"
UPGRADE = (b"Connection: Upgrade", b"Upgrade: websocket")
HANDSHAKE = (*UPGRADE, KEY, VERSION)

MASK = b"\x12\x34\x56\x78"
HELLO = Frame(TEXT, b"hello").wire
HELLO_MASKED = Frame(TEXT, b"hello", key=MASK).wire


class Notebook:
    """The notebook's end of one connection."""

    def __init__(self, hall: Hall, wire: Wire) -> None:
        self.hall = hall
        self.wire = wire

    def hear(self) -> bytes:
        self.hall.loop.settle()
        return self.wire.hear()

    def say(self, data: bytes) -> None:
        self.wire.say(data)
        self.hall.loop.settle()

    def hear_request(self) -> Head:
        return Head(self.hear())

    def switch(self, request: Head, *lines: bytes, behind: bytes = b"") -> None:
        """Answer 101, as a server does that understands the request."""
        accept = b"Sec-WebSocket-Accept: " + accept_for(request.one(b"sec-websocket-key"))
        self.answer(b"101 Switching Protocols", *UPGRADE, accept, *lines, behind=behind)

    def answer(self, status: bytes, *lines: bytes, behind: bytes = b"") -> None:
        self.say(b"\r\n".join([b"HTTP/1.1 " + status, *lines, b"", behind]))


class Head:
    """A head as it came over the wire."""

    def __init__(self, data: bytes) -> None:
        block, end, self.behind = data.partition(b"\r\n\r\n")
        assert end, data
        self.first, *self.lines = block.split(b"\r\n")

    def all(self, name: bytes) -> list[bytes]:
        pairs = [line.split(b": ", 1) for line in self.lines]
        return [value for found, value in pairs if found.lower() == name]

    def one(self, name: bytes) -> bytes:
        (value,) = self.all(name)
        return value


def accept_for(key: bytes) -> bytes:
    magic = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return base64.b64encode(hashlib.sha1(key + magic).digest())


class Hall(Gate):
    """The whole way from a browser's connection to a notebook's."""

    def dial_succeeds(self) -> Notebook:
        """The notebook's port takes the connection that was asked for."""
        return Notebook(self, self.notebook())

    def ask(self, *lines: bytes) -> tuple[Browser, Notebook, Head]:
        """A browser's handshake on its way to the notebook."""
        browser = self.connect()
        assert ask(browser, *HANDSHAKE, *lines) == b""
        notebook = self.dial_succeeds()
        return browser, notebook, notebook.hear_request()

    def open(self, *lines: bytes) -> tuple[Browser, Notebook]:
        """An open bridge."""
        browser, notebook, request = self.ask(*lines)
        notebook.switch(request)
        assert browser.hear().startswith(b"HTTP/1.1 101 ")
        return browser, notebook


def ask(browser: Browser, *lines: bytes, behind: bytes = b"", start: bytes = b"GET") -> bytes:
    request_line = start + b" " + PATH + b" HTTP/1.1"
    head = [request_line, b"Host: hub.example", ORIGIN, *lines, b"", behind]
    return browser.say(b"\r\n".join(head))
