"""The end of an upstream that no route leads to any more: whatever is known of it goes.

Knows which components remember something about an upstream. Knows nothing of routes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ipyproxy.encoding.store import Store
from ipyproxy.records.statistics import Statistics
from ipyproxy.upstream.health import HealthChecker
from ipyproxy.upstream.pool import Pool
from ipyproxy.upstream.upstream import Upstream, UpstreamTable


class Memories(NamedTuple):
    """Who remembers something about an upstream."""

    upstreams: UpstreamTable
    pool: Pool
    health: HealthChecker
    statistics: Statistics
    compressed: Store


class Retirement:
    """Retires upstreams.

    WebSockets end at once, without a close frame: a page tries again then, and learns from the
    answer what has become of its server. Requests under way are finished for as long as a drain
    lets them take, since the server may well be there still, and nobody could tell whether a file
    that was being saved is saved; then they are cut off, or a stream of events would go on for
    ever.

    :param seconds: what time it is.
    :ivar patience: seconds that a request may still take.
    """

    def __init__(self, memories: Memories, seconds: Callable[[], float], patience: float) -> None:
        self.patience = patience
        self._memories = memories
        self._seconds = seconds
        self._until: dict[Upstream, float] = {}

    def let_go(self, upstream: Upstream) -> None:
        """One route less leads to a server; retire it if that was the last."""
        if self._memories.upstreams.let_go(upstream):
            self.retire(upstream)

    def retire(self, upstream: Upstream) -> None:
        """End what is open towards a server, and drop all that is known of it."""
        for bridge in list(upstream.bridges):
            bridge.lose_route()
        self._memories.pool.leave(upstream)
        self._memories.health.leave(upstream)
        self._drop(upstream)
        self._until[upstream] = self._seconds() + self.patience
        self._finish(upstream)

    def sweep(self) -> None:
        """Look what is still open; to be called about once a second."""
        now = self._seconds()
        for upstream, until in list(self._until.items()):
            if now >= until:
                self._memories.pool.break_off(upstream)
            self._finish(upstream)

    def _finish(self, upstream: Upstream) -> None:
        if not upstream.open_work:
            del self._until[upstream]
            self._memories.upstreams.forget(upstream)
            # Whatever its last answers have left behind.
            self._drop(upstream)

    def _drop(self, upstream: Upstream) -> None:
        self._memories.statistics.drop(upstream)
        self._memories.compressed.drop(upstream)
