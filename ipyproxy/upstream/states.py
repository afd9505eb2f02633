"""The life of an upstream, as a table: what is known of it, and what changes that.

Pure. Knows nothing of addresses, connections or time.
"""

from __future__ import annotations

from enum import Enum, auto


class State(Enum):
    """What is known of an upstream; the values are what scripts are told."""

    UNKNOWN = "unknown"
    """Nothing: nobody has tried for a while. Requests are sent as if it were up."""
    STARTING = "starting"
    """Nobody listens, or whoever does hangs up at once; it never answered, and was first asked for
    only a moment ago."""
    UP = "up"
    BUSY = "busy"
    """It takes connections, or keeps those that it has, but answers nothing for now. Requests are
    sent and wait."""
    DEAD = "dead"
    """Nobody listens any more, it takes no connection, or it has been starting for too long."""


class Event(Enum):
    """What changes a state."""

    ROSE = auto()
    """``rise`` probes in a row were answered, or a request was."""
    REFUSED = auto()
    """A connection was refused. That is certain at once: nobody listens."""
    HUNG_UP = auto()
    """A new connection was closed before any byte of an answer, on a port that never answered a
    request. Docker's proxy does so while nobody listens in the container."""
    SILENT = auto()
    """A connection was taken, and then there was no answer in time; or none was taken, but others
    are still open."""
    FELL = auto()
    """``fall`` times in a row no connection was taken in time, and none is open."""
    OVERDUE = auto()
    """It has been starting for :data:`STARTING_FOR`, or silent for as long as the administrator
    allows."""
    FORGOTTEN = auto()
    """Nobody has wanted it for :data:`IN_USE_FOR`."""


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
"""State and event to the next state. What is not listed changes nothing."""


def step(state: State, event: Event) -> State:
    """The next state after ``event`` in ``state``."""
    return TABLE.get((state, event), state)


class Outcome(Enum):
    """What one attempt to reach an upstream came to."""

    ANSWERED = auto()
    REFUSED = auto()
    HUNG_UP = auto()
    """The connection was taken, and closed before any byte of an answer."""
    SILENT = auto()
    """The connection was taken; then no answer came in time, or none that makes sense."""
    MISSED = auto()
    """No connection was taken in time: the queue of those that wait to be accepted is full."""
