"""Keeps open status pages up to date: draws their parts again and sends those that change.

Knows server-sent events (the HTML standard's section 9.2) and the viewers. It draws at most once a
second, and never without viewers. A viewer that does not read gets nothing more until it has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ipyproxy.clock import Clock, twisted_clock
from ipyproxy.errors import Problem
from ipyproxy.http1.lines import block_of
from ipyproxy.server.request import Request
from ipyproxy.status.facts import Facts, UpstreamFacts
from ipyproxy.status.page import general_parts, row, row_id, whole_page
from ipyproxy.web.pages import Page
from ipyproxy.web.resources import NOT_DONE_YET, Branch, send_problem

EVERY = 1.0
"""Seconds between two updates."""
QUIET = 15
"""Updates without news after which a viewer gets a comment, as a sign of life."""
MOST_VIEWERS = 16
MOST_REDRAWN = 100
"""Most rows that are drawn in one update, so that it does not block a busy host; others follow."""

_SINCE = re.compile(rb"[?&]since=([0-9]{1,15})(?:&|\Z)")
_LINES = [
    b"Content-Type: text/event-stream",
    b"Cache-Control: no-store",
    b"X-Content-Type-Options: nosniff",
    # Some proxies buffer small pieces.
    b"X-Accel-Buffering: no",
]


class Board:
    """The parts of the page as drawn last, and when each one changed last.

    Stamps are milliseconds since the epoch, so that one from before a restart is just old.
    """

    def __init__(self, look: Callable[[], Facts]) -> None:
        self._look = look
        self._parts: dict[str, str] = {}
        self._changed: dict[str, int] = {}
        self._rows: list[str] = []
        self._rows_changed = 0
        self._drawn: dict[str, tuple[UpstreamFacts, float]] = {}
        self._now = 0.0
        self.stamp = 0

    def draw(self) -> None:
        """Draw what has changed."""
        facts = self._look()
        self._now = facts.now
        # Two updates within a millisecond need different stamps.
        self.stamp = max(self.stamp + 1, int(facts.now * 1000))
        for name, part in general_parts(facts).items():
            self._put(name, part)
        self._draw_rows(facts)
        rows = [row_id(upstream) for upstream in facts.upstreams]
        if rows != self._rows:
            self._forget(set(rows))
            self._rows, self._rows_changed = rows, self.stamp

    def _draw_rows(self, facts: Facts) -> None:
        minute = facts.now // 60
        rows = [(row_id(one), one) for one in facts.upstreams]
        due = [(name, one) for name, one in rows if self._drawn.get(name) != (one, minute)]
        # New rows come first, then those that have waited longest.
        due.sort(key=lambda each: self._changed.get(each[0], 0))
        new = sum(name not in self._drawn for name, _ in due)
        for name, upstream in due[: max(new, MOST_REDRAWN)]:
            self._drawn[name] = upstream, minute
            self._put(name, row(upstream, facts.now))

    def _put(self, name: str, part: str) -> None:
        if self._parts.get(name) != part:
            self._parts[name] = part
            self._changed[name] = self.stamp

    def _forget(self, rows: set[str]) -> None:
        for name in self._drawn.keys() - rows:
            del self._drawn[name], self._parts[name], self._changed[name]

    def page(self) -> Page:
        """The whole page as it is now."""
        self.draw()
        return whole_page(self._parts, self._rows, self._now, self.stamp)

    def news(self, since: int) -> dict[str, Any] | None:
        """The parts that changed after the stamp ``since``; None if none did.

        ``rows`` has the ids of all rows in order, if that changed.
        """
        parts = {name: self._parts[name] for name, at in self._changed.items() if at > since}
        if self._rows_changed > since:
            return {"parts": parts, "rows": self._rows}
        return {"parts": parts} if parts else None


class Live(Branch):
    """The stream of news."""

    _log = Logger(namespace="ipyproxy.status.live")

    def __init__(self, reactor: Clock, board: Board) -> None:
        super().__init__()
        self.viewers: set[_Viewer] = set()
        self._board = board
        self._looking = LoopingCall(self._look)
        self._looking.clock = twisted_clock(reactor)

    def render(self, request: Request) -> int:
        """Begin to send news to one more viewer."""
        if request.method != b"GET":
            send_problem(request, Problem.METHOD_NOT_ALLOWED)
        elif len(self.viewers) >= MOST_VIEWERS:
            send_problem(request, Problem.OVERLOADED)
        else:
            self.viewers.add(_Viewer(self, request, self._known(_since(request))))
            if not self._looking.running:
                self._looking.start(EVERY)
        return NOT_DONE_YET

    def _known(self, since: int) -> int:
        """``since``, or 0 if it lies in the future because the clock was set back."""
        return since if since <= self._board.stamp else 0

    def leave(self, viewer: _Viewer) -> None:
        """Remove a viewer."""
        self.viewers.discard(viewer)
        if not self.viewers and self._looking.running:
            self._looking.stop()

    def close(self) -> None:
        """End all streams; browsers reconnect by themselves."""
        for viewer in list(self.viewers):
            viewer.end()

    def _look(self) -> None:
        try:
            self._board.draw()
            for viewer in list(self.viewers):
                viewer.tell(self._board)
        except Exception:
            # An exception that left this method would end the LoopingCall for good.
            self._log.failure("the status page could not be drawn; please report this")


class _Viewer:
    """One open page; a :class:`~ipyproxy.server.request.BodyConsumer` without a body."""

    def __init__(self, live: Live, request: Request, since: int) -> None:
        self._live = live
        self._request = request
        self._since = since
        self._quiet = 0
        request.consumer = self
        request.begin(200, b"OK", block_of(_LINES), None)
        request.flush()

    def tell(self, board: Board) -> None:
        """Send the news to this viewer, unless it has yet to read the last ones."""
        if self._request.transport.bytes_waiting:
            return
        news = board.news(self._since)
        self._since = board.stamp
        if news is not None:
            self._quiet = 0
            event = f"id: {board.stamp}\ndata: {json.dumps(news)}\n\n"
            self._request.write(event.encode("ascii"))
            return
        self._quiet += 1
        if self._quiet >= QUIET:
            self._quiet = 0
            self._request.write(b":\n\n")

    def end(self) -> None:
        """End the stream."""
        self._live.leave(self)
        self._request.consumer = None
        self._request.finish()

    def client_lost(self) -> None:
        """See :class:`ipyproxy.server.request.BodyConsumer`."""
        self._live.leave(self)

    def body_received(self, data: bytes) -> None:
        """See :class:`ipyproxy.server.request.BodyConsumer`; ignored."""

    def body_ended(self) -> None:
        """See :class:`ipyproxy.server.request.BodyConsumer`."""


def _since(request: Request) -> int:
    """The stamp of the page that a viewer has, as it says; 0 if none."""
    match = _SINCE.search(request.head.target)
    return int(match[1]) if match else 0
