"""Retires upstreams that no route leads to any more: drops everything that is known of them.

Knows which components remember something about an upstream. Knows nothing of routes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ipyproxy.encoding.store import Store
from ipyproxy.gateway.preloads import Preloads
from ipyproxy.records.statistics import Statistics
from ipyproxy.upstream.health import HealthChecker
from ipyproxy.upstream.pool import Pool
from ipyproxy.upstream.upstream import Upstream, UpstreamTable


class Memories(NamedTuple):
    """The components that remember something about an upstream."""

    upstreams: UpstreamTable
    pool: Pool
    health: HealthChecker
    statistics: Statistics
    compressed: Store
    preloads: Preloads


class Retirement:
    """Retires upstreams.

    WebSockets end at once, without a close frame: then the page reconnects, and learns from the
    answer that its server is gone. Open requests may go on for as long as in a drain, since the
    server may still be there, and otherwise nobody would know whether a file was saved. Then they
    are aborted, because a stream of events might go on for ever.

    :param seconds: the reactor's clock.
    :ivar patience: seconds that an open request may still take.
    """

    def __init__(self, memories: Memories, seconds: Callable[[], float], patience: float) -> None:
        self.patience = patience
        self._memories = memories
        self._seconds = seconds
        self._until: dict[Upstream, float] = {}

    def let_go(self, upstream: Upstream) -> None:
        """One route fewer leads to a server; retire it if that was the last one."""
        if self._memories.upstreams.let_go(upstream):
            self.retire(upstream)

    def retire(self, upstream: Upstream) -> None:
        """End what is open to a server, and drop everything that is known of it."""
        for bridge in list(upstream.bridges):
            bridge.lose_route()
        self._memories.pool.leave(upstream)
        self._memories.health.leave(upstream)
        self._drop(upstream)
        self._until[upstream] = self._seconds() + self.patience
        self._finish(upstream)

    def sweep(self) -> None:
        """Check what is still open; to be called about once a second."""
        now = self._seconds()
        for upstream, until in list(self._until.items()):
            if now >= until:
                self._memories.pool.break_off(upstream)
            self._finish(upstream)

    def _finish(self, upstream: Upstream) -> None:
        if not upstream.open_work:
            del self._until[upstream]
            self._memories.upstreams.forget(upstream)
            # Its last answers may have left something behind.
            self._drop(upstream)

    def _drop(self, upstream: Upstream) -> None:
        self._memories.statistics.drop(upstream)
        self._memories.compressed.drop(upstream)
        self._memories.preloads.drop(upstream)
