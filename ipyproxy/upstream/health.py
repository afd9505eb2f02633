"""Health checks: finds out which upstreams answer, by probes and by the results of requests.

Knows which upstreams are looked after, how one is probed, and what its state means for a request.
Knows nothing of pages, nor of how requests are carried; the states are a table in ``states.py``.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Final

from twisted.application.service import Service
from twisted.logger import Logger

from ipyproxy.clock import Call
from ipyproxy.config import Health
from ipyproxy.errors import HungUpError, Problem, ProxyError
from ipyproxy.net.address import NamedAddress
from ipyproxy.net.descriptors import Poller
from ipyproxy.net.names import Names
from ipyproxy.net.sockets import Dial, Dialling
from ipyproxy.upstream.probes import HOLD, HTTPProbe, NoProbe, Patience, Probe, TCPProbe, Told
from ipyproxy.upstream.states import Outcome, State
from ipyproxy.upstream.upstream import Upstream, UpstreamTable
from ipyproxy.upstream.watch import Watch

_log: Final = Logger(namespace="ipyproxy.health")

# A module's global is found ten times faster than an enumeration's member (Python 3.11).
_UP: Final = State.UP

_WAITED_IN_VAIN: Final = (Problem.UPSTREAM_TIMEOUT, Problem.CONNECT_TIMEOUT)


class HealthChecker(Service):
    """Keeps the state of every upstream that is in use or listed in the configuration.

    :param prefix: the public path above all notebooks, such as ``/ipython``.
    :param draw: returns random numbers from 0 up to 1.
    :param may_probe: called with an upstream and the time; tells whether it may be probed.
    :param dial: begins to connect to an address without TLS.
    :ivar connect_timeout: seconds until a connection must be accepted.
    :ivar names: looks up upstreams with host names; None: there are none.
    """

    def __init__(
        self,
        reactor: Poller,
        config: Health,
        prefix: str,
        table: UpstreamTable,
        draw: Callable[[], float] = random.random,
        may_probe: Callable[[Upstream, float], bool] = lambda upstream, now: True,
        dial: Dialling = Dial,
    ) -> None:
        self.config = config
        self.connect_timeout = 2.0
        self.names: Names | None = None
        self.draw = draw
        self._reactor = reactor
        self._prefix = prefix
        self._table = table
        self._may_probe = may_probe
        self._dial = dial
        self.probes: Counter[Outcome | None] = Counter()
        """Counts the results of all probes; None: the probe could not be made."""
        self._watches: dict[Upstream, Watch] = {}

    def configure(self, config: Health, prefix: str) -> None:
        """Use another configuration. The states are kept, unless the mode is now "off"."""
        self.config = config
        self._prefix = prefix
        if config.mode == "off":
            # Without probes, a dead port would stay dead for ever.
            for upstream, watch in self._watches.items():
                watch.stop()
                upstream.forget(self.now())
            self._watches.clear()
        self._watch_listed()

    def startService(self) -> None:
        """Start to probe the listed ports; others are probed once somebody asks for them."""
        super().startService()
        self._watch_listed()

    def _watch_listed(self) -> None:
        for port in self.config.ports:
            self._watch(self._table.notebook(port))

    def stopService(self) -> None:
        """Stop probing; results of requests still count."""
        super().stopService()
        for watch in self._watches.values():
            watch.stop()
        self._watches.clear()

    # Called by the code that carries requests.

    def admit(self, upstream: Upstream, now: float) -> None:
        """Let a request pass that has come ``now``.

        Raises :class:`ProxyError` (``UPSTREAM_STARTING``, ``UPSTREAM_DEAD``) if it would wait in
        vain.
        """
        if upstream.state is _UP and upstream.is_active(now):
            # It is probed at the shorter interval already.
            upstream.wanted_at = upstream.last_activity = now
            return
        if upstream.is_retired:
            raise ProxyError(Problem.UPSTREAM_DEAD, "no route leads there any more")
        watch = self._want(upstream, now)
        if upstream.admit(now):
            return
        if watch is not None and not upstream.refuses:
            watch.hasten()
        raise ProxyError(_problem(upstream), f"{upstream.state.value}, so not tried")

    def ask(self, upstream: Upstream) -> State:
        """Return the state to a client that waits for ``UP``, and probe again soon."""
        watch = self._want(upstream, self.now())
        if watch is not None and upstream.state is not State.UP:
            watch.hasten()
        return upstream.state

    def connected(self, upstream: Upstream) -> None:
        """A request got a new connection."""
        if upstream.is_down:
            # It refuses connections no more. That request, or a probe, will tell whether it
            # answers.
            upstream.refuses = False
            if watch := self._watches.get(upstream):
                watch.hasten()

    def answered(self, upstream: Upstream) -> None:
        """A request was answered. The status does not matter."""
        upstream.answered_at = self._reactor.seconds()
        upstream.is_known = True
        if upstream.misses or upstream.state is not _UP:
            self.observe(upstream, Outcome.ANSWERED, rise=1)

    def failed(self, upstream: Upstream, error: ProxyError) -> ProxyError:
        """A request failed for this reason. Returns the error to answer its client with.

        A refused connection means that nobody listens. So does a connection that is closed at once,
        if the port has never answered. Any other failure may be due to that one request.
        """
        if error.problem is Problem.UPSTREAM_DEAD:
            outcome = Outcome.REFUSED
        elif isinstance(error, HungUpError) and self._proves_nobody(upstream):
            outcome = Outcome.HUNG_UP
        else:
            return self._told_busy(upstream, error)
        upstream.tried_at = self.now()
        self.observe(upstream, outcome, rise=1)
        if self.config.mode == "off":
            self._table.release(upstream)
        return ProxyError(_problem(upstream), error.detail)

    def _proves_nobody(self, upstream: Upstream) -> bool:
        """Whether a connection closed on a request means that nobody listens."""
        if upstream.has_answered or self.config.mode == "off":
            return False
        if upstream.state is not _UP:
            return True
        # Probes have got an answer: it is a server that closes on requests, or Docker's proxy that
        # was there before its container. The next probe can tell.
        if watch := self._watches.get(upstream):
            watch.hasten()
        return False

    def _told_busy(self, upstream: Upstream, error: ProxyError) -> ProxyError:
        if upstream.state is not State.BUSY or error.problem not in _WAITED_IN_VAIN:
            return error
        return ProxyError(error.problem, error.detail, busy_for=self.now() - upstream.since)

    # Called by the watches.

    def now(self) -> float:
        """Seconds of the reactor's clock."""
        return self._reactor.seconds()

    def call_later(self, delay: float, call: Callable[[], None]) -> Call:
        """Call ``call`` after ``delay`` seconds."""
        return self._reactor.callLater(delay, call)

    def probe(self, upstream: Upstream, told: Told, late: Callable[[], None]) -> Probe:
        """Start a probe of the configured kind."""
        config, address, port = self.config, upstream.address, upstream.port
        if not self._may_probe(upstream, self.now()):
            return NoProbe(self._reactor, told)
        if isinstance(address, NamedAddress):
            known = None if self.names is None else self.names.known(address)
            if known is None:
                return NoProbe(self._reactor, told, None)
            address = known
        if config.mode == "tcp" or port is None:
            hold = 0.0 if upstream.has_answered else HOLD
            patience = Patience(self.connect_timeout, config.timeout, hold)
            return TCPProbe(self._reactor, address, patience, told, late, self._dial)
        target = f"{self._prefix}/{port}/{_without_activity(config.path)}".encode("ascii")
        patience = Patience(self.connect_timeout, config.timeout)
        return HTTPProbe(
            self._reactor, address, target, patience, told, late, upstream.tls, self._dial
        )

    def observe(self, upstream: Upstream, outcome: Outcome, *, rise: int) -> None:
        """Count the outcome of a probe or a request."""
        config = self.config
        if config.mode == "off" or upstream.is_retired:
            return
        before, since, now = upstream.state, upstream.since, self.now()
        patience = config.dead_after or math.inf
        upstream.observe(outcome, now, fall=config.fall, rise=rise, patience=patience)
        if upstream.state is not before:
            busy_for = now - since if before is State.BUSY else 0.0
            self._changed(upstream, before, outcome, busy_for)

    def _changed(
        self, upstream: Upstream, before: State, outcome: Outcome, busy_for: float
    ) -> None:
        _log.info(
            "{upstream}: {before} -> {after} ({outcome})"
            + (f", busy for {busy_for:.1f} s" if busy_for else ""),
            upstream=str(upstream),
            port=upstream.port,
            before=before.value,
            after=upstream.state.value,
            outcome=outcome.name.lower(),
        )
        watch = self._watches.get(upstream)
        overdue = before is State.STARTING and upstream.is_down
        if watch is not None and not overdue:
            watch.begin_anew()

    def is_wanted(self, upstream: Upstream) -> bool:
        """Whether to go on probing it."""
        return upstream.is_in_use(self.now()) or upstream.port in self.config.ports

    def forget(self, upstream: Upstream) -> None:
        """Stop probing an upstream that nobody has asked for in a while."""
        self._watches.pop(upstream).stop()
        upstream.forget(self.now())
        self._table.release(upstream)

    def leave(self, upstream: Upstream) -> None:
        """Stop probing an upstream that no route leads to any more."""
        watch = self._watches.pop(upstream, None)
        if watch is not None:
            watch.stop()

    def _want(self, upstream: Upstream, now: float) -> Watch | None:
        rested = not upstream.is_active(now)
        upstream.wanted_at = now
        watch = self._watch(upstream)
        if watch is not None and rested:
            # The next probe may be a long time off.
            watch.begin_anew()
        return watch

    def _watch(self, upstream: Upstream) -> Watch | None:
        watch = self._watches.get(upstream)
        if watch is None and self.running and self.config.mode != "off":
            watch = self._watches[upstream] = Watch(self, upstream)
        return watch


def _problem(upstream: Upstream) -> Problem:
    if upstream.state is State.STARTING:
        return Problem.UPSTREAM_STARTING
    return Problem.UPSTREAM_DEAD


def _without_activity(path: str) -> str:
    """``path`` with a query that keeps Jupyter from counting the request as activity."""
    return f"{path}{'&' if '?' in path else '?'}no_track_activity=1"
