"""Signals: each one makes a call in the reactor's thread.

Knows how Python and Twisted share signals. Knows nothing of what a signal means to the daemon.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ipyproxy.threads import MainThread


class Starting(MainThread, Protocol):
    """The reactor, before it runs."""

    def callWhenRunning(self, call: Callable[..., object], /, *args: Any) -> object:
        """Call ``call`` once the reactor runs; now if it runs already."""


def on_signals(reactor: Starting, calls: Mapping[signal.Signals, Callable[[], object]]) -> None:
    """Install ``calls`` for signals, once the reactor runs.

    Not earlier, because the reactor installs its own handler for SIGTERM when it starts, and
    remembers that a signal stopped it: twistd would then end by that signal, although all went
    well.
    """

    def install() -> None:
        for number, call in calls.items():
            signal.signal(number, lambda *_, call=call: reactor.callFromThread(call))

    reactor.callWhenRunning(install)


def on_signal_too(reactor: Starting, number: signal.Signals, call: Callable[[], object]) -> None:
    """Add a call to a signal's present handler, such as twistd's rotation of its log."""

    def install() -> None:
        before = signal.getsignal(number)

        def both(*facts: Any) -> None:
            if callable(before):
                before(*facts)
            reactor.callFromThread(call)

        signal.signal(number, both)

    reactor.callWhenRunning(install)
