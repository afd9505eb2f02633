"""A notebook server that starts at once, run as ``python program.py PORT MANNER`` to be killed.

``http`` answers every request with its process id, and opens a WebSocket for whoever asks for one;
``retiring`` does the same, and listens no more once it has opened one; ``mute`` takes connections
and says nothing; ``ssh`` speaks another protocol.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import socket
import sys
import threading
from collections.abc import Callable


def answer(sock: socket.socket, opened: Callable[[], None]) -> None:
    """Serve one connection until its end; *opened* is called when it is a WebSocket."""
    heard = b""
    with contextlib.suppress(OSError):
        while data := sock.recv(65536):
            heard += data
            while b"\r\n\r\n" in heard:
                head, _, heard = heard.partition(b"\r\n\r\n")
                sock.sendall(response(head))
                if b"upgrade" in head.lower():
                    opened()
            if heard.startswith(b"\x88"):
                # Closed with 1000, whatever the other side says.
                sock.sendall(b"\x88\x02\x03\xe8")
                break
    sock.close()


def response(head: bytes) -> bytes:
    """What is said to a request's head."""
    fields = dict(line.lower().partition(b": ")[::2] for line in head.split(b"\r\n"))
    if b"upgrade" not in fields:
        body = b"%d" % os.getpid()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    # Keys differ in case, so this one is taken from the head as it came.
    (line,) = (line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-k"))
    guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(line.partition(b": ")[2] + guid).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
    )


def greet(sock: socket.socket, _: object) -> None:
    """Speak first, as SSH does."""
    with contextlib.suppress(OSError):
        sock.sendall(b"SSH-2.0-none\r\n")
        while sock.recv(65536):
            pass
    sock.close()


def main(port: int, manner: str) -> None:
    """Listen on *port*, say so on standard output, and serve."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(128)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    taken = []

    def opened() -> None:
        if manner == "retiring":
            listening.shutdown(socket.SHUT_RDWR)

    with contextlib.suppress(OSError):
        while True:
            sock, _ = listening.accept()
            if manner == "mute":
                taken.append(sock)
            else:
                serve = greet if manner == "ssh" else answer
                threading.Thread(target=serve, args=(sock, opened), daemon=True).start()
    listening.close()
    threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
