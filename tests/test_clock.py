"""Durations are measured by a clock that nobody sets, and dates follow the one that is set."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock, LoopingCall

import ipyproxy
import twisted
from ipyproxy.clock import SETTLED, Calendar, measure_durations

HOUR = 3600.0
SOURCES = Path(ipyproxy.__file__).parent
#: Where dates are made, each with why it is one.
DATES = {
    "daemon/components.py": "revocations, the status page",
    "daemon/gate.py": "links, sessions",
    "daemon/recording.py": "the access log",
    "daemon/certificates.py": "the ends of certificates, and when an authority was asked",
    "status/metrics.py": "when the machine was started",
    "cli/link.py": "a link's expiry",
    "files/sending.py": "whether a file has changed since the date that a browser names",
    "files/compressing.py": "whether a file was changed just now",
    "web/resources.py": "the field Date of an answer",
}


@pytest.mark.parametrize("kind", [EPollReactor, SelectReactor])
def test_all_of_twisted_26_10_takes_the_time_from_the_reactor_s_attribute(
    kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert twisted.__version__.startswith("26.10."), "look at Twisted's new source, then here"
    now, reactor = 50.0, kind()
    called: list[str] = []
    monkeypatch.setattr("time.monotonic", lambda: now)
    measure_durations(reactor)
    later = reactor.callLater(10, called.append, "later")
    looping = LoopingCall(called.append, "looping")
    looping.clock = reactor
    looping.start(4, now=False)
    assert later.getTime() == 60.0
    assert reactor.timeout() == 4.0
    # The real time of day, which a stock reactor would look at, is far ahead of this.
    reactor.runUntilCurrent()
    assert called == []
    now = 54.5
    reactor.runUntilCurrent()
    assert called == ["looping"]
    assert reactor.timeout() == 3.5
    later.reset(1)
    assert later.getTime() == 55.5
    now = 55.5
    reactor.runUntilCurrent()
    assert called == ["looping", "later"]
    looping.stop()


def test_no_other_place_asks_for_the_time_of_day() -> None:
    asking = set()
    for source in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "time.time":
                asking.add(str(source.relative_to(SOURCES)))
    assert asking == set(DATES)


class Two:
    """The reactor's clock, and one on the wall that is an hour of 2027."""

    def __init__(self) -> None:
        self.reactor = Clock()
        self.reactor.advance(100.0)
        self.ahead = 1_800_000_000.0
        self.calendar = Calendar(self.reactor.seconds, self.wall)

    def wall(self) -> float:
        return self.reactor.seconds() + self.ahead


class TestCalendar:
    def test_a_time_of_the_reactor_s_clock_has_a_date(self) -> None:
        clocks = Two()
        assert clocks.calendar.now() == 1_800_000_100.0
        assert clocks.calendar.date(40.0) == 1_800_000_040.0

    def test_small_corrections_move_no_date(self) -> None:
        clocks = Two()
        clocks.ahead += SETTLED / 2
        assert clocks.calendar.date(40.0) == 1_800_000_040.0

    @pytest.mark.parametrize("step", [HOUR, -HOUR, -90.0])
    def test_when_the_clock_is_set_past_dates_move_and_ages_stay(self, step: float) -> None:
        clocks = Two()
        clocks.ahead += step
        assert clocks.calendar.date(40.0) == 1_800_000_040.0 + step
        assert clocks.calendar.now() - clocks.calendar.date(40.0) == 60.0


def test_the_unit_starts_after_the_clock_is_set() -> None:
    unit = (SOURCES.parent / "etc" / "ipyproxy.service").read_text()
    after = next(line for line in unit.splitlines() if line.startswith("After="))
    assert "time-sync.target" in after.split()
