"""A notebook that can be killed, stopped and started again, and a browser that sees what follows.

Knows processes and what a browser asks. Knows nothing of how the proxy finds out.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.integration.jupyter import notebook_port

from .streams import Stream, browse, request

#: Key of RFC 6455 section 1.3.
_HANDSHAKE = (
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


class Mortal:
    """A port, and the process that listens there while it lives."""

    def __init__(self) -> None:
        self.port = notebook_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    def live(self, manner: str = "http") -> None:
        """Start, and wait until it listens."""
        program = Path(__file__).with_name("program.py")
        # Nothing of the environment is wanted, and it starts in a third of the time.
        command = [sys.executable, "-I", "-S", str(program), str(self.port), manner]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        with self._process.stdout as said:
            assert said.readline() == b"listening\n"

    def die(self) -> None:
        """End without a word to anybody, as by ``kill -9``."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Do nothing any more, as by ``kill -STOP``."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Do what is to be done."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.die()


class Visitor:
    """A browser on one port's pages."""

    def __init__(self, proxy_port: int, tls: ssl.SSLContext, port: int) -> None:
        self._proxy_port = proxy_port
        self._tls = tls
        self._port = port
        self._stream: Stream | None = None

    def turn_to(self, port: int) -> None:
        """Go on with another notebook."""
        self._port = port

    def get(self) -> tuple[int, bytes, float]:
        """Ask for the notebook's page: status, body and how many seconds it took."""
        return self._ask(b"GET /ipython/%d/" % self._port)

    def status(self) -> int:
        """The same, but only the status."""
        return self.get()[0]

    def state(self) -> str:
        """What the page that waits is told."""
        _, body, _ = self._ask(b"GET /_ipyproxy/state/%d" % self._port)
        return str(json.loads(body)["state"])

    def open_websocket(self) -> Stream:
        """An open bridge, on a connection of its own."""
        stream = browse(self._proxy_port, self._tls)
        stream.say(request(b"GET /ipython/%d/ws" % self._port, *_HANDSHAKE))
        assert stream.hear_status() == 101
        return stream

    def websocket_status(self) -> int:
        """How a handshake is answered, on a connection of its own."""
        with browse(self._proxy_port, self._tls) as stream:
            stream.say(request(b"GET /ipython/%d/ws" % self._port, *_HANDSHAKE))
            return stream.hear_status()

    def _ask(self, start: bytes) -> tuple[int, bytes, float]:
        if self._stream is None:
            self._stream = browse(self._proxy_port, self._tls)
        began = time.monotonic()
        self._stream.say(request(start, b"Accept: application/json"))
        head = self._stream.hear_head()
        (length,) = (
            int(line.partition(b":")[2])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        )
        body = self._stream.hear(length)
        return int(head.split(b" ")[1]), body, time.monotonic() - began

    def close(self) -> None:
        """Leave."""
        if self._stream is not None:
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def seconds_until(
    done: Callable[[], bool], *, at_most: float, since: float | None = None, every: float = 0.05
) -> float:
    """Look at an even pace until it is *done*; seconds *since* then, which has to be in time."""
    since = time.monotonic() if since is None else since
    while not done():
        assert time.monotonic() - since < at_most, f"not within {at_most:g} s"
        time.sleep(every)
    return time.monotonic() - since
