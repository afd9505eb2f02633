"""Pace: who moves too slowly is late, and nobody is late who is not expected to move."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipyproxy.net.pace import Pace


def pace(grace: float = 60.0, rate: int = 500) -> Pace:
    return Pace(grace, rate, 0.0)


def test_a_stream_gets_its_grace_before_anything_counts() -> None:
    stream = pace()
    assert not stream.is_late(59.0, 0, wanted=True)
    assert not stream.is_late(60.0, 1, wanted=True)


def test_a_stream_that_stands_still_is_late_after_its_grace() -> None:
    stream = pace()
    assert not stream.is_late(60.0, 0, wanted=True)
    assert stream.is_late(60.5, 0, wanted=True)


def test_a_stream_that_stops_is_late_after_its_grace() -> None:
    stream = pace()
    assert not stream.is_late(50.0, 10_000_000, wanted=True)
    assert not stream.is_late(110.0, 10_000_000, wanted=True)
    assert stream.is_late(110.5, 10_000_000, wanted=True)


def test_a_trickle_is_late_although_it_never_stops() -> None:
    stream = pace()
    verdicts = [stream.is_late(float(now), now, wanted=True) for now in range(1, 100)]
    assert verdicts.index(True) == 60  # at second 61, as soon as the rate counts


@pytest.mark.parametrize(("rate", "late"), [(499, True), (500, False), (501, False)])
def test_the_rate_is_the_floor(rate: int, late: bool) -> None:
    stream = pace()
    verdicts = [stream.is_late(float(now), now * rate, wanted=True) for now in range(1, 200)]
    assert any(verdicts) is late


def test_without_a_rate_only_standing_still_counts() -> None:
    stream = pace(rate=0)
    for now in range(1, 1000):
        assert not stream.is_late(float(now), now // 50, wanted=True)
    assert stream.is_late(1100.0, 999 // 50, wanted=True)


def test_a_stream_that_is_held_up_by_the_other_side_is_never_late() -> None:
    stream = pace()
    for now in range(1, 1000):
        assert not stream.is_late(float(now), 5, wanted=False)


def test_a_stream_that_was_held_up_begins_anew() -> None:
    stream = pace()
    assert not stream.is_late(59.0, 5, wanted=True)
    assert not stream.is_late(1000.0, 5, wanted=False)
    assert not stream.is_late(1060.0, 5, wanted=True)
    assert stream.is_late(1061.0, 5, wanted=True)


def test_a_count_that_begins_anew_is_another_stream() -> None:
    stream = pace()
    assert not stream.is_late(50.0, 1_000_000, wanted=True)
    assert not stream.is_late(100.0, 10, wanted=True)
    assert not stream.is_late(160.0, 10, wanted=True)
    assert stream.is_late(161.0, 10, wanted=True)


@given(st.lists(st.tuples(st.floats(0.1, 5.0), st.integers(0, 100)), max_size=60))
@example([(5.0, 100), (5.5, 100), *[(3.0, 1)] * 4])
def test_lateness_is_what_its_definition_says(steps: list[tuple[float, int]]) -> None:
    stream = pace(grace=10.0, rate=5)
    now, total = 0.0, 0
    moved, began, before = 0.0, 0.0, 0
    for seconds, count in steps:
        now, total = now + seconds, total + count
        if count:
            moved = now
        ends = now - began > 10.0
        slow = ends and total - before < 5 * (now - began)
        assert stream.is_late(now, total, wanted=True) is (now - moved > 10.0 or slow)
        if ends and not slow and now - moved <= 10.0:
            began, before = now, total


def test_a_burst_excuses_no_trickle() -> None:
    stream = pace()
    verdicts = [stream.is_late(float(now), 10_000_000 + now, wanted=True) for now in range(1, 200)]
    assert verdicts.index(True) == 121  # when the first span without a burst is over


def test_slow_is_whoever_has_kept_below_the_rate_for_two_seconds() -> None:
    stream = pace()
    for now, total, slow in [
        (1.0, 0, False),
        (2.0, 1000, True),
        (3.0, 5000, True),
        (4.0, 5000, False),
        (5.0, 5000, False),
        (6.0, 5999, True),
    ]:
        assert not stream.is_late(now, total, wanted=True)
        assert stream.is_slow is slow, now


def test_slow_is_nobody_who_is_not_expected_to_move() -> None:
    stream = pace()
    stream.is_late(2.0, 0, wanted=True)
    assert stream.is_slow
    stream.is_late(3.0, 0, wanted=False)
    assert not stream.is_slow
    stream.is_late(4.0, 0, wanted=True)
    assert not stream.is_slow


def test_without_a_rate_only_who_stands_still_is_slow() -> None:
    stream = pace(rate=0)
    stream.is_late(2.0, 0, wanted=True)
    assert stream.is_slow
    stream.is_late(4.0, 1, wanted=True)
    assert not stream.is_slow
