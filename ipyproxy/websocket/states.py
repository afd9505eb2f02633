"""The life of one bridge as a table: what each event does in each state.

Until both handshakes are done a bridge is an HTTP exchange like any other, so that whatever goes
wrong is an ordinary answer; from then on frames pass. Knows states, events and actions. Knows
nothing of sockets, frames or time: two adapters turn what happens into events and carry the actions
out, ``gateway/websocket.py`` up to ``OPEN`` and ``websocket/bridge.py`` from there on.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final


class State(Enum):
    """Where a bridge is. In ``CLOSED``, which is final, it holds nothing any more."""

    DIALLING = auto()
    """The browser's handshake is good; upstream is to take a connection."""
    OPENING = auto()
    """Upstream has got its handshake, and is to answer it."""
    REFUSED = auto()
    """Upstream has answered something else than 101, which is passed on."""
    OPEN = auto()
    """Both handshakes are done: frames pass."""
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

    CONNECTED = auto()
    """Upstream has taken the connection, or one was kept."""
    STALE = auto()
    """The connection that was kept turns out to be closed."""
    ACCEPTED = auto()
    """Upstream has answered 101, and what was asked for."""
    ANSWERED = auto()
    """Upstream has answered something else."""
    ANSWER_ENDED = auto()
    """That answer is whole."""
    FAILED = auto()
    """Upstream can't be reached, or gives no answer (in time), or none that makes sense."""
    CLIENT_CLOSED = auto()
    """The client has sent a close frame."""
    UPSTREAM_CLOSED = auto()
    CLIENT_VIOLATED = auto()
    """The client has sent what is no frame, or too much."""
    UPSTREAM_VIOLATED = auto()
    DRAINED = auto()
    """The proxy is to stop."""
    UNROUTED = auto()
    """The route that it came by is gone."""
    ALL_SAID = auto()
    """Nothing more passes in either direction."""
    CLIENT_SILENT = auto()
    """The client has not even answered a ping."""
    CLIENT_LOST = auto()
    """The client's connection is gone."""
    UPSTREAM_LOST = auto()
    EXPIRED = auto()
    """What was to happen has not happened in time."""


class Action(Enum):
    """What the adapter does about it, in this order."""

    ASK_UPSTREAM = auto()
    """Send the handshake."""
    DIAL_AGAIN = auto()
    """Make a new connection for it."""
    ACCEPT_CLIENT = auto()
    """Answer 101 as upstream has done, and let frames pass."""
    PASS_ANSWER = auto()
    """Pass upstream's own answer on, as any other's."""
    FINISH_ANSWER = auto()
    """End it."""
    REFUSE_CLIENT = auto()
    """Answer with what went wrong; if an answer has begun, cut it short."""
    GIVE_UP_UPSTREAM = auto()
    """Stop dialling, or close upstream's connection."""
    TELL_CLIENT = auto()
    """Send the client a close frame with the code of a violation, as soon as one may stand there.

    Nothing is done if nobody has violated the protocol, if the client has got a close frame, or if
    it has sent one itself: that is its peer's to answer.
    """
    TELL_UPSTREAM = auto()
    END_CLIENT = auto()
    """Close our half of the client's connection after what is on its way, and wait for theirs."""
    END_UPSTREAM = auto()
    ABORT_CLIENT = auto()
    """Close the client's connection now; that it is lost is the next event."""
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
"""Why an open bridge ends, in the words of logs and metrics: by the event that began its end."""

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
    # As if the offender had said close: what the other side has already said gets through, and
    # its answer is followed by ours.
    (_S.OPEN, _E.CLIENT_VIOLATED): (_S.CLOSING, (_A.TELL_UPSTREAM,)),
    (_S.OPEN, _E.UPSTREAM_VIOLATED): (_S.CLOSING, (_A.TELL_CLIENT,)),
    # No close frame of ours: browsers' pages connect again after a connection that just ended, but
    # JupyterLab not after 1000 and 1001, and the classic notebook after no close frame at all.
    (_S.OPEN, _E.DRAINED): (_S.ENDING, (_A.END_CLIENT, _A.END_UPSTREAM)),
    # Nor here: the page tries again, as behind any proxy whose server was stopped, and the answer
    # to that says what has become of the server.
    (_S.OPEN, _E.UNROUTED): (_S.ENDING, (_A.END_CLIENT, _A.END_UPSTREAM)),
    (_S.OPEN, _E.CLIENT_SILENT): (_S.OPEN, (_A.ABORT_CLIENT,)),
    (_S.OPEN, _E.CLIENT_LOST): (_S.UPSTREAM_CLOSING, (_A.END_UPSTREAM,)),
    (_S.OPEN, _E.UPSTREAM_LOST): (_S.CLIENT_CLOSING, (_A.END_CLIENT,)),
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
