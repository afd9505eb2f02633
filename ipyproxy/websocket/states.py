"""The states of a bridge as a table: what each event does in each state.

Until both handshakes are done a bridge is an ordinary HTTP exchange, so every failure is an
ordinary answer; from then on frames pass. Knows states, events and actions. Knows nothing of
sockets, frames or time: two adapters turn what happens into events and carry out the actions,
``gateway/websocket.py`` up to ``OPEN`` and ``websocket/bridge.py`` from there on.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final


class State(Enum):
    """The state of a bridge. In ``CLOSED``, which is final, it has released everything."""

    DIALLING = auto()
    """The browser's handshake is valid; a connection to the upstream is being made."""
    OPENING = auto()
    """The upstream has got its handshake; its answer is due."""
    REFUSED = auto()
    """The upstream has answered something other than 101, which is passed on."""
    OPEN = auto()
    """Both handshakes are done: frames pass."""
    CLOSING = auto()
    """A close frame was sent; its answer is due."""
    ENDING = auto()
    """Nothing more passes; both connections have to close."""
    CLIENT_CLOSING = auto()
    """The upstream is gone; the client has to close."""
    UPSTREAM_CLOSING = auto()
    """The client is gone; the upstream has to close."""
    CLOSED = auto()


class Event(Enum):
    """What happens to a bridge."""

    CONNECTED = auto()
    """The upstream has accepted the connection, or there was an idle one."""
    STALE = auto()
    """The idle connection turns out to be closed."""
    ACCEPTED = auto()
    """The upstream has answered 101, and the answer fits the handshake."""
    ANSWERED = auto()
    """The upstream has answered something else."""
    ANSWER_ENDED = auto()
    """That answer is complete."""
    FAILED = auto()
    """The upstream can't be reached, does not answer (in time), or its answer is invalid."""
    CLIENT_CLOSED = auto()
    """The client has sent a close frame."""
    UPSTREAM_CLOSED = auto()
    CLIENT_VIOLATED = auto()
    """The client has sent an invalid frame, or too large a message."""
    UPSTREAM_VIOLATED = auto()
    DRAINED = auto()
    """The proxy drains."""
    UNROUTED = auto()
    """The route was removed."""
    ALL_SAID = auto()
    """Nothing more passes in either direction."""
    CLIENT_SILENT = auto()
    """The client has not answered a ping."""
    CLIENT_LOST = auto()
    """The client's connection is gone."""
    UPSTREAM_LOST = auto()
    EXPIRED = auto()
    """A time-out has expired."""


class Action(Enum):
    """What the adapter does, in this order."""

    ASK_UPSTREAM = auto()
    """Send the handshake."""
    DIAL_AGAIN = auto()
    """Make a new connection for the handshake."""
    ACCEPT_CLIENT = auto()
    """Answer 101 as the upstream did, and let frames pass."""
    PASS_ANSWER = auto()
    """Pass on the upstream's own answer."""
    FINISH_ANSWER = auto()
    """End that answer."""
    REFUSE_CLIENT = auto()
    """Answer with the error; if an answer has begun, cut it short."""
    GIVE_UP_UPSTREAM = auto()
    """Stop dialling, or close the upstream's connection."""
    TELL_CLIENT = auto()
    """Send the client a close frame with the code of a violation, at the next frame boundary.

    Nothing is done if nobody has violated the protocol, if the client has got a close frame, or if
    it has sent one itself, which its peer answers.
    """
    TELL_UPSTREAM = auto()
    END_CLIENT = auto()
    """Close our half of the client's connection after the bytes on their way, and wait for its
    half."""
    END_UPSTREAM = auto()
    ABORT_CLIENT = auto()
    """Close the client's connection now; its loss is the next event."""
    ABORT_UPSTREAM = auto()


ENDS: Final = {
    Event.CLIENT_CLOSED: "client closed",
    Event.UPSTREAM_CLOSED: "notebook closed",
    Event.CLIENT_VIOLATED: "client broke the protocol",
    Event.UPSTREAM_VIOLATED: "notebook broke the protocol",
    Event.CLIENT_SILENT: "client silent",
    Event.CLIENT_LOST: "client gone",
    Event.UPSTREAM_LOST: "notebook gone",
    Event.DRAINED: "proxy stopped",
    Event.UNROUTED: "route removed",
}
"""Why an open bridge ends, as in logs and metrics, by the event that began its end."""

_S, _E, _A = State, Event, Action

_TELL_BOTH: Final = (_A.TELL_CLIENT, _A.TELL_UPSTREAM)
_ABORT_BOTH: Final = (_A.ABORT_CLIENT, _A.ABORT_UPSTREAM)

TABLE: dict[tuple[State, Event], tuple[State, tuple[Action, ...]]] = {
    (_S.DIALLING, _E.CONNECTED): (_S.OPENING, (_A.ASK_UPSTREAM,)),
    (_S.DIALLING, _E.FAILED): (_S.CLOSED, (_A.REFUSE_CLIENT,)),
    (_S.DIALLING, _E.CLIENT_LOST): (_S.CLOSED, (_A.GIVE_UP_UPSTREAM,)),
    (_S.OPENING, _E.ACCEPTED): (_S.OPEN, (_A.ACCEPT_CLIENT,)),
    (_S.OPENING, _E.ANSWERED): (_S.REFUSED, (_A.PASS_ANSWER,)),
    (_S.OPENING, _E.STALE): (_S.DIALLING, (_A.DIAL_AGAIN,)),
    (_S.OPENING, _E.FAILED): (_S.CLOSED, (_A.REFUSE_CLIENT,)),
    (_S.OPENING, _E.CLIENT_LOST): (_S.CLOSED, (_A.GIVE_UP_UPSTREAM,)),
    (_S.REFUSED, _E.ANSWER_ENDED): (_S.CLOSED, (_A.FINISH_ANSWER,)),
    (_S.REFUSED, _E.FAILED): (_S.CLOSED, (_A.REFUSE_CLIENT,)),
    (_S.REFUSED, _E.CLIENT_LOST): (_S.CLOSED, (_A.GIVE_UP_UPSTREAM,)),
    (_S.OPEN, _E.CLIENT_CLOSED): (_S.CLOSING, ()),
    (_S.OPEN, _E.UPSTREAM_CLOSED): (_S.CLOSING, ()),
    # As if the offender had sent close: bytes of the other side still pass, and its answer is
    # followed by ours.
    (_S.OPEN, _E.CLIENT_VIOLATED): (_S.CLOSING, (_A.TELL_UPSTREAM,)),
    (_S.OPEN, _E.UPSTREAM_VIOLATED): (_S.CLOSING, (_A.TELL_CLIENT,)),
    # We send no close frame: pages reconnect after a connection that just ended, but JupyterLab
    # does not after 1000 and 1001, and the classic notebook does not after any close frame.
    (_S.OPEN, _E.DRAINED): (_S.ENDING, (_A.END_CLIENT, _A.END_UPSTREAM)),
    # No close frame here either: the page reconnects, as behind any proxy whose server was stopped,
    # and the answer tells what happened to the server.
    (_S.OPEN, _E.UNROUTED): (_S.ENDING, (_A.END_CLIENT, _A.END_UPSTREAM)),
    (_S.OPEN, _E.CLIENT_SILENT): (_S.OPEN, (_A.ABORT_CLIENT,)),
    (_S.OPEN, _E.CLIENT_LOST): (_S.UPSTREAM_CLOSING, (_A.END_UPSTREAM,)),
    (_S.OPEN, _E.UPSTREAM_LOST): (_S.CLIENT_CLOSING, (_A.END_CLIENT,)),
    # The server closes first (RFC 6455 section 7.1.1); towards the client, we are the server.
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
"""From state and event to the next state and the actions. Pairs that are not listed change
nothing."""


def step(state: State, event: Event) -> tuple[State, tuple[Action, ...]]:
    """The next state after ``event`` in ``state``, and what to do."""
    return TABLE.get((state, event), (state, ()))
