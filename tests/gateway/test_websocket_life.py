"""A WebSocket's whole life in any order of events: from the dial to the last byte, nothing is left.

The network and the clock are played, the rest is real, but for TLS.
"""

from __future__ import annotations

import errno
import gc
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import implementer

from ipyproxy.gateway.websocket import BridgeExchange
from ipyproxy.websocket.states import State
from tests.front import Browser
from tests.gateway.hall import HANDSHAKE, PORT, UPGRADE, Head, accept_for, ask
from tests.web.gate import Gate
from tests.wires import Wire
from tests.wsframes import BINARY, PING, PONG, TEXT, Frame, close

MASK = b"\x12\x34\x56\x78"
LARGE = bytes(200_000)
LONG_ENOUGH = 400.0
"""Seconds after which what is left over is a leak: all deadlines, one after another."""


class Story:
    """One WebSocket; every method but the last is something that the network may bring about."""

    def __init__(
        self, hall: Gate, exchanges: list[weakref.ref[BridgeExchange]], *, kept: bool
    ) -> None:
        self.hall = hall
        self.earlier = hall.connect()
        self.dialled: list[Wire] = []
        self.asked: dict[Wire, bytes] = {}
        if kept:
            ask(self.earlier)
            self.dial("succeeds")
            self.upstream_says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            self.dialled[0].hear()
        self.browser: Browser = hall.connect()
        ask(self.browser, *HANDSHAKE)
        self._exchange = exchanges[-1]

    @property
    def state(self) -> State:
        """Where the table has it; ``OPEN`` for all that comes from then on."""
        exchange = self._exchange()
        return State.CLOSED if exchange is None else exchange.state

    # The events.

    def dial(self, how: str) -> None:
        while self.hall.dialler.attempts:
            attempt = self.hall.dialler.next()
            if attempt.cancelled:
                continue
            if how == "succeeds":
                self.dialled.append(attempt.succeed())
            else:
                attempt.fail({"is refused": errno.ECONNREFUSED}.get(how, errno.ETIMEDOUT))
            break
        self.hall.loop.settle()

    def browser_says(self, data: bytes) -> None:
        self._say(self.browser.wire, data)

    def upstream_says(self, data: bytes) -> None:
        wire = self._upstream
        if wire is not None:
            self._say(wire, data)

    def upstream_answers(self, status: bytes, behind: bytes) -> None:
        """As a server does that has read the request."""
        wire = self._upstream
        if wire is None:
            return
        asked = self.asked[wire] = self.asked.get(wire, b"") + wire.hear()
        accept = b""
        if asked:
            accept = accept_for(Head(asked).one(b"sec-websocket-key"))
        lines = [b"HTTP/1.1 " + status, *UPGRADE, b"Sec-WebSocket-Accept: " + accept]
        self._say(wire, b"\r\n".join([*lines, b"", behind]))

    def somebody(self, who: str, does: str) -> None:
        wire = self.browser.wire if who == "browser" else self._upstream
        if wire is None or wire.is_closed:
            return
        if does == "takes nothing":
            wire.room = 0
        elif does == "takes all":
            wire.room = None
        else:
            getattr(wire, does)()
        self.hall.loop.settle()

    def wait(self, seconds: float) -> None:
        hall = self.hall
        hall.loop.pass_time(seconds, hall.server.sweep, hall.pool.sweep, hall.bridges.sweep)

    def drain(self, within: float) -> None:
        self.hall.bridges.drain(within)
        self.hall.loop.settle()

    @property
    def _upstream(self) -> Wire | None:
        return self.dialled[-1] if self.dialled else None

    @property
    def wires(self) -> list[Wire]:
        return [self.earlier.wire, self.browser.wire, *self.dialled]

    def _say(self, wire: Wire, data: bytes) -> None:
        if not (wire.is_closed or wire._peer_ended):
            wire.say(data)
            self.hall.loop.settle()

    # The end.

    def end(self) -> None:
        """Everybody falls silent, and that must be enough, but for what has no deadline.

        Who takes nothing is the kernel's to give up on, and a refusal may take its time as any
        answer may.
        """
        for attempt in self.hall.dialler.attempts:
            assert attempt.cancelled or self.state is State.DIALLING
        self.dial("takes too long")
        self.wait(LONG_ENOUGH)
        refused = self.state is State.REFUSED
        for wire in self.wires:
            if (wire.room == 0 or refused) and not wire.is_closed:
                wire.reset()
        self.hall.loop.settle()
        self.wait(LONG_ENOUGH)


FROM_BROWSER = [
    Frame(TEXT, b"hello", key=MASK).wire,
    Frame(BINARY, LARGE, key=MASK).wire,
    Frame(BINARY, LARGE, key=MASK).wire[:-1],
    Frame(PING, b"are you there?", key=MASK).wire,
    Frame(PONG, b"", key=MASK).wire,
    Frame(TEXT, b"not masked").wire,
    close(1000, key=MASK).wire,
    b"\x88",
]
FROM_UPSTREAM = [
    Frame(TEXT, b"hello").wire,
    Frame(BINARY, LARGE).wire,
    Frame(BINARY, LARGE).wire[:-1],
    Frame(PING, b"are you there?").wire,
    Frame(TEXT, b"masked", key=MASK).wire,
    close(1000).wire,
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nn",
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 2",
    b"\0",
]

happenings: st.SearchStrategy[Callable[[Story], None]] = st.one_of(
    st.sampled_from(["succeeds", "is refused", "takes too long"]).map(
        lambda how: lambda story: story.dial(how)
    ),
    st.sampled_from(FROM_BROWSER).map(lambda data: lambda story: story.browser_says(data)),
    st.sampled_from(FROM_UPSTREAM).map(lambda data: lambda story: story.upstream_says(data)),
    st.tuples(
        st.sampled_from([b"101 Yes", b"101 Yes\r\nUpgrade: h2c", b"200 OK"]),
        st.sampled_from([b"", FROM_UPSTREAM[0], b"\x81"]),
    ).map(lambda answer: lambda story: story.upstream_answers(*answer)),
    st.tuples(
        st.sampled_from(["browser", "upstream"]),
        st.sampled_from(["takes nothing", "takes all", "hang_up", "reset"]),
    ).map(lambda what: lambda story: story.somebody(*what)),
    st.sampled_from([1, 9, 50, 80]).map(lambda seconds: lambda story: story.wait(seconds)),
    st.sampled_from([0.0, 30.0]).map(lambda within: lambda story: story.drain(within)),
)
opened: list[Callable[[Story], None]] = [
    lambda story: story.dial("succeeds"),
    lambda story: story.upstream_answers(b"101 Yes", b""),
]


@settings(max_examples=200, deadline=None)
@given(st.booleans(), st.integers(0, 2), st.lists(happenings, max_size=15))
def live(
    reached: Counter[State],
    made: list[weakref.ref[BridgeExchange]],
    kept: bool,
    progress: int,
    events: list[Callable[[Story], None]],
) -> None:
    """One life. Each has its own hall, and nothing may be left in that."""
    raised: list[Any] = []
    start = BridgeExchange.start

    def watched(exchange: BridgeExchange) -> None:
        made.append(weakref.ref(exchange))
        start(exchange)

    @implementer(ILogObserver)
    def log(event: dict[str, Any]) -> None:
        if "log_failure" in event:
            raised.append(event)
        elif "error" in event:
            # Twisted remembers what is logged before logging begins: that is no leak of ours.
            event["error"].with_traceback(None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BridgeExchange, "start", watched)
        globalLogPublisher.addObserver(log)
        hall = Gate()
        story = Story(hall, made, kept=kept)
        for event in ([] if kept else opened[:progress]) + events:
            event(story)
        reached[story.state] += 1
        story.end()
        globalLogPublisher.removeObserver(log)

    assert not hall.loop.failures
    assert not raised
    assert all(wire.is_closed for wire in story.wires)
    assert hall.is_at_rest
    assert not hall.bridges.open
    assert not hall.server.channels
    assert not hall.loop.getDelayedCalls()
    assert not hall.loop._readers
    assert not hall.loop._writers
    upstream = hall.upstream(PORT)
    assert (upstream.open_work, upstream.bridges) == (0, set())
    assert len(hall.log) == kept + 1, "each request has its one line"


@pytest.mark.plain
def test_whatever_happens_nothing_is_left_and_nothing_raises() -> None:
    reached: Counter[State] = Counter()
    made: list[weakref.ref[BridgeExchange]] = []
    live(reached, made)
    gc.collect()
    assert not [ref for ref in made if ref() is not None], "somebody still waits for something"
    assert set(reached) > {State.DIALLING, State.OPENING, State.REFUSED, State.OPEN}
