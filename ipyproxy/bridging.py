"""The life of one open bridge as a table: what each event does in each state.

A bridge begins once both handshakes are done; until then it is an HTTP exchange like any other.
Knows states, events and actions. Knows nothing of sockets, frames or time: an adapter
(``websocket.py``) turns what happens into events and carries the actions out.
"""

from __future__ import annotations

from enum import Enum, auto


class State(Enum):
    """Where a bridge is. Both connections are gone in ``CLOSED``, which is final."""

    OPEN = auto()
    CLOSING = auto()
    """Close has been said, by a side or by us; both connections are still there."""
    CLIENT_CLOSING = auto()
    """Upstream is gone; the client is to close."""
    UPSTREAM_CLOSING = auto()
    """The client is gone; upstream is to close."""
    CLOSED = auto()


class Event(Enum):
    """What happens to a bridge."""

    CLOSE_SAID = auto()
    """A close frame of one side has passed; the other is to answer it."""
    CLOSE_ANSWERED = auto()
    """Close frames have gone both ways."""
    VIOLATED = auto()
    """One side sent what is no frame, or too much; the bridge can't go on."""
    DRAINED = auto()
    """The proxy is to stop."""
    CLIENT_SILENT = auto()
    """The client has not even answered a ping."""
    UPSTREAM_SILENT = auto()
    CLIENT_LOST = auto()
    """The client's connection is gone."""
    UPSTREAM_LOST = auto()
    EXPIRED = auto()
    """A side that is to close has not done so in time."""


class Action(Enum):
    """What the adapter does about it, in this order."""

    TELL_CLIENT = auto()
    """Send the client a close frame as soon as one may stand there, unless it has got one."""
    TELL_UPSTREAM = auto()
    END_CLIENT = auto()
    """Close our half of the client's connection after what is on its way, and wait for theirs."""
    END_UPSTREAM = auto()
    ABORT_CLIENT = auto()
    """Close the client's connection now; that it is lost is the next event."""
    ABORT_UPSTREAM = auto()


_S, _E, _A = State, Event, Action

_GIVE_UP = (_A.TELL_CLIENT, _A.TELL_UPSTREAM, _A.END_CLIENT, _A.END_UPSTREAM)

TABLE: dict[tuple[State, Event], tuple[State, tuple[Action, ...]]] = {
    (_S.OPEN, _E.CLOSE_SAID): (_S.CLOSING, ()),
    (_S.OPEN, _E.VIOLATED): (_S.CLOSING, _GIVE_UP),
    (_S.OPEN, _E.DRAINED): (_S.CLOSING, (_A.TELL_CLIENT, _A.TELL_UPSTREAM)),
    (_S.OPEN, _E.CLIENT_SILENT): (_S.OPEN, (_A.ABORT_CLIENT,)),
    (_S.OPEN, _E.UPSTREAM_SILENT): (_S.OPEN, (_A.ABORT_UPSTREAM,)),
    (_S.OPEN, _E.CLIENT_LOST): (_S.UPSTREAM_CLOSING, (_A.END_UPSTREAM,)),
    (_S.OPEN, _E.UPSTREAM_LOST): (_S.CLIENT_CLOSING, (_A.TELL_CLIENT, _A.END_CLIENT)),
    # The server closes first (RFC 6455 section 7.1.1), and towards the client that is us.
    (_S.CLOSING, _E.CLOSE_ANSWERED): (_S.CLOSING, (_A.END_CLIENT,)),
    (_S.CLOSING, _E.VIOLATED): (_S.CLOSING, _GIVE_UP),
    (_S.CLOSING, _E.CLIENT_LOST): (_S.UPSTREAM_CLOSING, (_A.END_UPSTREAM,)),
    (_S.CLOSING, _E.UPSTREAM_LOST): (_S.CLIENT_CLOSING, (_A.TELL_CLIENT, _A.END_CLIENT)),
    (_S.CLOSING, _E.EXPIRED): (_S.CLOSING, (_A.ABORT_CLIENT, _A.ABORT_UPSTREAM)),
    (_S.CLIENT_CLOSING, _E.CLIENT_LOST): (_S.CLOSED, ()),
    (_S.CLIENT_CLOSING, _E.EXPIRED): (_S.CLIENT_CLOSING, (_A.ABORT_CLIENT,)),
    (_S.UPSTREAM_CLOSING, _E.UPSTREAM_LOST): (_S.CLOSED, ()),
    (_S.UPSTREAM_CLOSING, _E.EXPIRED): (_S.UPSTREAM_CLOSING, (_A.ABORT_UPSTREAM,)),
}
"""State and event to the next state and the actions. What is not listed changes nothing."""


def step(state: State, event: Event) -> tuple[State, tuple[Action, ...]]:
    """The next state after ``event`` in ``state``, and what to do."""
    return TABLE.get((state, event), (state, ()))
