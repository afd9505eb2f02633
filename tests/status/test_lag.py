"""How late the reactor is, on a clock that the test moves."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from ipyproxy.records.statistics import Histogram
from ipyproxy.status.lag import EVERY, LoopLag, timed


def test_a_loop_that_calls_in_time_has_no_lag() -> None:
    clock = Clock()
    lag = LoopLag(clock)
    lag.start()
    clock.pump([EVERY] * 8)
    assert list(lag.recent) == pytest.approx([0.0] * 8)
    assert lag.late.count == 8


def test_a_loop_that_was_held_up_is_seen_to_be_late() -> None:
    clock = Clock()
    lag = LoopLag(clock)
    lag.start()
    clock.advance(EVERY + 0.75)
    clock.advance(EVERY)
    assert list(lag.recent) == pytest.approx([0.75, 0.0])
    assert lag.worst == pytest.approx(0.75)
    assert lag.late.seconds == pytest.approx(0.75)


def test_the_worst_is_that_of_the_last_minute_only() -> None:
    clock = Clock()
    lag = LoopLag(clock)
    assert lag.worst == 0.0
    lag.start()
    clock.advance(EVERY + 2.0)
    clock.pump([EVERY] * round(59 / EVERY))
    assert lag.worst == pytest.approx(2.0)
    clock.pump([EVERY] * round(2 / EVERY))
    assert lag.worst == pytest.approx(0.0)


def test_after_the_end_no_timer_is_left() -> None:
    clock = Clock()
    lag = LoopLag(clock)
    lag.start()
    clock.advance(EVERY)
    lag.stop()
    assert clock.getDelayedCalls() == []


def test_what_a_call_takes_is_counted_even_if_it_fails() -> None:
    clock, taken = Clock(), Histogram()

    def fail() -> None:
        clock.advance(2.0)
        raise ZeroDivisionError

    timed(lambda: clock.advance(1.0), taken, clock.seconds)()
    with pytest.raises(ZeroDivisionError):
        timed(fail, taken, clock.seconds)()
    assert (taken.count, taken.seconds) == (2, 3.0)
