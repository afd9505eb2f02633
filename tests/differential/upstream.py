"""An upstream that notes every byte it gets; knows where a request ends, not what it asks."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time

from tests.http1 import grammar

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
_CODING = re.compile(rb"(?i)^transfer-encoding:[ \t]*chunked[ \t]*\r?$", re.MULTILINE)
_LENGTH = re.compile(rb"(?i)^content-length:[ \t]*([0-9]+)[ \t]*\r?$", re.MULTILINE)

#: Seconds that an unfinished request gets, and that a finished one is watched for more bytes.
_UNFINISHED = 1.0
_AFTERWARDS = 0.3


def first_request(stream: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Head, body, and what follows the first request of a stream; None if it is not whole."""
    head, end, rest = stream.partition(b"\r\n\r\n")
    if not end:
        return None
    if _CODING.search(head):
        decoded = grammar.chunked_body(rest)
        return decoded and (head, *decoded)
    length = _LENGTH.search(head)
    size = int(length[1]) if length else 0
    return (head, rest[:size], rest[size:]) if len(rest) >= size else None


class Upstream:
    """A listener on *port* of 127.0.0.1 that answers the first request of each connection."""

    def __init__(self, port: int) -> None:
        """Listen. The connections are served by threads, until :meth:`close`."""
        self.port = port
        self._streams: list[bytes] = []
        self._open = 0
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def take(self) -> list[bytes]:
        """What came on each connection since the last call, once all of them have ended."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self._open, 10)
            streams, self._streams = self._streams, []
        return [stream for stream in streams if stream]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                with self._changed:
                    self._open += 1
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        stream = b""
        try:
            with sock:
                stream = _read(sock, stream, _UNFINISHED, until_request=True)
                if first_request(stream):
                    sock.sendall(_ANSWER)
                    sock.shutdown(socket.SHUT_WR)
                    stream = _read(sock, stream, _AFTERWARDS, until_request=False)
        except OSError:
            pass
        finally:
            with self._changed:
                self._streams.append(stream)
                self._open -= 1
                self._changed.notify_all()


def _read(sock: socket.socket, stream: bytes, seconds: float, *, until_request: bool) -> bytes:
    """Add to *stream* what comes, until its first request is whole, the end, or time is up."""
    deadline = time.monotonic() + seconds
    while not (until_request and first_request(stream)):
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = sock.recv(65536)
        except TimeoutError:
            break
        except ConnectionError:
            break
        if not data:
            break
        stream += data
    return stream
