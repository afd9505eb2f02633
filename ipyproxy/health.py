"""Finds out which upstreams answer: by probes, and by how requests fare.

Knows when to probe, and what an upstream's state means for a request. Knows nothing of pages, nor
of how requests are carried; what a state does with what happens is a table in ``upstreams.py``.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

from ipyproxy.config import Health
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.probes import HTTPProbe, NoProbe, Probe, TCPProbe, Told
from ipyproxy.securing import ClientTLS
from ipyproxy.upstreams import Outcome, State, Upstream, UpstreamTable

FIRST_BACKOFF = 1.0
"""Seconds that the first wait for a port that is down may last; each may be twice the last."""
HASTE_GAP = 1.0
"""Seconds between a try at a port that is down and the probe that somebody is waiting for."""
JITTER = 0.2
"""The part of an interval by which probes may come earlier or later, so that they spread."""
_MOST_DOUBLINGS = 16

_log = Logger(__name__)

# A module's name is found ten times faster than an enumeration's member (Python 3.11).
_UP = State.UP


class HealthChecker(Service):
    """Keeps the state of every upstream that is in use, or that the configuration lists.

    :param prefix: the public path that notebooks stand below, such as ``/ipython``.
    :param died: called with a port that is dead now; whoever waits for it is to be told.
    :param draw: gives random numbers from 0 up to 1.
    :param may_probe: tells of a port and the time whether it may be touched at all.
    """

    def __init__(
        self,
        reactor: Any,
        config: Health,
        prefix: str,
        table: UpstreamTable,
        died: Callable[[int], None],
        draw: Callable[[], float] = random.random,
        may_probe: Callable[[int, float], bool] = lambda port, now: True,
    ) -> None:
        self.config = config
        self.draw = draw
        self.tls: ClientTLS | None = None
        self._reactor = reactor
        self._prefix = prefix
        self._table = table
        self._died = died
        self._may_probe = may_probe
        self.probes: Counter[Outcome | None] = Counter()
        """What probes came to, ever; None: one that could not be made."""
        self._watches: dict[Upstream, _Watch] = {}

    def configure(self, config: Health, prefix: str) -> None:
        """Go on with another configuration; what is known stays known, unless it is "off" now."""
        self.config = config
        self._prefix = prefix
        if config.mode == "off":
            # Nobody would ever find out that a port is up again.
            for upstream, watch in self._watches.items():
                watch.stop()
                upstream.forget(self.now())
            self._watches.clear()
        self._watch_listed()

    @property
    def watched(self) -> int:
        """How many upstreams are looked after."""
        return len(self._watches)

    def startService(self) -> None:
        """Begin with what the configuration lists; for the rest somebody has to ask."""
        super().startService()
        self._watch_listed()

    def _watch_listed(self) -> None:
        for port in self.config.ports:
            self._watch(self._table.get(port))

    def stopService(self) -> None:
        """Probe no more; requests still tell what they find."""
        super().stopService()
        for watch in self._watches.values():
            watch.stop()
        self._watches.clear()

    # Who carries requests asks, and tells.

    def admit(self, upstream: Upstream, now: float) -> None:
        """Let a request pass that has come ``now``.

        Raises :class:`ProxyError` (``UPSTREAM_STARTING``, ``UPSTREAM_DEAD``) where it would only
        wait in vain.
        """
        if upstream.state is _UP and upstream.is_busy(now):
            # It is looked after closely, and that is to go on.
            upstream.wanted_at = upstream.last_activity = now
            return
        watch = self._want(upstream, now)
        if upstream.admit(now):
            return
        if watch is not None and not upstream.refuses:
            watch.hasten()
        raise ProxyError(_problem(upstream), f"{upstream.state.value}, so not tried")

    def ask(self, upstream: Upstream) -> State:
        """Tell the state to somebody who waits for it to become ``UP``, and look again soon."""
        watch = self._want(upstream, self.now())
        if watch is not None and upstream.state is not State.UP:
            watch.hasten()
        return upstream.state

    def connected(self, upstream: Upstream) -> None:
        """Take note that a request got a new connection."""
        if upstream.is_down:
            # It refuses no more. Whether it answers is for that request to tell, or for a probe.
            upstream.refuses = False
            if watch := self._watches.get(upstream):
                watch.hasten()

    def answered(self, upstream: Upstream) -> None:
        """Take note that a request was answered; by which status says nothing of the port."""
        upstream.answered_at = self._reactor.seconds()
        if upstream.misses or upstream.state is not _UP:
            self.observe(upstream, Outcome.ANSWERED, rise=1)

    def failed(self, upstream: Upstream, error: ProxyError) -> ProxyError:
        """Take note of why a request failed, and give what its client is to be told.

        Only a refused connection says something of the port. Whatever else went wrong may be due
        to that one request.
        """
        if error.problem is not Problem.UPSTREAM_DEAD:
            return error
        upstream.tried_at = self.now()
        self.observe(upstream, Outcome.REFUSED, rise=1)
        return ProxyError(_problem(upstream), error.detail)

    # Watches ask, and tell.

    def now(self) -> float:
        """Seconds of the reactor's clock."""
        return float(self._reactor.seconds())

    def call_later(self, delay: float, call: Callable[[], None]) -> Any:
        """Call later, in seconds."""
        return self._reactor.callLater(delay, call)

    def probe(self, port: int, told: Told) -> Probe:
        """Begin a probe of the configured kind."""
        config = self.config
        if not self._may_probe(port, self.now()):
            return NoProbe(self._reactor, told)
        if config.mode == "tcp":
            return TCPProbe(self._reactor, port, config.timeout, told)
        target = f"{self._prefix}/{port}/{_without_activity(config.path)}".encode("ascii")
        return HTTPProbe(self._reactor, port, target, config.timeout, told, self.tls)

    def observe(self, upstream: Upstream, outcome: Outcome, *, rise: int) -> None:
        """Count what a probe or a request came to."""
        if self.config.mode == "off":
            return
        before = upstream.state
        upstream.observe(outcome, self.now(), fall=self.config.fall, rise=rise)
        if upstream.state is not before:
            self._changed(upstream, before, outcome)

    def _changed(self, upstream: Upstream, before: State, outcome: Outcome) -> None:
        _log.info(
            "port {port}: {before} -> {after} ({outcome})",
            port=upstream.port,
            before=before.value,
            after=upstream.state.value,
            outcome=outcome.name.lower(),
        )
        watch = self._watches.get(upstream)
        overdue = before is State.STARTING and upstream.is_down
        if watch is not None and not overdue:
            watch.begin_anew()
        if upstream.state is State.DEAD:
            self._died(upstream.port)

    def is_wanted(self, upstream: Upstream) -> bool:
        """Whether to go on with it."""
        return upstream.is_in_use(self.now()) or upstream.port in self.config.ports

    def forget(self, upstream: Upstream) -> None:
        """Nobody has wanted it for a while."""
        del self._watches[upstream]
        upstream.forget(self.now())

    def _want(self, upstream: Upstream, now: float) -> _Watch | None:
        rested = not upstream.is_busy(now)
        upstream.wanted_at = now
        watch = self._watch(upstream)
        if watch is not None and rested:
            # The next probe may be far away.
            watch.begin_anew()
        return watch

    def _watch(self, upstream: Upstream) -> _Watch | None:
        watch = self._watches.get(upstream)
        if watch is None and self.running and self.config.mode != "off":
            watch = self._watches[upstream] = _Watch(self, upstream)
        return watch


class _Watch:
    """The probing of one upstream: there is always a timer or a probe, and never both."""

    def __init__(self, checker: HealthChecker, upstream: Upstream) -> None:
        self._checker = checker
        self._upstream = upstream
        self._failures = 0
        self._timer: Any = None
        self._probe: Probe | None = None
        self._heard = 0
        self._schedule()

    def begin_anew(self) -> None:
        """The state has changed or somebody has come back, so the next probe has another time."""
        self._failures = 0
        if self._probe is None:
            self._schedule()

    def hasten(self) -> None:
        """Probe as soon as that is decent."""
        if self._probe is not None:
            return
        now = self._checker.now()
        at = max(now, self._upstream.tried_at + HASTE_GAP)
        if at < self._timer.getTime():
            self._wait(at - now)

    def stop(self) -> None:
        """Probe no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._probe is not None:
            self._probe.cancel()

    def _schedule(self) -> None:
        config, draw = self._checker.config, self._checker.draw()
        if self._upstream.is_down:
            # Full jitter: ports that went down together shall not be probed together.
            doublings = min(self._failures, _MOST_DOUBLINGS)
            self._wait(draw * min(config.backoff_max, FIRST_BACKOFF * 2**doublings))
        elif self._upstream.state is State.UNKNOWN:
            self._wait(draw * self._interval())
        else:
            self._wait(self._interval() * (1 - JITTER + 2 * JITTER * draw))

    def _interval(self) -> float:
        config = self._checker.config
        busy = self._upstream.is_busy(self._checker.now())
        return config.interval if busy else config.idle_interval

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
        rest = upstream.answered_at + self._interval() - now
        if upstream.state is State.UP and rest > 0:
            # It has just answered a request: no probe could say it better.
            self._wait(rest)
            return
        upstream.tried_at = now
        self._heard = upstream.traffic.bytes_down
        self._probe = self._checker.probe(upstream.port, self._told)

    def _told(self, outcome: Outcome | None) -> None:
        self._probe = None
        self._checker.probes[outcome] += 1
        if outcome is Outcome.MISSED and self._has_spoken():
            outcome = Outcome.ANSWERED
        self._failures = 0 if outcome is Outcome.ANSWERED else self._failures + 1
        if outcome is not None:
            self._checker.observe(self._upstream, outcome, rise=self._checker.config.rise)
        if self._timer is None:
            self._schedule()

    def _has_spoken(self) -> bool:
        """Whether bridges or requests have heard from it since the probe began.

        Then it is slow and not gone. How it answers an http probe is its own word, though.
        """
        upstream = self._upstream
        return self._checker.config.mode == "tcp" and (
            upstream.traffic.bytes_down != self._heard or upstream.answered_at > upstream.tried_at
        )


def _problem(upstream: Upstream) -> Problem:
    if upstream.state is State.STARTING:
        return Problem.UPSTREAM_STARTING
    return Problem.UPSTREAM_DEAD


def _without_activity(path: str) -> str:
    """``path`` as Jupyter counts it as nobody's activity, whatever handler is behind it."""
    return f"{path}{'&' if '?' in path else '?'}no_track_activity=1"
