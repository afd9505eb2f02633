"""When to ask: pure decisions on dates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyproxy.acme.renewal import (
    MOST_FAILURES_AN_HOUR,
    Attempts,
    Window,
    after_failure,
    may_try,
    renewal_time,
)

HOUR, DAY = 3600.0, 86400.0


@pytest.mark.parametrize(
    ("days", "from_day", "to_day"),
    [(90, 60, 61.8), (64, 42.6, 44), (45, 30, 30.9), (160 / 24, 3.33, 3.47)],
)
def test_without_a_word_of_the_authority_a_share_of_the_life(
    days: float, from_day: float, to_day: float
) -> None:
    earliest, latest = (renewal_time(0, days * DAY, None, share) / DAY for share in (0, 1))
    assert earliest == pytest.approx(from_day, abs=0.1)
    assert latest == pytest.approx(to_day, abs=0.1)


def test_its_word_counts_for_more() -> None:
    window = Window(10 * DAY, 12 * DAY)
    assert renewal_time(0, 90 * DAY, window, 0.5) == 11 * DAY


shares = st.floats(0, 1)
waits = st.floats(0, 30 * DAY)


@given(
    st.lists(st.tuples(st.floats(0, 2 * DAY), shares, waits, st.booleans()), max_size=60),
    st.floats(0, 90 * DAY),
)
def test_never_more_than_a_few_failures_an_hour(
    turns: list[tuple[float, float, float, bool]], left: float
) -> None:
    attempts, now, failed = Attempts(), 1e9, []
    for pause, share, retry_after, asked in turns:
        now += pause
        if may_try(attempts, now, asked=asked):
            failed.append(now)
            attempts = after_failure(
                attempts, now, "no", retry_after=retry_after, left=left, share=share
            )
    for at in failed:
        assert sum(at <= other < at + HOUR for other in failed) <= MOST_FAILURES_AN_HOUR


@given(st.integers(1, 30), shares, waits, waits)
def test_the_authority_is_left_alone_for_as_long_as_it_wants_but_not_for_ever(
    failures: int, share: float, retry_after: float, left: float
) -> None:
    attempts = Attempts(failures=failures)
    after = after_failure(attempts, 1e9, "no", retry_after=retry_after, left=left, share=share)
    assert after.not_before >= 1e9 + min(retry_after, 7 * DAY)
    assert after.not_before <= 1e9 + 7 * DAY + 1
    assert not may_try(after, 1e9 + 59)


def test_a_date_that_has_yet_to_come_is_no_reason_to_wait() -> None:
    after = after_failure(Attempts(), 5e9, "no", retry_after=0, left=0, share=0)
    assert may_try(after, 1e9)
    assert not may_try(after, 5e9 + 1)
