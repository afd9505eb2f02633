"""What the process is told from outside: signals, each a call in the reactor's turn.

Knows how Python and Twisted share signals. Knows nothing of what a signal means here.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ipyproxy.threads import MainThread


class Starting(MainThread, Protocol):
    """The reactor, before it runs."""

    def callWhenRunning(self, call: Callable[..., object], /, *args: Any) -> object:
        """Call once it runs; at once if it does."""


def on_signals(reactor: Starting, calls: Mapping[signal.Signals, Callable[[], object]]) -> None:
    """Let each signal of ``calls`` make its call, from the moment that the reactor runs.

    Not earlier, because the reactor takes SIGTERM for itself when it starts, and remembers that it
    was stopped by a signal: twistd would then end by that signal although all went well.
    """

    def install() -> None:
        for number, call in calls.items():
            signal.signal(number, lambda *_, call=call: reactor.callFromThread(call))

    reactor.callWhenRunning(install)


def on_signal_too(reactor: Starting, number: signal.Signals, call: Callable[[], object]) -> None:
    """Let a signal make a call beside what it does already, as twistd's own log is rotated."""

    def install() -> None:
        before = signal.getsignal(number)

        def both(*facts: Any) -> None:
            if callable(before):
                before(*facts)
            reactor.callFromThread(call)

        signal.signal(number, both)

    reactor.callWhenRunning(install)
