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
    """Close has been said, and is to be answered."""
    ENDING = auto()
    """All is said; both connections are to close."""
    CLIENT_CLOSING = auto()
    """Upstream is gone; the client is to close."""
    UPSTREAM_CLOSING = auto()
    """The client is gone; upstream is to close."""
    CLOSED = auto()


class Event(Enum):
    """What happens to a bridge."""

    CLOSE_SAID = auto()
    """A side has said close."""
    CLIENT_VIOLATED = auto()
    """The client has sent what is no frame, or too much."""
    UPSTREAM_VIOLATED = auto()
    DRAINED = auto()
    """The proxy is to stop."""
    ALL_SAID = auto()
    """Nothing more passes in either direction."""
    CLIENT_SILENT = auto()
    """The client has not even answered a ping."""
    UPSTREAM_SILENT = auto()
    CLIENT_LOST = auto()
    """The client's connection is gone."""
    UPSTREAM_LOST = auto()
    EXPIRED = auto()
    """What was to happen has not happened in time."""


class Action(Enum):
    """What the adapter does about it, in this order."""

    TELL_CLIENT = auto()
    """Send the client a close frame as soon as one may stand there.

    Nothing is done if it has got one, or has said close itself: that is its peer's to answer.
    """
    TELL_UPSTREAM = auto()
    END_CLIENT = auto()
    """Close our half of the client's connection after what is on its way, and wait for theirs."""
    END_UPSTREAM = auto()
    ABORT_CLIENT = auto()
    """Close the client's connection now; that it is lost is the next event."""
    ABORT_UPSTREAM = auto()


_S, _E, _A = State, Event, Action

_TELL_BOTH = (_A.TELL_CLIENT, _A.TELL_UPSTREAM)
_ABORT_BOTH = (_A.ABORT_CLIENT, _A.ABORT_UPSTREAM)

TABLE: dict[tuple[State, Event], tuple[State, tuple[Action, ...]]] = {
    (_S.OPEN, _E.CLOSE_SAID): (_S.CLOSING, ()),
    # As if the offender had said close: what the other side has already said gets through, and
    # its answer is followed by ours.
    (_S.OPEN, _E.CLIENT_VIOLATED): (_S.CLOSING, (_A.TELL_UPSTREAM,)),
    (_S.OPEN, _E.UPSTREAM_VIOLATED): (_S.CLOSING, (_A.TELL_CLIENT,)),
    (_S.OPEN, _E.DRAINED): (_S.CLOSING, _TELL_BOTH),
    (_S.OPEN, _E.CLIENT_SILENT): (_S.OPEN, (_A.ABORT_CLIENT,)),
    (_S.OPEN, _E.UPSTREAM_SILENT): (_S.OPEN, (_A.ABORT_UPSTREAM,)),
    (_S.OPEN, _E.CLIENT_LOST): (_S.UPSTREAM_CLOSING, (_A.END_UPSTREAM,)),
    (_S.OPEN, _E.UPSTREAM_LOST): (_S.CLIENT_CLOSING, (_A.TELL_CLIENT, _A.END_CLIENT)),
    # The server closes first (RFC 6455 section 7.1.1), and towards the client that is us.
    (_S.CLOSING, _E.ALL_SAID): (_S.ENDING, (*_TELL_BOTH, _A.END_CLIENT)),
    (_S.CLOSING, _E.EXPIRED): (_S.ENDING, (*_TELL_BOTH, _A.END_CLIENT, _A.END_UPSTREAM)),
    (_S.CLOSING, _E.CLIENT_LOST): (_S.UPSTREAM_CLOSING, (_A.TELL_UPSTREAM, _A.END_UPSTREAM)),
    (_S.CLOSING, _E.UPSTREAM_LOST): (_S.CLIENT_CLOSING, (_A.TELL_CLIENT, _A.END_CLIENT)),
    (_S.ENDING, _E.CLIENT_LOST): (_S.UPSTREAM_CLOSING, (_A.END_UPSTREAM,)),
    (_S.ENDING, _E.UPSTREAM_LOST): (_S.CLIENT_CLOSING, (_A.END_CLIENT,)),
    (_S.ENDING, _E.EXPIRED): (_S.ENDING, _ABORT_BOTH),
    (_S.CLIENT_CLOSING, _E.CLIENT_LOST): (_S.CLOSED, ()),
    (_S.CLIENT_CLOSING, _E.EXPIRED): (_S.CLIENT_CLOSING, (_A.ABORT_CLIENT,)),
    (_S.UPSTREAM_CLOSING, _E.UPSTREAM_LOST): (_S.CLOSED, ()),
    (_S.UPSTREAM_CLOSING, _E.EXPIRED): (_S.UPSTREAM_CLOSING, (_A.ABORT_UPSTREAM,)),
}
"""State and event to the next state and the actions. What is not listed changes nothing."""


def step(state: State, event: Event) -> tuple[State, tuple[Action, ...]]:
    """The next state after ``event`` in ``state``, and what to do."""
    return TABLE.get((state, event), (state, ()))
