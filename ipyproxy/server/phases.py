"""The phases of a client's connection as a table: what each event does in each phase.

Knows phases and events. Knows nothing of sockets, bytes or time: the channel turns what happens
into events, and sets the deadline of the phase that follows.
"""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """What a connection is doing."""

    HANDSHAKE = "TLS handshake"
    HEAD = "reading a head"
    EXCHANGE = "answering a request"
    IDLE = "waiting for a request"
    FLUSH = "waiting until the client has taken an answer"
    TUNNEL = "handed over"
    LINGER = "closing"

    # Enum's own is written in Python, and every request needs it five times.
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

TABLE: dict[tuple[Phase, Event], Phase] = {
    (_P.HANDSHAKE, _E.SECURED): _P.HEAD,
    (_P.HANDSHAKE, _E.HEAD_BEGUN): _P.HEAD,
    (_P.HANDSHAKE, _E.HEAD_READ): _P.EXCHANGE,
    (_P.HANDSHAKE, _E.ENDED): _P.LINGER,
    (_P.HEAD, _E.HEAD_READ): _P.EXCHANGE,
    (_P.HEAD, _E.ENDED): _P.LINGER,
    (_P.EXCHANGE, _E.ANSWERED): _P.IDLE,
    (_P.EXCHANGE, _E.BACKED_UP): _P.FLUSH,
    (_P.EXCHANGE, _E.LAST_ANSWERED): _P.LINGER,
    (_P.EXCHANGE, _E.SWITCHED): _P.TUNNEL,
    (_P.EXCHANGE, _E.ENDED): _P.LINGER,
    (_P.IDLE, _E.HEAD_BEGUN): _P.HEAD,
    (_P.IDLE, _E.HEAD_READ): _P.EXCHANGE,
    (_P.IDLE, _E.ENDED): _P.LINGER,
    (_P.FLUSH, _E.TAKEN): _P.IDLE,
    (_P.FLUSH, _E.LAST_ANSWERED): _P.LINGER,
    (_P.FLUSH, _E.ENDED): _P.LINGER,
}
"""Phase and event to the next phase. What is not listed changes nothing."""


def step(phase: Phase, event: Event) -> Phase:
    """The next phase after ``event`` in ``phase``."""
    return TABLE.get((phase, event), phase)
