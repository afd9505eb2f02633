"""A transport on a real socket with its recorder, and the peer's end."""

from __future__ import annotations

import socket
from collections.abc import Callable

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from ipyproxy.net.descriptors import EpollSet
from ipyproxy.net.tcp import HIGH_WATER, TCPTransport
from tests.polls import Poll

PEER = IPv4Address("TCP", "192.0.2.1", 4711)


class Recorder(Protocol):
    """Notes what its transport tells."""

    def __init__(self) -> None:
        self.data = b""
        self.reason: BaseException | None = None
        self.on_data: Callable[[bytes], None] = lambda data: None

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self.on_data(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        assert self.reason is None, "lost twice"
        self.reason = reason.value


class Producer:
    """Notes what its consumer tells."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def pauseProducing(self) -> None:
        self.events.append("pause")

    def resumeProducing(self) -> None:
        self.events.append("resume")

    def stopProducing(self) -> None:
        self.events.append("stop")


class Line:
    """A transport with its recorder, and the peer's end."""

    def __init__(self, poll: Poll, ours: socket.socket, theirs: socket.socket) -> None:
        self.poll = poll
        self.peer = theirs
        self.recorder = Recorder()
        # On the epoll set, as in the proxy; the set itself is looked at by select.
        self.descriptors = EpollSet(poll, turn=0)
        self.transport = TCPTransport(self.descriptors, ours, self.recorder, PEER)
        self.transport.start()

    def hear(self, count: int) -> bytes:
        """What the peer gets, at least ``count`` bytes."""
        heard = bytearray()
        self.peer.setblocking(False)

        def pump() -> None:
            try:
                heard.extend(self.peer.recv(65536))
            except BlockingIOError:
                pass

        self.poll.until(lambda: len(heard) >= count, pump)
        return bytes(heard)

    def fill(self) -> None:
        """Write until the kernel takes no more, and more waits than the high-water mark."""
        while self.transport.bytes_waiting <= HIGH_WATER:
            self.transport.write(b"x" * 65536)

    def heard_end(self) -> str:
        """How the peer sees the end, behind all data."""
        self.peer.settimeout(5)
        try:
            while self.peer.recv(65536):
                pass
        except ConnectionResetError:
            return "reset"
        return "end"


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()
