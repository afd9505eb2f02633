"""The notebook servers that are known: one record each, the place where the other rooms meet.

Knows ports, what is open towards them, what was counted, and whether they answer: the life of an
upstream is one table. Knows nothing of sockets, and is handed the time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple, Protocol

STARTING_FOR = 60.0
"""Seconds that a port which was never up counts as starting; then it is dead."""
IN_USE_FOR = 300.0
"""Seconds after the last request during which an upstream is still looked after."""
BUSY_FOR = 60.0
"""Seconds after the last request during which it is looked after at the shorter interval."""
TRIAL_GAP = 0.5
"""Seconds between two requests that may find out whether a port still refuses."""


class State(Enum):
    """What is known of an upstream; the values are what scripts are told."""

    UNKNOWN = "unknown"
    """Nothing: nobody has tried for a while. Requests are sent as if it were up."""
    STARTING = "starting"
    """It does not answer, but never did, and was first asked for only a moment ago."""
    UP = "up"
    DEAD = "dead"
    """It has answered once and does so no more, or has been starting for too long."""


class Event(Enum):
    """What changes a state."""

    ROSE = auto()
    """``rise`` probes in a row were answered, or a request was."""
    REFUSED = auto()
    """A connection was refused. That is certain at once: nobody listens."""
    FELL = auto()
    """``fall`` probes in a row were not answered in time."""
    OVERDUE = auto()
    """It has been starting for :data:`STARTING_FOR`."""
    FORGOTTEN = auto()
    """Nobody has wanted it for :data:`IN_USE_FOR`."""


_S, _E = State, Event

TABLE: dict[tuple[State, Event], State] = {
    (_S.UNKNOWN, _E.ROSE): _S.UP,
    (_S.UNKNOWN, _E.REFUSED): _S.STARTING,
    (_S.UNKNOWN, _E.FELL): _S.STARTING,
    (_S.STARTING, _E.ROSE): _S.UP,
    (_S.STARTING, _E.OVERDUE): _S.DEAD,
    (_S.STARTING, _E.FORGOTTEN): _S.UNKNOWN,
    (_S.UP, _E.REFUSED): _S.DEAD,
    (_S.UP, _E.FELL): _S.DEAD,
    (_S.UP, _E.FORGOTTEN): _S.UNKNOWN,
    (_S.DEAD, _E.ROSE): _S.UP,
    (_S.DEAD, _E.FORGOTTEN): _S.UNKNOWN,
}
"""State and event to the next state. What is not listed changes nothing."""


def step(state: State, event: Event) -> State:
    """The next state after ``event`` in ``state``."""
    return TABLE.get((state, event), state)


class Outcome(Enum):
    """What one attempt to reach an upstream came to."""

    ANSWERED = auto()
    REFUSED = auto()
    MISSED = auto()
    """No answer in time, or none that makes sense."""


class Traffic(NamedTuple):
    """What bridges have carried: bytes on the wire, and messages that have begun.

    Up is from the browser to the notebook.
    """

    bytes_up: int = 0
    bytes_down: int = 0
    messages_up: int = 0
    messages_down: int = 0


NO_TRAFFIC = Traffic()


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


@dataclass(slots=True, eq=False)
class Upstream:
    """One notebook server. All times are seconds of the reactor's clock.

    ``exchanges`` and ``bridges`` are open now; ``requests``, ``errors`` and ``bridges_ended`` only
    grow. ``last_activity`` is when a request was last sent to it, ``wanted_at`` when somebody last
    asked for it at all, ``tried_at`` when somebody last tried to find out whether it answers, and
    ``answered_at`` when it last answered a request. It ``refuses`` if the last try was refused,
    and no other is under way.
    """

    port: int
    exchanges: int = 0
    bridges: set[OpenBridge] = field(default_factory=set)
    bridges_ended: int = 0
    requests: int = 0
    errors: int = 0
    last_activity: float = 0.0
    state: State = State.UNKNOWN
    since: float = 0.0
    wanted_at: float = -math.inf
    tried_at: float = -math.inf
    answered_at: float = -math.inf
    refuses: bool = False
    answers: int = 0
    misses: int = 0
    _past_traffic: Traffic = NO_TRAFFIC
    _past_activity: float = -math.inf

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
        self.bridges_ended += 1
        self._past_traffic = _sum([self._past_traffic, bridge.traffic])
        self._past_activity = max(self._past_activity, bridge.last_activity)

    @property
    def is_down(self) -> bool:
        """Whether requests are to be answered without asking it."""
        return self.state is State.DEAD or self.state is State.STARTING

    def is_in_use(self, now: float) -> bool:
        """Whether it is worth looking after."""
        return self.open_work > 0 or now - self.wanted_at < IN_USE_FOR

    def is_busy(self, now: float) -> bool:
        """Whether it is worth looking after closely."""
        return self.exchanges > 0 or now - self.wanted_at < BUSY_FOR

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

    def observe(self, outcome: Outcome, now: float, *, fall: int, rise: int) -> None:
        """Count what an attempt came to, and change the state once that is enough."""
        self.refuses = outcome is Outcome.REFUSED
        self.answers = self.answers + 1 if outcome is Outcome.ANSWERED else 0
        self.misses = self.misses + 1 if outcome is Outcome.MISSED else 0
        if outcome is Outcome.ANSWERED:
            if self.answers >= rise:
                self._on(Event.ROSE, now)
        elif self.state is State.STARTING and now - self.since >= STARTING_FOR:
            self._on(Event.OVERDUE, now)
        elif outcome is Outcome.REFUSED:
            self._on(Event.REFUSED, now)
        elif self.misses >= fall:
            self._on(Event.FELL, now)

    def forget(self, now: float) -> None:
        """Nobody has wanted it for so long that what was known may be wrong."""
        self.refuses = False
        self.answers = self.misses = 0
        self._on(Event.FORGOTTEN, now)

    def _on(self, event: Event, now: float) -> None:
        state = step(self.state, event)
        if state is not self.state:
            self.state = state
            self.since = now
            self.answers = self.misses = 0


def _sum(parts: Iterable[Traffic]) -> Traffic:
    return Traffic(*map(sum, zip(*parts, strict=True)))


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
