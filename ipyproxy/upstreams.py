"""The notebook servers that are known: one record each, the place where the other rooms meet.

Knows ports, what is open towards them, and what was counted. Knows nothing of sockets.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Upstream:
    """One notebook server.

    ``exchanges`` and ``bridges`` are open now; the rest only grows. ``last_activity`` is when a
    request was last sent to it, in seconds of the reactor's clock.
    """

    port: int
    exchanges: int = 0
    bridges: int = 0
    requests: int = 0
    errors: int = 0
    last_activity: float = 0.0

    @property
    def open_work(self) -> int:
        """Exchanges and bridges that are open."""
        return self.exchanges + self.bridges


@dataclass(slots=True)
class UpstreamTable:
    """All upstreams that were ever asked for; bounded by the number of ports."""

    _upstreams: dict[int, Upstream] = field(default_factory=dict)

    def get(self, port: int) -> Upstream:
        """The record of ``port``, made at its first use."""
        upstream = self._upstreams.get(port)
        if upstream is None:
            upstream = self._upstreams[port] = Upstream(port)
        return upstream

    def all(self) -> list[Upstream]:
        """All records, by port."""
        return sorted(self._upstreams.values(), key=lambda upstream: upstream.port)
