"""The whole corpus, cut at every place: what TCP does to a request changes nothing about it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.corpus.outcome import outcome_of
from tests.corpus.requests import REQUESTS, SMUGGLED, Case


def cases(longest: int = 100_000) -> list[Any]:
    """The corpus, but for what is very long."""
    return [pytest.param(case, id=case.name) for case in REQUESTS if len(case.raw) <= longest]


def places(raw: bytes) -> range | list[int]:
    """Where to cut: everywhere, but only near both ends and the limits of what is very long."""
    if len(raw) < 1000:
        return range(1, len(raw.removesuffix(SMUGGLED)) + 2)
    limits = (256, 8192, 16384, 16388, 16448, len(raw))
    near = {at + step for at in limits for step in range(-4, 5)}
    return sorted(at for at in {*range(1, 90), *near} if 0 < at < len(raw))


@pytest.mark.parametrize("case", cases())
def test_a_request_is_taken_or_refused_and_nothing_is_smuggled(case: Case) -> None:
    outcome = outcome_of(case.raw)
    assert outcome.statuses == case.answers
    assert len(outcome.received) == case.answers.count(200)
    assert not [got for got in outcome.received if b"smuggled" in got.target]
    if {400, 414, 431, 501, 505}.intersection(case.answers):
        assert outcome.closed


@pytest.mark.parametrize("case", cases())
def test_it_does_not_matter_where_a_request_is_cut(case: Case) -> None:
    whole = outcome_of(case.raw)
    for at in places(case.raw):
        assert outcome_of(case.raw[:at], case.raw[at:]) == whole, f"cut at {at}"


@pytest.mark.parametrize("case", cases(longest=1000))
def test_a_request_may_come_byte_by_byte(case: Case) -> None:
    pieces = [case.raw[at : at + 1] for at in range(len(case.raw))]
    assert outcome_of(*pieces) == outcome_of(case.raw)


SHORT = [case.raw for case in REQUESTS if len(case.raw) < 1000]


@given(st.lists(st.sampled_from(SHORT), min_size=1, max_size=3), st.sets(st.integers(1, 600)))
def test_it_does_not_matter_how_a_conversation_is_cut(raws: list[bytes], cuts: set[int]) -> None:
    stream = b"".join(raws)
    edges = [0, *sorted(cuts), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(edges) if stream[start:end]]
    assert outcome_of(*pieces) == outcome_of(stream)
