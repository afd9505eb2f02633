"""The bars that the project has set itself beside nginx, and which figures tell whether they hold.

Knows nothing of how a figure came about or is shown.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """One bar.

    :param closed: the figure of a closed loop; ``open``: that of an open one, if there is one.
    :param limit: a ratio to nginx, or where ``absolute`` the figure itself.
    :param more: whether more is better.
    """

    title: str
    closed: str
    limit: float
    open: str = ""
    more: bool = False
    absolute: bool = False

    def holds(self, value: float) -> bool:
        """Tell whether a ratio, or an absolute figure, is on the right side."""
        return value >= self.limit if self.more else value <= self.limit


BARS = (
    Bar("requests/s with changing browser heads", "requests", 0.75, more=True),
    Bar("CPU a request", "requests_cpu", 1.35, "paced_cpu"),
    Bar("messages/s of 1 KiB on 100 WebSockets", "ws1k100_rate", 0.8, more=True),
    Bar("p99 of a message on 100", "ws1k100_p99", 1.15, "paced100_p99"),
    Bar("p99 of a message on 1,000", "ws1k1000_p99", 1.15, "paced1000_p99"),
    Bar("4 MiB messages up", "ws_up", 1.2, more=True),
    Bar("memory at start, MiB", "start_mib", 50, absolute=True),
    Bar("KiB an idle WebSocket", "bridge_kib", 24, absolute=True),
)
