"""Routes follow the containers: how often they are listed, and what happens when that fails."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from ipyproxy.containers.engine import Engine, EngineError, _explain, _numbers
from ipyproxy.containers.watcher import Watcher
from ipyproxy.net.address import UNIXPath
from ipyproxy.routes.route import Route
from tests.containers.test_labels import container, port


class PlayedEngine(Engine):
    """An engine whose answers the test plays."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, UNIXPath("/run/docker.sock"))
        self.listed: list[object] = []
        self.lists = 0
        self.asked = 0
        self.is_away = False
        self.tells_events = True
        self.heard: Any = None
        self.ended: Deferred[None] = Deferred()

    async def version(self) -> str:
        self.asked += 1
        if self.is_away:
            raise EngineError("Connection refused")
        return "1.41"

    async def containers(self, version: str) -> list[object]:
        self.lists += 1
        return self.listed

    def events(self, version: str, happened: Any) -> Deferred[None]:
        if not self.tells_events:
            return fail(EngineError("it answers 403 to GET /events"))
        self.heard, self.ended = happened, Deferred()
        happened()
        return self.ended

    def go_away(self) -> None:
        self.is_away = True
        self.ended.errback(EngineError("it tells of nothing more"))


class Table:
    """Routes by place."""

    def __init__(self) -> None:
        self.routes: dict[tuple[bytes, bytes], object] = {}
        self.notebooks = b"/ipython"

    def at(self, host: bytes, path: bytes) -> object | None:
        return self.routes.get((host, path))

    def put(self, host: bytes, path: bytes, route: Route) -> object:
        if path == self.notebooks:
            raise ValueError(f"{path.decode()} belongs to the notebooks")
        self.routes[host, path] = route
        return route

    def remove(self, host: bytes, path: bytes) -> None:
        del self.routes[host, path]


class Watched:
    def __init__(self) -> None:
        self.clock = Clock()
        self.engine = PlayedEngine(self.clock)
        self.table = Table()
        self.watcher = Watcher(self.clock, self.engine, self.table)

    def wait(self, seconds: float, step: float = 0.05) -> None:
        for _ in range(round(seconds / step)):
            self.clock.advance(step)

    def paths(self) -> list[str]:
        return sorted(path.decode() for _, path in self.table.routes)


@pytest.fixture
def watched() -> Watched:
    made = Watched()
    made.engine.listed = [container("lab", port(1), path="/lab")]
    made.watcher.start()
    made.wait(1)
    return made


def test_what_is_there_has_its_route_and_goes_with_its_container(watched: Watched) -> None:
    assert watched.paths() == ["/lab"]
    watched.engine.listed.append(container("two", port(1), path="/two"))
    watched.engine.heard()
    watched.wait(0.5)
    assert watched.paths() == ["/lab", "/two"]
    del watched.engine.listed[0]
    watched.engine.heard()
    watched.wait(0.5)
    assert watched.paths() == ["/two"]


def test_however_much_happens_it_lists_no_more_than_four_times_a_second(watched: Watched) -> None:
    before = watched.engine.lists
    for _ in range(1000):
        watched.engine.heard()
        watched.clock.advance(0.01)
    assert 20 <= watched.engine.lists - before <= 42


def test_it_looks_once_a_minute_even_if_nothing_is_told(watched: Watched) -> None:
    watched.engine.listed.clear()
    watched.wait(59)
    assert watched.paths() == ["/lab"]
    watched.wait(3)
    assert watched.paths() == []


def test_while_the_engine_is_away_the_routes_stay_and_that_is_told_once(watched: Watched) -> None:
    with capturedLogs() as events:
        watched.engine.go_away()
        asked = watched.engine.asked
        watched.wait(600)
    assert watched.paths() == ["/lab"]
    assert 15 <= watched.engine.asked - asked <= 30
    told = [event for event in events if "cannot be listed" in (event["log_format"] or "")]
    assert [event["why"] for event in told] == ["it tells of nothing more", "Connection refused"]
    watched.engine.is_away = False
    watched.engine.listed = [container("two", port(1), path="/two")]
    watched.wait(40)
    assert watched.paths() == ["/two"]
    assert watched.watcher.trouble is None


def test_without_events_they_are_listed_now_and_then(watched: Watched) -> None:
    watched.engine.tells_events = False
    watched.engine.ended.errback(EngineError("it tells of nothing more"))
    watched.engine.listed = [container("two", port(1), path="/two")]
    before = watched.engine.lists
    with capturedLogs() as events:
        watched.wait(300)
    assert watched.paths() == ["/two"]
    assert watched.engine.lists - before <= 20
    told = [event for event in events if "cannot be listed" in (event["log_format"] or "")]
    assert len(told) == 2


def test_what_is_anothers_stays_anothers(watched: Watched) -> None:
    theirs = object()
    watched.table.routes[b"", b"/hub"] = theirs
    watched.engine.listed += [
        container("a", port(1), path="/hub"),
        container("b", port(1), path="/ipython"),
    ]
    with capturedLogs() as events:
        watched.engine.heard()
        watched.wait(300)
    assert watched.table.routes[b"", b"/hub"] is theirs
    assert watched.paths() == ["/hub", "/lab"]
    told = [event["refusal"] for event in events if "refusal" in event]
    assert told == [
        "the container a gets no route: another route stands at /hub",
        "the container b gets no route: /ipython belongs to the notebooks",
    ]
    watched.watcher.stop()
    assert watched.paths() == ["/hub", "/lab"]
    watched.watcher.leave()
    assert watched.paths() == ["/hub"]
    asked = watched.engine.lists
    watched.wait(300)
    assert watched.engine.lists == asked


def test_what_routes_may_have_is_judged_again(watched: Watched) -> None:
    watched.engine.listed.append(container("b", port(1), path="/ipython"))
    watched.engine.heard()
    watched.wait(1)
    watched.engine.go_away()  # the engine is not needed for that
    watched.table.notebooks = b"/lab"
    with capturedLogs() as events:
        watched.watcher.judge()
        watched.watcher.judge()
    assert watched.paths() == ["/ipython"]
    assert [event["refusal"] for event in events if "refusal" in event] == [
        "the container lab gets no route: /lab belongs to the notebooks"
    ]


@pytest.mark.parametrize("question", ["version", "containers"])
def test_whatever_is_asked_when_it_stops_is_not_gone_on_with(
    watched: Watched, question: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that is given up says so as any other that fails does."""
    if question == "version":
        watched.engine.go_away()
        watched.wait(0.5)
        watched.engine.is_away = False

    async def given_up(*_: object) -> object:
        return await never.addErrback(_explain)

    never: Deferred[Any] = Deferred()
    monkeypatch.setattr(watched.engine, question, given_up)
    watched.engine.heard()
    watched.wait(2)
    with capturedLogs() as events:
        watched.watcher.stop()
        watched.watcher.leave()
        monkeypatch.undo()
        watched.wait(300)
    assert watched.paths() == []
    assert not [event for event in events if "cannot be listed" in event["log_format"]]
    assert not watched.clock.getDelayedCalls()


def test_the_version_is_the_newest_that_both_know() -> None:
    class Told(Engine):
        async def _whole(self, path: str) -> bytes:
            assert path == "/version"
            return self.said

        said = b""

    for said, version in (
        (b'{"ApiVersion": "1.41", "MinAPIVersion": "1.12"}', "1.41"),
        (b'{"ApiVersion": "1.52", "MinAPIVersion": "1.44"}', "1.47"),
        (b'{"ApiVersion": "1.99", "MinAPIVersion": "1.60"}', "1.60"),
        (b'{"ApiVersion": "1.41", "MinAPIVersion": "4.0.0"}', "1.41"),
        (b'{"ApiVersion": "1.41"}', "1.41"),
    ):
        engine = Told(Clock(), UNIXPath("/x"))
        engine.said = said
        results: list[str] = []
        Deferred.fromCoroutine(engine.version()).addCallback(results.append)
        assert results == [version]
    for nonsense in (None, "", "1", "1.x", "1.²", 7, "v1.41"):
        with pytest.raises(EngineError):
            _numbers(nonsense)
