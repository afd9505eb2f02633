"""An upstream that is told outcomes, and bridges that say what a test has them say."""

from __future__ import annotations

from dataclasses import dataclass

from ipyproxy.upstream.states import Outcome
from ipyproxy.upstream.upstream import NO_TRAFFIC, Traffic, Upstream
from tests.upstreams import notebook

ANSWERED, REFUSED, MISSED = Outcome.ANSWERED, Outcome.REFUSED, Outcome.MISSED

NOW = 1000.0


@dataclass(eq=False)
class Bridge:
    """A bridge that is told what to tell."""

    opened: float = NOW
    last_activity: float = NOW
    traffic: Traffic = NO_TRAFFIC

    def lose_route(self) -> None:
        """It goes on."""


def told(
    *outcomes: Outcome,
    upstream: Upstream | None = None,
    at: float = NOW,
    fall: int = 3,
    rise: int = 1,
) -> Upstream:
    """An upstream of which these outcomes were seen, all at one moment."""
    upstream = upstream or notebook(10000)
    for outcome in outcomes:
        upstream.observe(outcome, at, fall=fall, rise=rise)
    return upstream
