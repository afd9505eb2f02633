"""A reactor over real descriptors that turns only when the test says so; its clock is played."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.task import Clock
from twisted.python.failure import Failure

LOCALHOST = "127.0.0.1"
_PATIENCE = 20.0


class Poll(Clock):
    """Looks at real descriptors and serves those that are ready."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []
        self.writers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        if reader not in self.readers:
            self.readers.append(reader)

    def addWriter(self, writer: Any) -> None:
        if writer not in self.writers:
            self.writers.append(writer)

    def removeReader(self, reader: Any) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def removeWriter(self, writer: Any) -> None:
        if writer in self.writers:
            self.writers.remove(writer)

    def look(self, wait: float = 1.0) -> bool:
        """Serve what is ready, waiting for something to be; whether there was anything."""
        readable, writable, _ = select.select(self.readers, self.writers, [], wait)
        for reader in readable:
            if reader in self.readers:
                self._serve(reader, reader.doRead)
        for writer in writable:
            if writer in self.writers:
                self._serve(writer, writer.doWrite)
        self.advance(0)
        return bool(readable or writable)

    def _serve(self, selectable: Any, call: Callable[[], Any]) -> None:
        why = call()
        if why is not None:
            selectable.connectionLost(Failure(why))

    def until(self, condition: Callable[[], Any], *pumps: Callable[[], object]) -> None:
        """Look, and let the other ends move, until ``condition`` holds."""
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            self.look(0.001)
            for pump in pumps:
                pump()

    def rest(self) -> None:
        """Look until nothing is ready any more."""
        while self.look(0.02):
            pass


@contextmanager
def connected(*, buffers: int = 0) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection: ours, which does not block, and the peer's.

    :param buffers: bytes of the kernel's buffers, about; 0 leaves them as they are.
    """
    with socket.socket() as listener:
        if buffers:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
        listener.bind((LOCALHOST, 0))
        listener.listen(1)
        with socket.socket() as theirs:
            if buffers:
                theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
                theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
            theirs.settimeout(5)
            theirs.connect(listener.getsockname())
            ours, _ = listener.accept()
            with ours:
                ours.setblocking(False)
                yield ours, theirs
