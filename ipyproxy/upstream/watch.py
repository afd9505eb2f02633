"""The watch over one upstream: when to probe it, and what to do with late probes.

Knows time, and the order of probes. Knows nothing of how an upstream is probed, or of what follows
from its state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from ipyproxy.clock import Call
from ipyproxy.config import Health
from ipyproxy.upstream.probes import Probe, Told
from ipyproxy.upstream.states import Outcome, State
from ipyproxy.upstream.upstream import Upstream

FIRST_BACKOFF: Final = 1.0
"""Longest first wait, in seconds, before a port that is down is probed again; it doubles each
time."""
HASTE_GAP: Final = 1.0
"""Least seconds between an attempt to reach a port that is down and a probe that a client waits
for."""
JITTER: Final = 0.2
"""Jitter: the part of an interval by which a probe may be earlier or later."""
_MOST_DOUBLINGS: Final = 16


class Checker(Protocol):
    """What a watch needs of :class:`ipyproxy.upstream.health.HealthChecker`."""

    config: Health
    draw: Callable[[], float]
    probes: Counter[Outcome | None]

    def now(self) -> float:
        """Seconds of the reactor's clock."""

    def call_later(self, delay: float, call: Callable[[], None], /) -> Call:
        """Call ``call`` after ``delay`` seconds."""

    def probe(self, upstream: Upstream, told: Told, late: Callable[[], None], /) -> Probe:
        """Start a probe of the configured kind."""

    def observe(self, upstream: Upstream, outcome: Outcome, /, *, rise: int) -> None:
        """Count the outcome of a probe."""

    def is_wanted(self, upstream: Upstream, /) -> bool:
        """Whether to go on probing it."""

    def forget(self, upstream: Upstream, /) -> None:
        """Stop probing an upstream that nobody has asked for in a while."""


class Watch:
    """The probes of one upstream: a timer or a probe is running, and both if the probe is late.

    While a probe is late no other is made, so that a server which accepts nothing for minutes has
    one probe in its backlog and not one for each interval.
    """

    def __init__(self, checker: Checker, upstream: Upstream) -> None:
        self._checker = checker
        self._upstream = upstream
        self._failures = 0
        self._timer: Call | None = None
        self._probe: Probe | None = None
        self._heard = 0
        self._schedule()

    def begin_anew(self) -> None:
        """Plan the next probe anew, because the state has changed or a client has come back."""
        self._failures = 0
        if self._probe is None or self._timer is not None:
            self._schedule()

    def hasten(self) -> None:
        """Probe as soon as :data:`HASTE_GAP` allows."""
        if self._probe is not None or self._timer is None:
            return
        now = self._checker.now()
        at = max(now, self._upstream.tried_at + HASTE_GAP)
        if at < self._timer.getTime():
            self._wait(at - now)

    def stop(self) -> None:
        """Stop probing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None

    def _schedule(self) -> None:
        config, draw = self._checker.config, self._checker.draw()
        if self._upstream.is_down:
            # Full jitter, so that ports that went down together are not probed together.
            doublings = min(self._failures, _MOST_DOUBLINGS)
            self._wait(draw * min(config.backoff_max, FIRST_BACKOFF * 2**doublings))
        elif self._upstream.state is State.UNKNOWN:
            self._wait(draw * self._interval())
        else:
            self._wait(self._interval() * (1 - JITTER + 2 * JITTER * draw))

    def _interval(self) -> float:
        config = self._checker.config
        active = self._upstream.is_active(self._checker.now())
        return config.interval if active else config.idle_interval

    def _wait(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._checker.call_later(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        upstream, now = self._upstream, self._checker.now()
        if not self._checker.is_wanted(upstream):
            self._checker.forget(upstream)
            return
        if upstream.state is State.UP:
            rest = upstream.answered_at + self._interval() - now
            if rest > 0:
                # It has just answered a request, which says as much as a probe.
                self._wait(rest)
                return
            if self._probe is not None:
                # It answers others, so this probe waits in vain.
                self._probe.cancel()
                self._probe = None
        if self._probe is None:
            upstream.tried_at = now
            self._heard = upstream.traffic.bytes_down
            self._probe = self._checker.probe(upstream, self._told, self._is_late)
        else:
            self._judge(Outcome.SILENT)
            if self._timer is None:
                self._schedule()

    def _is_late(self) -> None:
        self._checker.probes[Outcome.SILENT] += 1
        self._judge(Outcome.SILENT)
        if self._timer is None:
            self._schedule()

    def _told(self, outcome: Outcome | None) -> None:
        was_late, self._probe = self._timer is not None, None
        if not was_late or outcome is not Outcome.SILENT:
            self._checker.probes[outcome] += 1
        self._judge(outcome)
        if self._timer is None:
            self._schedule()
        if was_late and outcome is not Outcome.ANSWERED:
            # Something has changed: it was killed, for example, or goes on.
            self.hasten()

    def _judge(self, outcome: Outcome | None) -> None:
        if outcome is Outcome.SILENT and self._has_spoken():
            outcome = Outcome.ANSWERED
        self._failures = 0 if outcome is Outcome.ANSWERED else self._failures + 1
        if outcome is not None:
            self._checker.observe(self._upstream, outcome, rise=self._checker.config.rise)

    def _has_spoken(self) -> bool:
        """Whether bridges or requests have got bytes from it since the last check.

        Then it is slow, not busy. The answer to an http probe counts by itself, though.
        """
        upstream = self._upstream
        heard, self._heard = self._heard, upstream.traffic.bytes_down
        return self._checker.config.mode == "tcp" and (
            self._heard != heard or upstream.answered_at > upstream.tried_at
        )
