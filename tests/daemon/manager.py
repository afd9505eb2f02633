"""systemd, as far as one service sees of it: sockets handed over, and notifications heard."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .running import LOCALHOST, PATIENCE

# So high that no descriptor of the test's own is in the way when bash moves them to 3, 4, ...
_HIGH = 100

Message = dict[str, str]


class Manager:
    """Holds listening sockets for HTTPS and HTTP, and hears what services say.

    :ivar messages: each with the seconds at which it came.
    """

    def __init__(self, directory: Path) -> None:
        self.sockets = [socket.create_server((LOCALHOST, 0), backlog=1024) for _ in "12"]
        self.https, self.http = (sock.getsockname()[1] for sock in self.sockets)
        self.address = directory / "notify.sock"
        self.messages: list[tuple[float, Message]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.address))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        self._passed = [fcntl.fcntl(sock, fcntl.F_DUPFD, _HIGH) for sock in self.sockets]

    def _listen(self) -> None:
        while data := self._socket.recv(4096):
            lines = (line.partition("=") for line in data.decode().splitlines())
            self.messages.append((time.monotonic(), {key: value for key, _, value in lines}))

    def options(self, **environment: str) -> dict[str, Any]:
        """What starts a :class:`Daemon` the way systemd would."""
        env = {"NOTIFY_SOCKET": str(self.address), **environment}
        domain = "systemd:domain=INET:index="
        return {
            "listen": ["--https", f"{domain}0", "--http", f"{domain}1"],
            "command": self._activated,
            "env": env,
            "pass_fds": self._passed,
        }

    def _activated(self, line: list[str]) -> list[str]:
        moves = " ".join(f"{3 + n}<&{fd} {fd}<&-" for n, fd in enumerate(self._passed))
        script = (
            f"exec {moves}; export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=web:web; "
            'if [ -n "$WATCHDOG_USEC" ]; then export WATCHDOG_PID=$$; fi; exec "$@"'
        )
        return ["/bin/bash", "-c", script, "bash", *line]

    def wait_for(self, wanted: Callable[[Message], object], after: int = 0) -> Message:
        """Wait until a message that is ``wanted`` comes; the first ``after`` ones don't count."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for _, message in self.messages[after:]:
                if wanted(message):
                    return message
            time.sleep(0.02)
        raise TimeoutError(f"no such message among {self.messages[after:]}")

    def beats(self, since: float = 0.0) -> int:
        """How many signs of life have come since then."""
        return sum("WATCHDOG" in message for at, message in self.messages if at >= since)

    def close(self) -> None:
        """Hear nothing more, and close the sockets."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.address))
        self._thread.join()
        for each in (self._socket, *self.sockets):
            each.close()
        for descriptor in self._passed:
            os.close(descriptor)
