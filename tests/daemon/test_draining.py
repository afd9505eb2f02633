"""The end of everything that is open: in its order, and none of it later than patience allows."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.protocol import Protocol

from ipyproxy.config import Config
from ipyproxy.daemon.components import make_components
from ipyproxy.daemon.draining import Drain, Patience
from ipyproxy.server.request import Request
from ipyproxy.upstream.tenancy import Tenants, nobody
from tests.front import Browser, House
from tests.wires import Loop


class Tunnel(Protocol):
    """Stands for a bridge: it stays until it is cut."""


class Bridges:
    """Stands for all bridges, and for the pool of their connections to notebooks."""

    def __init__(self) -> None:
        self.open: set[str] = set()
        self.told: list[float] = []

    def drain(self, within: float) -> None:
        self.told.append(within)

    def end_tunnels(self) -> None:
        self.open.clear()

    def close(self) -> None:
        """Of connections that wait there are none."""


class Ending:
    """A house whose drain is under way, with ``requests`` and ``tunnels`` open."""

    def __init__(
        self, requests: int = 0, tunnels: int = 0, *, patience: Patience, **limits: Any
    ) -> None:
        self.loop = Loop()
        self.house = House(loop=self.loop, **limits)
        self.bridges = Bridges()
        components = make_components(self.loop, self.loop, Config(), Tenants(nobody))
        self.components = components._replace(
            bridges=cast(Any, self.bridges), pool=cast(Any, self.bridges)
        )
        self.asking = [self._browser() for _ in range(requests)]
        self.requests = [self.house.desk.next() for _ in self.asking]
        self.tunnels = [self._browser() for _ in range(tunnels)]
        for _ in self.tunnels:
            self.house.desk.next().connection.hand_over(Tunnel())
        self.drain = Drain(self.loop, [self.house.server], self.components, patience)
        self.ended_at: list[float] = []
        self.began = self.loop.seconds()
        self.drain.done.addCallback(lambda _: self.ended_at.append(self.passed))

    def _browser(self) -> Browser:
        browser = self.house.connect()
        browser.get()
        return browser

    @property
    def passed(self) -> float:
        return round(self.loop.seconds() - self.began, 1)

    def wait(self, seconds: float) -> None:
        self.loop.pass_time(seconds, self.house.server.sweep)


def open_now(browsers: list[Browser]) -> int:
    return sum(browser.is_connected for browser in browsers)


def say_yes(request: Request) -> None:
    request.respond(200, b"OK", [], b"yes")


def test_with_nothing_open_it_is_done_at_once() -> None:
    ending = Ending(patience=Patience(30, 600))
    ending.loop.settle()
    assert ending.ended_at == [0.0]


def test_requests_have_their_time_and_then_it_is_done() -> None:
    ending = Ending(requests=2, patience=Patience(30, 0))
    say_yes(ending.requests[0])
    ending.wait(20)
    assert not ending.ended_at
    say_yes(ending.requests[1])
    ending.wait(1)
    assert len(ending.ended_at) == 1
    assert [status for status, *_ in ending.house.log] == [200, 200]


def test_a_request_that_takes_longer_is_cut_and_logged() -> None:
    ending = Ending(requests=1, patience=Patience(30, 0), body_timeout=3600.0)
    ending.wait(29)
    assert open_now(ending.asking) == 1
    ending.wait(2)
    assert open_now(ending.asking) == 0
    assert len(ending.ended_at) == 1
    assert len(ending.house.log) == 1


def test_without_patience_for_bridges_they_are_told_at_once_and_cut_with_the_requests() -> None:
    ending = Ending(tunnels=2, patience=Patience(30, 0))
    ending.wait(1)
    assert ending.bridges.told
    assert set(ending.bridges.told) == {0}
    ending.wait(28)
    assert open_now(ending.tunnels) == 2
    ending.wait(2)
    assert open_now(ending.tunnels) == 0
    assert len(ending.ended_at) == 1


def test_with_patience_bridges_are_left_alone_and_requests_are_not() -> None:
    ending = Ending(requests=1, tunnels=2, patience=Patience(30, 600), body_timeout=3600.0)
    ending.wait(31)
    assert (open_now(ending.asking), open_now(ending.tunnels)) == (0, 2)
    ending.wait(538)
    assert not ending.bridges.told
    ending.wait(2)
    # From now on they are told one after the other, so that the last one is in time.
    assert set(ending.bridges.told) == {30}
    ending.wait(58)
    assert open_now(ending.tunnels) == 2
    ending.wait(2)
    assert open_now(ending.tunnels) == 0
    assert len(ending.ended_at) == 1


def test_patience_that_is_shorter_than_the_spread_spreads_less() -> None:
    ending = Ending(tunnels=1, patience=Patience(30, 5))
    ending.wait(1)
    assert set(ending.bridges.told) == {5}


def test_it_can_be_hastened_to_an_end_now() -> None:
    ending = Ending(requests=1, tunnels=1, patience=Patience(30, 600))
    ending.wait(1)
    ending.drain.hasten(Patience(0, 0))
    ending.wait(1)
    assert open_now(ending.asking + ending.tunnels) == 0
    assert len(ending.ended_at) == 1
    ending.drain.hasten(Patience(0, 0))
    ending.wait(10)
    assert len(ending.ended_at) == 1


def test_it_waits_for_notebooks_of_bridges_whose_browsers_have_gone() -> None:
    """The line in the log is written when both sides are done."""
    ending = Ending(patience=Patience(30, 0))
    lingering = "lingering"
    ending.bridges.open.add(lingering)
    ending.wait(5)
    assert not ending.ended_at
    ending.bridges.open.remove(lingering)
    ending.wait(1)
    assert len(ending.ended_at) == 1


def test_notebooks_of_bridges_are_cut_too_when_it_is_late() -> None:
    ending = Ending(patience=Patience(3, 0))
    ending.bridges.open.add("lingering")
    ending.wait(2)
    assert not ending.ended_at
    ending.wait(2)
    assert len(ending.ended_at) == 1
