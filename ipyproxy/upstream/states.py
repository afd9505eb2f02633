"""The states of an upstream as a table: what is known of it, and what changes that.

Pure. Knows nothing of addresses, connections or time.
"""

from __future__ import annotations

from enum import Enum, auto


class State(Enum):
    """What is known of an upstream; scripts get the values."""

    UNKNOWN = "unknown"
    """Nothing is known: nobody has tried for a while. Requests are sent as if it were up."""
    STARTING = "starting"
    """Nobody listens, or connections are closed at once. It has never answered, and was first asked
    for less than :data:`STARTING_FOR` ago."""
    UP = "up"
    BUSY = "busy"
    """It accepts connections, or keeps open ones, but does not answer at present. Requests are sent
    and wait."""
    DEAD = "dead"
    """Nobody listens any more, it accepts no connection, or it has been starting for too long."""


class Event(Enum):
    """What changes a state."""

    ROSE = auto()
    """``rise`` probes in a row were answered, or a request was."""
    REFUSED = auto()
    """A connection was refused, so nobody listens. One is enough."""
    HUNG_UP = auto()
    """A new connection was closed before any byte of an answer, on a port that never answered a
    request. Docker's proxy closes connections while nobody listens in the container."""
    SILENT = auto()
    """A connection was accepted, but there was no answer in time; or none was accepted, but others
    are still open."""
    FELL = auto()
    """``fall`` times in a row no connection was accepted in time, and none is open."""
    OVERDUE = auto()
    """It has been starting for :data:`STARTING_FOR`, or silent for longer than the configuration
    allows."""
    FORGOTTEN = auto()
    """Nobody has asked for it for :data:`IN_USE_FOR`."""


_S, _E = State, Event

TABLE: dict[tuple[State, Event], State] = {
    (_S.UNKNOWN, _E.ROSE): _S.UP,
    (_S.UNKNOWN, _E.SILENT): _S.BUSY,
    (_S.UNKNOWN, _E.REFUSED): _S.STARTING,
    (_S.UNKNOWN, _E.HUNG_UP): _S.STARTING,
    (_S.UNKNOWN, _E.FELL): _S.STARTING,
    (_S.STARTING, _E.ROSE): _S.UP,
    (_S.STARTING, _E.SILENT): _S.BUSY,
    (_S.STARTING, _E.OVERDUE): _S.DEAD,
    (_S.STARTING, _E.FORGOTTEN): _S.UNKNOWN,
    (_S.UP, _E.SILENT): _S.BUSY,
    (_S.UP, _E.HUNG_UP): _S.STARTING,
    (_S.UP, _E.REFUSED): _S.DEAD,
    (_S.UP, _E.FELL): _S.DEAD,
    (_S.UP, _E.FORGOTTEN): _S.UNKNOWN,
    (_S.BUSY, _E.ROSE): _S.UP,
    (_S.BUSY, _E.HUNG_UP): _S.STARTING,
    (_S.BUSY, _E.REFUSED): _S.DEAD,
    (_S.BUSY, _E.FELL): _S.DEAD,
    (_S.BUSY, _E.OVERDUE): _S.DEAD,
    (_S.BUSY, _E.FORGOTTEN): _S.UNKNOWN,
    (_S.DEAD, _E.ROSE): _S.UP,
    (_S.DEAD, _E.SILENT): _S.BUSY,
    (_S.DEAD, _E.FORGOTTEN): _S.UNKNOWN,
}
"""From state and event to the next state. Pairs that are not listed change nothing."""


def step(state: State, event: Event) -> State:
    """The next state after ``event`` in ``state``."""
    return TABLE.get((state, event), state)


class Outcome(Enum):
    """The outcome of one attempt to reach an upstream."""

    ANSWERED = auto()
    REFUSED = auto()
    HUNG_UP = auto()
    """The connection was accepted, and closed before any byte of an answer."""
    SILENT = auto()
    """The connection was accepted; then no answer came in time, or an invalid one."""
    MISSED = auto()
    """No connection was accepted in time: the backlog is full."""
