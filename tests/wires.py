"""A network in memory: sockets whose other end is the test, and a reactor that never waits.

The transports under test are the real ones, so that what a test sees of buffers, back-pressure
and endings is what the proxy does. Only the kernel and the clock are played.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.python.failure import Failure

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
# States of a connection as TCP_INFO tells them.
_OPEN, _CLOSED, _CLOSE_WAIT = 1, 7, 8
_MOST_TURNS = 100_000

# For whoever asks the kernel whether a wire can be read.
_READY = os.eventfd(1)
_QUIET = os.eventfd(0)


class Wire:
    """One connected socket, as the proxy sees it; the methods in plain words are the peer's.

    :ivar room: how many more bytes the kernel takes; None for any number.
    """

    family = socket.AF_INET

    def __init__(self) -> None:
        self.room: int | None = None
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._peer_ended = False
        self._is_reset = False
        self._fault: int | None = None
        self.is_shut = False
        self.is_closed = False
        self.was_reset = False
        self.options: dict[tuple[int, int], Any] = {}

    # The peer.

    def say(self, data: bytes) -> None:
        """Send to the proxy."""
        assert not self._peer_ended
        self._incoming += data

    def hear(self) -> bytes:
        """All that the proxy has sent since the last call."""
        heard = bytes(self._outgoing)
        self._outgoing.clear()
        return heard

    def hang_up(self) -> None:
        """Send FIN."""
        self._peer_ended = True

    def reset(self) -> None:
        """Send RST."""
        self._peer_ended = True
        self._is_reset = True
        self._fault = errno.ECONNRESET

    @property
    def unread(self) -> int:
        """Bytes that the proxy has not taken yet."""
        return len(self._incoming)

    @property
    def has_ended(self) -> bool:
        """Whether the proxy has ended its stream, so that it is whole."""
        return (self.is_shut or self.is_closed) and not self.was_reset

    # The socket module.

    def recv(self, size: int, flags: int = 0) -> bytes:
        self._check_open()
        if self._incoming:
            data = bytes(self._incoming[:size])
            if not flags & socket.MSG_PEEK:
                del self._incoming[:size]
            return data
        self._raise_fault()
        if self._peer_ended:
            return b""
        raise BlockingIOError

    def send(self, data: Any) -> int:
        self._check_open()
        self._raise_fault()
        if self.is_shut or self._is_reset:
            raise BrokenPipeError(errno.EPIPE, "shut")
        count = len(data) if self.room is None else min(self.room, len(data))
        if not count:
            raise BlockingIOError
        self._outgoing += bytes(data[:count])
        if self.room is not None:
            self.room -= count
        return count

    def shutdown(self, how: int) -> None:
        assert how == socket.SHUT_WR
        self.is_shut = True

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        self.options[level, option] = value

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        if (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO):
            ended = _CLOSED if self._is_reset else _CLOSE_WAIT
            return bytes([ended if self._peer_ended else _OPEN])
        return self.options.get((level, option), 0)

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            # The kernel resets too where something was left unread.
            lingers = self.options.get((socket.SOL_SOCKET, socket.SO_LINGER))
            self.was_reset = lingers == _RESET_ON_CLOSE or bool(self._incoming)

    def fileno(self) -> int:
        if self.is_closed:
            return -1
        return _READY if self.is_readable else _QUIET

    def _check_open(self) -> None:
        if self.is_closed:
            raise OSError(errno.EBADF, "closed")

    def _raise_fault(self) -> None:
        # A socket tells of an error once; from then on it has merely ended.
        fault, self._fault = self._fault, None
        if fault is not None:
            raise OSError(fault, "reset")

    @property
    def is_readable(self) -> bool:
        return bool(self._incoming) or self._peer_ended

    @property
    def is_writable(self) -> bool:
        return self.room is None or self.room > 0 or self._is_reset


class Loop(Clock):
    """A reactor over wires: serves what is ready until all is quiet, and never waits.

    :ivar failures: exceptions that came out of a transport; a test that expects one takes it out.
    """

    def __init__(self) -> None:
        super().__init__()
        self._readers: list[Any] = []
        self._writers: list[Any] = []
        self.failures: list[Exception] = []

    def addReader(self, reader: Any) -> None:
        if reader not in self._readers:
            self._readers.append(reader)

    def addWriter(self, writer: Any) -> None:
        if writer not in self._writers:
            self._writers.append(writer)

    def removeReader(self, reader: Any) -> None:
        if reader in self._readers:
            self._readers.remove(reader)

    def removeWriter(self, writer: Any) -> None:
        if writer in self._writers:
            self._writers.remove(writer)

    def callFromThread(self, call: Callable[..., object], *args: Any) -> None:
        self.callLater(0, call, *args)

    def settle(self) -> None:
        """Turn until nothing is left to do. A descriptor that keeps us busy fails the test."""
        for _ in range(_MOST_TURNS):
            if not self.turn():
                return
        raise AssertionError(f"never at rest: {self._readers} {self._writers}")

    def turn(self) -> bool:
        """Serve whatever is ready once; whether there was anything."""
        due = [call for call in self.calls if call.getTime() <= self.seconds()]
        for call in due:
            # As a reactor does, unlike Clock.advance: what these ask for is for the next turn.
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)
        busy = bool(due)
        for reader in list(self._readers):
            if reader in self._readers and _wire(reader).is_readable:
                busy = True
                self._serve(reader, reader.doRead)
        for writer in list(self._writers):
            if writer in self._writers and _wire(writer).is_writable:
                busy = True
                self._serve(writer, writer.doWrite)
        return busy

    def _serve(self, selectable: Any, call: Callable[[], Any]) -> None:
        try:
            why = call()
        except Exception as caught:
            self.failures.append(caught)
            why = caught
        if why is not None:
            self.removeReader(selectable)
            self.removeWriter(selectable)
            selectable.connectionLost(Failure(why))

    def pass_time(self, seconds: float, *sweeps: Callable[[], None]) -> None:
        """Let time pass second by second, with the sweeps of each."""
        for _ in range(round(seconds)):
            self.advance(1.0)
            for sweep in sweeps:
                sweep()
            self.settle()


def _wire(selectable: Any) -> Any:
    return selectable._socket


class Attempt:
    """Stands in for a dial: the test decides how it goes."""

    def __init__(
        self,
        reactor: Any,
        address: tuple[str, int],
        timeout: float,
        connected: Callable[[Any], None],
        failed: Callable[[OSError], None],
    ) -> None:
        self.address = address
        self.cancelled = False
        self._connected = connected
        self._failed = failed

    def succeed(self) -> Wire:
        """The port takes the connection."""
        assert not self.cancelled
        wire = Wire()
        self._connected(wire)
        return wire

    def fail(self, code: int) -> None:
        """The connection fails with an ``errno``; ``ETIMEDOUT`` is the dial's own deadline."""
        assert not self.cancelled
        self._failed(OSError(code, "refused"))

    def cancel(self) -> None:
        self.cancelled = True


class Dialler:
    """Takes the place of the class of dials: keeps each attempt for the test to answer."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []

    def __call__(self, *args: Any) -> Attempt:
        attempt = Attempt(*args)
        self.attempts.append(attempt)
        return attempt

    def next(self) -> Attempt:
        """The oldest attempt that was not looked at yet."""
        return self.attempts.pop(0)
