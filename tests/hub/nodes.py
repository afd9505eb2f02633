"""Nodes of a hub's proxy on one table, whose server the test plays."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import capturedLogs, formatEvent

from ipyproxy.database.watch import AwayError
from ipyproxy.hub.api import ApiSite
from ipyproxy.hub.shared import SharedRoutes
from ipyproxy.hub.store import Use
from ipyproxy.hub.table import Change, Page
from tests.front import House
from tests.hub.played import TARGET, TOKEN, Answer, PlayedHub

LOGGER = "ipyproxy.hub.shared"


class Server:
    """What all nodes' tables are views of.

    :ivar changes: of each change, the path and what was said, None for a removal.
    :ivar away: why nothing is answered; empty: all is well.
    """

    def __init__(self) -> None:
        self.changes: list[tuple[str, dict[str, Any] | None]] = []
        self.used: dict[str, tuple[float, float]] = {}
        self.away = ""
        self.told: list[str] = []

    def there(self) -> set[str]:
        return {path for path, data in dict(self.changes).items() if data is not None}


class View:
    """The table of one node; see :class:`ipyproxy.hub.table.RoutesTable`. Pages have two rows."""

    def __init__(self, server: Server, seconds: Callable[[], float]) -> None:
        self._server = server
        self._seconds = seconds
        self.seen = 0
        self.is_behind = True
        self.interrupted = 0

    def _ask(self) -> None:
        if self._server.away:
            raise AwayError(self._server.away)

    def look(self, *, waits: bool = False) -> Page:
        self._ask()
        begins, self.is_behind = self.is_behind, False
        if begins:
            self.seen = 0
        some = self._server.changes[self.seen : self.seen + 2]
        self.seen += len(some)
        changes = [Change(self._use(path), data and dict(data)) for path, data in some]
        return Page(changes, begins, len(some) < 2)

    def _use(self, path: str) -> Use:
        active, person = self._server.used[path]
        return Use(path, self._seconds() - active, self._seconds() - person)

    def add(self, path: str, target: str, data: str) -> None:
        self._ask()
        self._server.used[path] = self._seconds(), float("-inf")
        self._server.changes.append((path, {"target": target, "said": data}))

    def remove(self, path: str) -> bool:
        self._ask()
        if path not in self._server.there():
            return False
        self._server.changes.append((path, None))
        return True

    def tell(self, uses: Iterable[Use]) -> None:
        self._ask()
        for use in uses:
            self._server.told.append(use.path)
            was, now = self._server.used[use.path], self._seconds()
            said = now - use.active_ago, now - use.person_ago
            self._server.used[use.path] = max(was[0], said[0]), max(was[1], said[1])

    def uses(self) -> list[Use]:
        self._ask()
        return [self._use(path) for path in self._server.there()]

    def ring(self) -> None:
        """Nobody waits here."""

    def interrupt(self) -> None:
        self.interrupted += 1

    def close(self) -> None:
        """There is nothing to let go of."""


class Node(PlayedHub):
    """One proxy of the fleet. All have one clock, and each its own loop."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.view = View(server, self.loop.seconds)
        self.run: Callable[[Callable[[], Any]], Deferred[Any]] = maybeDeferred
        self.shared = SharedRoutes(
            self.loop, self.work, self.view, "the table", self.routes, lambda: 1.0
        )
        self.api = House(loop=self.loop, site=ApiSite(self.loop, self.shared, TOKEN, self.figures))
        self.shared.start()
        self.loop.settle()

    def work(self, call: Callable[[], Any]) -> Deferred[Any]:
        return self.run(call)

    def hold(self) -> Callable[[], None]:
        """Let what is asked of the table wait, until what this gives is called."""
        waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []

        def later(call: Callable[[], Any]) -> Deferred[Any]:
            waiting.append((call, Deferred()))
            return waiting[-1][1]

        def go_on() -> None:
            self.run = maybeDeferred
            for call, result in waiting:
                maybeDeferred(call).chainDeferred(result)
            self.loop.settle()

        self.run = later
        return go_on

    def has(self, path: str) -> bool:
        return self.routes.get(path) is not None

    def told(self, seconds: float) -> list[str]:
        with capturedLogs() as events:
            self.wait(seconds)
        return [
            str(formatEvent(event)) for event in events if event["log_namespace"].startswith(LOGGER)
        ]


class Fleet:
    """Nodes on one table."""

    def __init__(self) -> None:
        self.server = Server()
        self.nodes = [Node(self.server), Node(self.server)]

    def wait(self, seconds: float) -> None:
        for node in self.nodes:
            node.wait(seconds)


def post(node: Node, path: str, target: str = TARGET) -> Answer:
    return node.call("POST", path, {"target": target})
