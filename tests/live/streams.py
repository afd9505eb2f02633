"""Both ends of a conversation through the proxy: browsers over TLS, and notebooks on raw sockets.

Knows sockets, and HTTP as far as a head ends in an empty line. Knows nothing of the proxy.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Self

from tests.integration.jupyter import notebook_port
from tests.integration.processes import reset

#: Seconds that each thing said may take to be heard; a test that waits for so long has failed.
PATIENCE = 20.0

_PIECE = 65536


class Stream:
    """One end of a connection: what is said there and what is heard."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        self.socket = sock
        self._heard = b""

    def say(self, data: bytes) -> None:
        """Send all of *data*."""
        self.socket.sendall(data)

    def hear(self, size: int) -> bytes:
        """The next *size* bytes; fewer only where the stream ends."""
        while len(self._heard) < size and (data := self.socket.recv(_PIECE)):
            self._heard += data
        data, self._heard = self._heard[:size], self._heard[size:]
        return data

    def hear_until(self, mark: bytes) -> bytes:
        """What comes up to and with *mark*; without it only where the stream ends."""
        while mark not in self._heard and (data := self.socket.recv(_PIECE)):
            self._heard += data
        before, found, self._heard = self._heard.partition(mark)
        return before + found

    def hear_head(self) -> bytes:
        """The next head with its empty line."""
        return self.hear_until(b"\r\n\r\n")

    def hear_status(self) -> int:
        """The status of the next head."""
        head = self.hear_head()
        assert head.startswith(b"HTTP/1.1 "), head
        return int(head.split(b" ")[1])

    def hear_rest(self) -> bytes:
        """All that still comes; ConnectionResetError, or an SSL error, if it is not whole."""
        heard, self._heard = [self._heard], b""
        while data := self.socket.recv(_PIECE):
            heard.append(data)
        return b"".join(heard)

    def count(self, size: int) -> int:
        """Take *size* bytes off the stream without keeping them; gives how many came."""
        buffer = memoryview(bytearray(_PIECE))
        count, self._heard = min(size, len(self._heard)), self._heard[size:]
        while count < size and (came := self.socket.recv_into(buffer[: size - count])):
            count += came
        return count

    def pour(self, size: int) -> None:
        """Send *size* bytes of no meaning."""
        piece = bytes(_PIECE)
        for _ in range(size // _PIECE):
            self.socket.sendall(piece)
        self.socket.sendall(piece[: size % _PIECE])

    def is_closed_within(self, seconds: float) -> bool:
        """Whether the other end closes or resets in time; nothing is read to find out."""
        watch = select.poll()
        watch.register(self.socket, select.POLLRDHUP)
        return bool(watch.poll(seconds * 1000))

    def reset(self) -> None:
        """Break the connection off."""
        reset(self.socket)

    def close(self) -> None:
        """Close, as a program does that ends."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def browse(
    port: int, tls: ssl.SSLContext, *, source: str = "127.0.0.1", receive_buffer: int = 0
) -> Stream:
    """Connect to the proxy as a browser at *source* does.

    *receive_buffer* bounds what the kernel takes ahead.
    """
    sock = socket.socket()
    sock.bind((source, 0))
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.connect(("127.0.0.1", port))
    return Stream(tls.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False))


class Notebook:
    """A port that a notebook listens on; the test says what it answers, byte by byte."""

    def __init__(self, *, receive_buffer: int = 0) -> None:
        self.port = notebook_port()
        self.path = b"/ipython/%d/" % self.port
        self._listening = socket.socket()
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listening.settimeout(PATIENCE)
        self._listening.bind(("127.0.0.1", self.port))
        self._listening.listen(1024)

    def take(self) -> Stream:
        """The next connection of the proxy."""
        sock, _ = self._listening.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Stream(sock)

    @contextlib.contextmanager
    def serving(self, answer: Callable[[Stream], None]) -> Iterator[None]:
        """Give every connection to *answer* in a thread of its own, until the test is over."""
        taken: list[Stream] = []
        self._listening.settimeout(None)

        def serve(stream: Stream) -> None:
            with contextlib.suppress(OSError):
                answer(stream)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(self.take())
                    threading.Thread(target=serve, args=(taken[-1],), daemon=True).start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield
        finally:
            self.close()
            accepting.join(PATIENCE)
            for stream in taken:
                stream.close()

    def close(self) -> None:
        """Listen no more; whoever waits in :meth:`take` hears of it."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


def request(start: bytes, *lines: bytes, body: bytes = b"") -> bytes:
    """A request's bytes; *start* is its method and target."""
    return b"\r\n".join([start + b" HTTP/1.1", b"Host: localhost", *lines, b"", body])


def answer(*lines: bytes, status: bytes = b"200 OK", body: bytes = b"") -> bytes:
    """A response's bytes, without framing of its own making."""
    return b"\r\n".join([b"HTTP/1.1 " + status, *lines, b"", body])
