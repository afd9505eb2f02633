"""The phases of a client's connection as a table: what each event does in each phase.

Knows phases and events. Knows nothing of sockets, bytes or time: the channel turns what happens
into events, and sets the deadline of the phase that follows.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Phase(Enum):
    """What a connection is doing."""

    HANDSHAKE = "TLS handshake"
    HEAD = "reading a head"
    EXCHANGE = "answering a request"
    IDLE = "waiting for a request"
    FLUSH = "waiting until the client has taken an answer"
    TUNNEL = "handed over"
    LINGER = "closing"

    # Enum's own __hash__ is written in Python, and every request needs it five times.
    __hash__ = object.__hash__


class Event(Enum):
    """What happens to a connection."""

    SECURED = "the TLS handshake is done"
    HEAD_BEGUN = "a part of a head has come"
    HEAD_READ = "a head is whole, or can't become one"
    ANSWERED = "the answer is written, and another request may follow"
    BACKED_UP = "the answer is written, but the client has yet to take it"
    TAKEN = "the client has taken all answers"
    LAST_ANSWERED = "the answer is written, and no request may follow"
    SWITCHED = "another protocol takes over"
    ENDED = "time is up, or something is broken"

    __hash__ = object.__hash__


_P, _E = Phase, Event

TABLE: Final[dict[Event, dict[Phase, Phase]]] = {
    _E.SECURED: {_P.HANDSHAKE: _P.HEAD},
    _E.HEAD_BEGUN: {_P.HANDSHAKE: _P.HEAD, _P.IDLE: _P.HEAD},
    _E.HEAD_READ: {_P.HANDSHAKE: _P.EXCHANGE, _P.HEAD: _P.EXCHANGE, _P.IDLE: _P.EXCHANGE},
    _E.ANSWERED: {_P.EXCHANGE: _P.IDLE},
    _E.BACKED_UP: {_P.EXCHANGE: _P.FLUSH},
    _E.TAKEN: {_P.FLUSH: _P.IDLE},
    _E.LAST_ANSWERED: {_P.EXCHANGE: _P.LINGER, _P.FLUSH: _P.LINGER},
    _E.SWITCHED: {_P.EXCHANGE: _P.TUNNEL},
    _E.ENDED: {
        _P.HANDSHAKE: _P.LINGER,
        _P.HEAD: _P.LINGER,
        _P.EXCHANGE: _P.LINGER,
        _P.IDLE: _P.LINGER,
        _P.FLUSH: _P.LINGER,
    },
}
"""For each event: from which phase to which one it leads. In all other phases it changes
nothing."""


def step(phase: Phase, event: Event) -> Phase:
    """The next phase after ``event`` in ``phase``."""
    return TABLE[event].get(phase, phase)
