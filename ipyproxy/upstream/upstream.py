"""The upstreams that are known: one record each, the place where the other components meet.

Knows addresses, what is open towards them, what was counted, and whether they answer. Knows nothing
of sockets, and is handed the time.
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
"""Seconds that a port which was never up counts as starting; then it is dead."""
IN_USE_FOR: Final = 300.0
"""Seconds after the last request during which an upstream is still looked after."""
ACTIVE_FOR: Final = 60.0
"""Seconds after the last request during which it is looked after at the shorter interval."""
TRIAL_GAP: Final = 0.5
"""Seconds between two requests that may find out whether a port still refuses."""


class Traffic(NamedTuple):
    """What bridges have carried: bytes on the wire, and messages that have begun.

    Up is from the browser to the notebook.
    """

    bytes_up: int = 0
    bytes_down: int = 0
    messages_up: int = 0
    messages_down: int = 0


NO_TRAFFIC: Final = Traffic()


class OpenBridge(Protocol):
    """What can be told of a bridge while it is open. Times are seconds of the reactor's clock."""

    @property
    def opened(self) -> float:
        """When both handshakes were done."""

    @property
    def last_activity(self) -> float:
        """When a person last did something: the browser sent (a part of) a message.

        Pings and pongs are no sign of a person. ``opened`` if there was none yet.
        """

    @property
    def traffic(self) -> Traffic:
        """What it has carried so far."""

    def lose_route(self) -> None:
        """End, because no route leads there any more."""


@dataclass(slots=True, eq=False)
class Upstream:
    """One server that requests are passed on to. All times are seconds of the reactor's clock.

    ``address`` says where it is, ``tls`` on which terms connections to it are secured (None: they
    are not), and ``name`` is what people know it by: for a notebook the number of its port. A
    notebook has a ``port``: who listens there has to be one of the owners, and logs and metrics
    speak of it by that number. ``places`` are those that clients share. Other components keep what
    they know of an upstream by its record, which is cheap to hash and to compare.

    ``exchanges`` and ``bridges`` are open now; ``requests`` and ``errors`` only grow.
    ``last_activity`` is when a request was last sent to it, ``wanted_at`` when somebody last asked
    for it at all, ``tried_at`` when somebody last tried to find out whether it answers, and
    ``answered_at`` when it last answered a request; minus infinity if it has not since it was last
    starting, dead or forgotten. ``seen`` is what the last try came to. It ``refuses`` if that was
    refused or hung up on, and no other try is under way. ``is_known`` is whether it ever answered
    anything. ``routes`` are those that hold the record of an application's server; it is
    ``is_retired`` when the last of them has let go, and nothing new begins there.
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
        """Exchanges and bridges that are open."""
        return self.exchanges + len(self.bridges)

    @property
    def traffic(self) -> Traffic:
        """What all its bridges have carried, those that have ended and those that are open."""
        return _sum([self._past_traffic, *[bridge.traffic for bridge in self.bridges]])

    @property
    def person_active_at(self) -> float:
        """When a person last did something on any of its bridges; minus infinity: never."""
        return max([self._past_activity, *[bridge.last_activity for bridge in self.bridges]])

    def bridge_opened(self, bridge: OpenBridge) -> None:
        """Keep a bridge among those that are open."""
        self.bridges.add(bridge)

    def bridge_ended(self, bridge: OpenBridge) -> None:
        """Keep of a bridge only what it has carried."""
        self.bridges.remove(bridge)
        self._past_traffic = _sum([self._past_traffic, bridge.traffic])
        self._past_activity = max(self._past_activity, bridge.last_activity)

    @property
    def is_down(self) -> bool:
        """Whether requests are to be answered without asking it."""
        return self.state is State.DEAD or self.state is State.STARTING

    def is_in_use(self, now: float) -> bool:
        """Whether it is worth looking after."""
        return self.open_work > 0 or now - self.wanted_at < IN_USE_FOR

    def is_active(self, now: float) -> bool:
        """Whether it is worth looking after closely."""
        return self.exchanges > 0 or now - self.wanted_at < ACTIVE_FOR

    @property
    def has_answered(self) -> bool:
        """Whether it has answered a request since it was last starting, dead or forgotten."""
        return self.answered_at > -math.inf

    def admit(self, now: float) -> bool:
        """Decide whether a request is sent.

        While it refuses, one request at a time is, every :data:`TRIAL_GAP`: another refusal is
        immediate, and whoever comes first after the notebook does gets served. While it hangs,
        none is, because that one would hang too: it is for probes to find out.
        """
        if self.is_down:
            if not self.refuses or now - self.tried_at < TRIAL_GAP:
                return False
            self.tried_at = now
            self.refuses = False  # until this one has told, so that it stays the only one
        self.last_activity = now
        return True

    def observe(
        self, outcome: Outcome, now: float, *, fall: int, rise: int, patience: float = math.inf
    ) -> None:
        """Count what an attempt came to, and change the state once that is enough.

        :param patience: seconds of silence after which it is dead.
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
        """What ``outcome`` means, after those before it; None: nothing yet."""
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
        """Nobody has wanted it for so long that what was known may be wrong."""
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
    """All upstreams that are of interest; bounded by the number of ports and routes.

    :param places: how many exchanges and bridges each may have.
    :ivar notebook_tls: the terms of connections to notebooks; None: they are plain.
    """

    def __init__(self, places: int = MOST_PLACES) -> None:
        self.notebook_tls: ClientTLS | None = None
        self._places = places
        self._upstreams: dict[str, Upstream] = {}
        self.retired: dict[Upstream, None] = {}
        """Those that no route leads to any more, until what is open there has ended."""
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
        """The record of a server of an application, held by one route more."""
        upstream = self._upstreams.get(name)
        if upstream is None:
            upstream = self._upstreams[name] = Upstream(address, name, tls=tls)
        upstream.routes += 1
        return upstream

    def server(self, name: str) -> Upstream:
        """The record of a server that a route holds."""
        return self._upstreams[name]

    def let_go(self, upstream: Upstream) -> bool:
        """One route less leads to a server. Whether that was the last: the record is gone then.

        What else is known of it is for the caller to drop; see ``daemon/retirement.py``.
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
        """Nothing is open any more at one that is retired: keep only what was carried."""
        del self.retired[upstream]
        self._past_traffic = _sum([self._past_traffic, upstream.traffic])

    @property
    def traffic(self) -> Traffic:
        """What bridges to all upstreams have carried, to those that have gone too."""
        known = [upstream.traffic for upstream in (*self._upstreams.values(), *self.retired)]
        return _sum([self._past_traffic, *known])

    def resize(self, places: int) -> None:
        """Let there be so many places at each notebook."""
        self._places = places
        for upstream in self._upstreams.values():
            if upstream.port is not None:
                upstream.places.resize(places)

    def sweep(self, now: float) -> None:
        """Sweep the places of each that is in use; to be called about once a second."""
        for upstream in [*self._upstreams.values(), *self.retired]:
            if upstream.exchanges or upstream.bridges:
                upstream.places.sweep(now)

    def release(self, upstream: Upstream) -> None:
        """Keep no record of a notebook's port where nobody ever answered, and nothing is open.

        Else whoever asks for all ports, one after the other, would leave a row for each. The
        record of an application's server stays for as long as routes hold it.
        """
        if upstream.port is not None and not upstream.is_known and not upstream.open_work:
            self._upstreams.pop(upstream.name, None)

    def all(self) -> list[Upstream]:
        """All records: notebooks by port, then the others by name."""
        return sorted(
            self._upstreams.values(),
            key=lambda upstream: (upstream.port is None, upstream.port or 0, upstream.name),
        )
