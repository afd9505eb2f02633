"""Notifies systemd: ready, reloading, stopping, status and watchdog.

Knows the protocol of sd_notify(3), a datagram of lines. Without systemd it does nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Mapping

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from zope.interface import implementer

from ipyproxy.clock import Clock, twisted_clock
from ipyproxy.net.descriptors import Descriptors

# The part of the watchdog's time after which to notify; sd_watchdog_enabled(3) advises a half.
_BEAT = 0.4
_SLACK = 15.0


_FIRST_HANDED_OVER = 3
_INDEX = re.compile(r"systemd:domain=\w+:index=(\d+)")


def handed_over_port(endpoint: object) -> int | None:
    """The port of the socket from systemd that ``endpoint`` names by index.

    None if ``endpoint`` names none, or if the socket has no port.
    """
    match = _INDEX.fullmatch(endpoint) if isinstance(endpoint, str) else None
    if match is None:
        return None
    try:
        with socket.socket(fileno=os.dup(_FIRST_HANDED_OVER + int(match[1]))) as listening:
            return int(listening.getsockname()[1])
    except (OSError, LookupError, TypeError, ValueError):
        return None


class Manager:
    """The service manager, if it wants notifications.

    :param environment: the variables in which systemd names its socket; they are not removed.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._socket: socket.socket | None = None
        self._status = ""
        self._pulse: _Pulse | None = None
        self._patience = _watchdog(environment)
        address = environment.get("NOTIFY_SOCKET", "")
        if address[:1] in ("/", "@"):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            # A manager that does not read must not block us.
            self._socket.setblocking(False)
            self._address = address.replace("@", "\0", 1) if address[0] == "@" else address

    def ready(self) -> None:
        """Notify that the daemon serves: at the start, and after each reload."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """Notify that a reload begins; :meth:`ready` ends it."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self, within: float) -> None:
        """Notify that the daemon stops, which may take ``within`` seconds."""
        self._tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int((within + _SLACK) * 1e6)}")

    def status(self, text: str) -> None:
        """Set the line that ``systemctl status`` shows."""
        if text != self._status:
            self._status = text
            self._tell(f"STATUS={text}")

    def keep_watch(self, reactor: Clock, descriptors: Descriptors) -> None:
        """Notify the watchdog from now on, as long as ``descriptors`` are served in time."""
        if self._patience:
            self._pulse = _Pulse(reactor, descriptors, self._patience * _BEAT, self)

    def beat(self) -> None:
        """Notify the watchdog."""
        self._tell("WATCHDOG=1")

    def leave(self) -> None:
        """Notify nothing more."""
        if self._pulse is not None:
            self._pulse.stop()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, *lines: str) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto("\n".join(lines).encode(), self._address)


def _watchdog(environment: Mapping[str, str]) -> float:
    """The watchdog's time for this process, in seconds; 0: there is no watchdog."""
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", ""))
        wanted_of = int(environment.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return 0.0
    return max(0, microseconds) / 1e6 if wanted_of == os.getpid() else 0.0


@implementer(IReadDescriptor)
class _Pulse:
    """A descriptor that is made readable regularly, and notifies the watchdog when it is served.

    A timer alone would go on even if no connection were served any more.
    """

    def __init__(
        self, reactor: Clock, descriptors: Descriptors, interval: float, manager: Manager
    ) -> None:
        self._descriptors = descriptors
        self._manager = manager
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        descriptors.addReader(self)
        self._looping = LoopingCall(os.eventfd_write, self._descriptor, 1)
        self._looping.clock = twisted_clock(reactor)
        self._looping.start(interval)

    def fileno(self) -> int:
        """The descriptor; -1 once it is closed."""
        return self._descriptor

    def logPrefix(self) -> str:
        """What Twisted puts before a log line."""
        return "ipyproxy"

    def doRead(self) -> None:
        """Notify: since this descriptor is served, all others are too."""
        os.eventfd_read(self._descriptor)
        self._manager.beat()

    def connectionLost(self, reason: Failure) -> None:
        """Called by the reactor when it shuts down."""
        self.stop()

    def stop(self) -> None:
        """Stop."""
        if self._descriptor >= 0:
            self._looping.stop()
            self._descriptors.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1
