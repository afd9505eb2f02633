"""Figures of requests: what is counted, how long it is remembered, how near a quantile is."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyproxy.records.statistics import BOUNDS, MINUTES, Statistics, Tally, added, quantile
from ipyproxy.upstream.upstream import Upstream
from tests.upstreams import notebook

UPSTREAM, OTHER = notebook(10000, is_known=True), notebook(10001, is_known=True)


def tally(statistics: Statistics, upstream: Upstream | None = UPSTREAM) -> Tally:
    return statistics.tallies[upstream]


def counted(*durations: float) -> list[int]:
    statistics = Statistics(0)
    for duration in durations:
        statistics.add(UPSTREAM, 200, duration, 0, 0)
    return tally(statistics).durations.buckets


def test_requests_are_counted_by_class_with_their_bytes() -> None:
    statistics = Statistics(0)
    for status in (200, 204, 304, 404, 499, 500, 503, 999, 0):
        statistics.add(UPSTREAM, status, 0.01, 3, 5)
    of_port = tally(statistics)
    assert of_port.classes == [1, 0, 2, 1, 2, 2, 0, 0, 0, 1]
    assert (of_port.requests, of_port.errors) == (9, 3)
    assert (of_port.received, of_port.sent) == (27, 45)
    assert of_port.durations.count == 9
    assert of_port.durations.seconds == pytest.approx(0.09)


def test_upstreams_are_counted_apart_and_requests_for_none_too() -> None:
    statistics = Statistics(0)
    statistics.add(UPSTREAM, 200, 0.1, 0, 0)
    statistics.add(OTHER, 502, 0.1, 0, 0)
    statistics.add(None, 404, 0.1, 0, 0)
    assert {upstream: one.errors for upstream, one in statistics.tallies.items()} == {
        UPSTREAM: 0,
        OTHER: 1,
        None: 0,
    }


def test_a_bridge_is_counted_with_its_bytes_but_has_no_duration() -> None:
    statistics = Statistics(0)
    statistics.add(UPSTREAM, 101, 86400.0, 7, 9)
    of_port = tally(statistics)
    assert (of_port.requests, of_port.received, of_port.sent) == (1, 7, 9)
    assert (of_port.durations.count, of_port.durations.seconds) == (0, 0.0)


def test_each_minute_has_its_own_figures_for_an_hour() -> None:
    statistics = Statistics(600.0)
    statistics.add(UPSTREAM, 200, 0.1, 0, 0)
    statistics.tick(659.9)
    statistics.add(UPSTREAM, 500, 0.1, 0, 0)
    statistics.tick(660.0)
    statistics.add(UPSTREAM, 200, 0.1, 0, 0)
    statistics.tick(3000.0)
    assert statistics.minute == 50
    hour = tally(statistics).hour(50)
    assert hour.requests == [*[0] * 19, 2, 1, *[0] * 39]
    assert hour.errors == [*[0] * 19, 1, *[0] * 40]
    assert sum(hour.buckets) == 3


def test_what_is_older_than_an_hour_is_no_part_of_it() -> None:
    statistics = Statistics(0)
    for minute, duration in (0, 5.0), (1, 0.1):
        statistics.tick(60.0 * minute)
        statistics.add(UPSTREAM, 200, duration, 0, 0)
    assert quantile(tally(statistics).hour(59).buckets, 1.0) == 5.0
    statistics.tick(3600.0)
    statistics.add(UPSTREAM, 200, 0.1, 0, 0)
    hour = tally(statistics).hour(60)
    assert (hour.requests[0], hour.requests[-1], sum(hour.requests)) == (1, 1, 2)
    assert quantile(hour.buckets, 1.0) == pytest.approx(0.1)
    quiet = tally(statistics).hour(120)
    assert (sum(quiet.requests), sum(quiet.errors), sum(quiet.buckets)) == (0, 0, 0)


def test_no_more_minutes_are_kept_than_an_hour_has() -> None:
    statistics = Statistics(0)
    for minute in range(3 * MINUTES):
        statistics.tick(60.0 * minute)
        statistics.add(UPSTREAM, 200, 0.1, 0, 0)
    assert len(tally(statistics)._marks) == MINUTES
    assert tally(statistics).hour(3 * MINUTES - 1).requests == [1] * MINUTES
    assert tally(statistics).requests == 3 * MINUTES


def test_counts_of_several_are_added() -> None:
    both = added([counted(0.001, 5.0), counted(0.001)])
    assert sum(both) == 3
    assert max(both) == 2
    assert added([]) == []


def test_of_nothing_there_is_no_quantile() -> None:
    assert quantile([], 0.5) is None


def test_half_of_two_kinds_is_between_them_and_the_tail_is_seen() -> None:
    buckets = counted(*[0.004] * 98, 2.5, 2.5)
    assert quantile(buckets, 0.5) == pytest.approx(0.004, rel=0.25)
    assert quantile(buckets, 0.99) == pytest.approx(2.5, rel=0.25)


def test_what_lasts_longer_than_any_bound_counts_as_the_last() -> None:
    assert quantile(counted(1e6), 0.5) == BOUNDS[-1] == 700.0


@given(st.lists(st.tuples(st.integers(0, 200), st.sampled_from([200, 502])), max_size=80))
def test_an_hour_is_what_was_added_in_it(events: list[tuple[int, int]]) -> None:
    statistics = Statistics(0)
    statistics.add(UPSTREAM, 200, 0.1, 0, 0)
    events.sort()
    for minute, status in events:
        statistics.tick(60.0 * minute)
        statistics.add(UPSTREAM, status, 0.1, 0, 0)
    all_of_it = [(0, 200), *events]
    hour = tally(statistics).hour(200)
    for offset in range(MINUTES):
        in_minute = [status for minute, status in all_of_it if minute == 141 + offset]
        assert hour.requests[offset] == len(in_minute)
        assert hour.errors[offset] == in_minute.count(502)


@given(
    st.lists(st.floats(1e-4, BOUNDS[-1], exclude_min=True), min_size=1, max_size=200),
    st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]),
)
def test_a_quantile_is_within_the_bucket_of_the_true_one(
    durations: list[float], part: float
) -> None:
    true = sorted(durations)[math.ceil(part * len(durations) - 1e-9) - 1]
    read = quantile(counted(*durations), part)
    assert read is not None
    assert true / 1.5001 <= read <= true * 1.5001


def test_bounds_rise_by_no_more_than_half_and_hold_the_usual_ones() -> None:
    assert all(1 < b / a < 1.5001 for a, b in pairwise(BOUNDS))
    assert {0.001, 0.01, 0.1, 1.0, 10.0, 100.0} <= set(BOUNDS)


def test_a_port_where_nobody_ever_answered_has_no_figures_of_its_own() -> None:
    statistics = Statistics(0.0)
    upstreams = [notebook(port) for port in range(10000, 15000)]
    for upstream in upstreams:
        statistics.add(upstream, 503, 0.01, 0, 0)
    assert set(statistics.tallies) == {None}
    assert statistics.tallies[None].requests == 5000
    upstreams[0].is_known = True
    statistics.add(upstreams[0], 200, 0.01, 0, 0)
    assert statistics.tallies[upstreams[0]].requests == 1
