"""The known upstreams: one record each, which all other components use.

Knows addresses, open exchanges and bridges, counts, and states. Knows nothing of sockets, and is
handed the time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from ipyproxy.net.address import Address, ClientTLS, loopback
from ipyproxy.upstream.places import MOST_PLACES, Places
from ipyproxy.upstream.states import Event, Outcome, State, step

STARTING_FOR: Final = 60.0
"""Seconds for which a port that was never up counts as starting; then it is dead."""
IN_USE_FOR: Final = 300.0
"""Seconds after the last request for which an upstream is still probed."""
ACTIVE_FOR: Final = 60.0
"""Seconds after the last request for which it is probed at the shorter interval."""
TRIAL_GAP: Final = 0.5
"""Seconds between two requests that may try whether a port still refuses."""


class Traffic(NamedTuple):
    """The traffic of bridges: bytes on the wire, and messages that have begun.

    Up is from the client to the upstream.
    """

    bytes_up: int = 0
    bytes_down: int = 0
    messages_up: int = 0
    messages_down: int = 0


NO_TRAFFIC: Final = Traffic()


class OpenBridge(Protocol):
    """An open bridge. Times are seconds of the reactor's clock."""

    @property
    def opened(self) -> float:
        """When both handshakes were done."""

    @property
    def last_activity(self) -> float:
        """When a person did something last: the browser sent (a part of) a message.

        Pings and pongs don't count. The same as ``opened`` if there was no message yet.
        """

    @property
    def traffic(self) -> Traffic:
        """Its traffic so far."""

    def lose_route(self) -> None:
        """End, because no route leads there any more."""


@dataclass(slots=True, eq=False)
class Upstream:
    """One server that requests are passed on to. All times are seconds of the reactor's clock.

    ``address`` says where it is, ``tls`` has the terms for TLS to it (None: plain), and ``name`` is
    its name for people: for a notebook the number of its port. Only a notebook has a ``port``: its
    listener has to be an owner, and logs and metrics name the notebook by this number. Clients
    share its ``places``. Other components use the record as a key, since it is cheap to hash and to
    compare.

    ``exchanges`` and ``bridges`` count what is open now; ``requests`` and ``errors`` count all so
    far. ``last_activity`` is when a request was last sent to it, ``wanted_at`` when a client last
    asked for it, ``tried_at`` when a probe or request last tried to reach it, and ``answered_at``
    when it last answered a request (minus infinity: not since it was last starting, dead or
    forgotten). ``seen`` is the outcome of the last try. ``refuses`` is true if that try was refused
    or closed at once, and no other try is running. ``is_known`` tells whether it ever answered.
    ``routes`` is the number of routes that hold the record of an application's server;
    ``is_retired`` is true once the last one has let it go, and then nothing new begins there.
    """

    address: Address
    name: str
    port: int | None = None
    tls: ClientTLS | None = None
    places: Places = field(default_factory=Places)
    exchanges: int = 0
    bridges: set[OpenBridge] = field(default_factory=set)
    requests: int = 0
    errors: int = 0
    last_activity: float = 0.0
    state: State = State.UNKNOWN
    since: float = 0.0
    wanted_at: float = -math.inf
    tried_at: float = -math.inf
    answered_at: float = -math.inf
    seen: Outcome | None = None
    refuses: bool = False
    is_known: bool = False
    routes: int = 0
    is_retired: bool = False
    answers: int = 0
    misses: int = 0
    silent_since: float = math.inf
    _past_traffic: Traffic = NO_TRAFFIC
    _past_activity: float = -math.inf

    def __str__(self) -> str:
        return self.name if self.port is None else f"port {self.port}"

    @property
    def open_work(self) -> int:
        """How many exchanges and bridges are open."""
        return self.exchanges + len(self.bridges)

    @property
    def traffic(self) -> Traffic:
        """The traffic of all its bridges, ended and open."""
        return _sum([self._past_traffic, *[bridge.traffic for bridge in self.bridges]])

    @property
    def person_active_at(self) -> float:
        """When a person did something last on any of its bridges; minus infinity: never."""
        return max([self._past_activity, *[bridge.last_activity for bridge in self.bridges]])

    def bridge_opened(self, bridge: OpenBridge) -> None:
        """Add an open bridge."""
        self.bridges.add(bridge)

    def bridge_ended(self, bridge: OpenBridge) -> None:
        """Remove a bridge; keep only its traffic."""
        self.bridges.remove(bridge)
        self._past_traffic = _sum([self._past_traffic, bridge.traffic])
        self._past_activity = max(self._past_activity, bridge.last_activity)

    @property
    def is_down(self) -> bool:
        """Whether requests are refused without trying it."""
        return self.state is State.DEAD or self.state is State.STARTING

    def is_in_use(self, now: float) -> bool:
        """Whether it is probed."""
        return self.open_work > 0 or now - self.wanted_at < IN_USE_FOR

    def is_active(self, now: float) -> bool:
        """Whether it is probed at the shorter interval."""
        return self.exchanges > 0 or now - self.wanted_at < ACTIVE_FOR

    @property
    def has_answered(self) -> bool:
        """Whether it has answered a request since it was last starting, dead or forgotten."""
        return self.answered_at > -math.inf

    def admit(self, now: float) -> bool:
        """Decide whether a request is sent.

        While it refuses connections, one request at a time is sent, every :data:`TRIAL_GAP`: a
        further refusal is immediate, and the first request after the notebook has started is
        served. While it hangs, none is sent, because the request would hang too; probes find out
        then.
        """
        if self.is_down:
            if not self.refuses or now - self.tried_at < TRIAL_GAP:
                return False
            self.tried_at = now
            self.refuses = False  # until the outcome of this try, so that it stays the only one
        self.last_activity = now
        return True

    def observe(
        self, outcome: Outcome, now: float, *, fall: int, rise: int, patience: float = math.inf
    ) -> None:
        """Count the outcome of an attempt, and change the state if there were enough.

        :param patience: seconds of silence after which it counts as dead.
        """
        self.seen = outcome
        self.refuses = outcome is Outcome.REFUSED or outcome is Outcome.HUNG_UP
        self.answers = self.answers + 1 if outcome is Outcome.ANSWERED else 0
        self.misses = self.misses + 1 if outcome is Outcome.MISSED else 0
        event = self._event(outcome, fall, rise)
        if event is Event.SILENT:
            self.silent_since = min(self.silent_since, now)
            overdue = now - self.silent_since >= patience
        else:
            if outcome is not Outcome.MISSED:
                self.silent_since = math.inf
            starting_for = now - self.since if self.state is State.STARTING else 0.0
            overdue = outcome is not Outcome.ANSWERED and starting_for >= STARTING_FOR
        if overdue:
            event = Event.OVERDUE
        if event is not None:
            self._on(event, now)

    def _event(self, outcome: Outcome, fall: int, rise: int) -> Event | None:
        """The event that follows from ``outcome`` and those before it; None: none yet."""
        if outcome is Outcome.ANSWERED:
            return Event.ROSE if self.answers >= rise else None
        if outcome is Outcome.REFUSED:
            return Event.REFUSED
        if outcome is Outcome.MISSED:
            if self.misses < fall:
                return None
            return Event.SILENT if self.open_work else Event.FELL
        if outcome is Outcome.HUNG_UP and not self.has_answered:
            return Event.HUNG_UP
        return Event.SILENT

    def forget(self, now: float) -> None:
        """Forget the state: nobody has asked for it for so long that it may be wrong."""
        self.refuses = False
        self.answers = self.misses = 0
        self.silent_since = math.inf
        self._on(Event.FORGOTTEN, now)

    def _on(self, event: Event, now: float) -> None:
        state = step(self.state, event)
        if state is self.state:
            return
        self.state = state
        self.since = now
        self.answers = self.misses = 0
        if state is State.UP:
            self.is_known = True
        elif state is not State.BUSY:
            self.answered_at = -math.inf


def _sum(parts: Iterable[Traffic]) -> Traffic:
    return Traffic(*map(sum, zip(*parts, strict=True)))


class UpstreamTable:
    """The records of all upstreams; at most one for each port and each route's server.

    :param places: how many exchanges and bridges each may have open.
    :ivar notebook_tls: the terms for TLS to notebooks; None: plain TCP.
    """

    def __init__(self, places: int = MOST_PLACES) -> None:
        self.notebook_tls: ClientTLS | None = None
        self._places = places
        self._upstreams: dict[str, Upstream] = {}
        self.retired: dict[Upstream, None] = {}
        """Upstreams that no route leads to any more, until nothing is open there."""
        self._past_traffic = NO_TRAFFIC

    def notebook(self, port: int) -> Upstream:
        """The record of the notebook on ``port``, made at its first use."""
        name = str(port)
        upstream = self._upstreams.get(name)
        if upstream is None:
            upstream = Upstream(loopback(port), name, port, self.notebook_tls, Places(self._places))
            self._upstreams[name] = upstream
        return upstream

    def acquire(self, name: str, address: Address, tls: ClientTLS | None = None) -> Upstream:
        """The record of an application's server; one more route holds it now."""
        upstream = self._upstreams.get(name)
        if upstream is None:
            upstream = self._upstreams[name] = Upstream(address, name, tls=tls)
        upstream.routes += 1
        return upstream

    def server(self, name: str) -> Upstream:
        """The record of a server that a route holds."""
        return self._upstreams[name]

    def let_go(self, upstream: Upstream) -> bool:
        """One route fewer holds a server. Returns whether it was the last; then the record is gone.

        The caller has to drop everything else that is known of it; see ``daemon/retirement.py``.
        """
        upstream.routes -= 1
        if upstream.routes:
            return False
        upstream.is_retired = True
        upstream.state = State.UNKNOWN
        del self._upstreams[upstream.name]
        self.retired[upstream] = None
        return True

    def forget(self, upstream: Upstream) -> None:
        """Nothing is open any more at a retired upstream: keep only its traffic."""
        del self.retired[upstream]
        self._past_traffic = _sum([self._past_traffic, upstream.traffic])

    @property
    def traffic(self) -> Traffic:
        """The traffic of bridges to all upstreams, including those that are gone."""
        known = [upstream.traffic for upstream in (*self._upstreams.values(), *self.retired)]
        return _sum([self._past_traffic, *known])

    def resize(self, places: int) -> None:
        """Set the number of places at each notebook."""
        self._places = places
        for upstream in self._upstreams.values():
            if upstream.port is not None:
                upstream.places.resize(places)

    def sweep(self, now: float) -> None:
        """Sweep the places of each upstream that is in use; to be called about once a second."""
        for upstream in [*self._upstreams.values(), *self.retired]:
            if upstream.exchanges or upstream.bridges:
                upstream.places.sweep(now)

    def release(self, upstream: Upstream) -> None:
        """Drop the record of a notebook's port that never answered, if nothing is open there.

        Otherwise a client that asks for all ports would leave a row for each. The record of an
        application's server stays for as long as routes hold it.
        """
        if upstream.port is not None and not upstream.is_known and not upstream.open_work:
            self._upstreams.pop(upstream.name, None)

    def all(self) -> list[Upstream]:
        """All records: notebooks sorted by port, then the others by name."""
        return sorted(
            self._upstreams.values(),
            key=lambda upstream: (upstream.port is None, upstream.port or 0, upstream.name),
        )
