"""The life of an upstream: the table of its states, and whether a request is sent to it."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ipyproxy.upstream.states import TABLE, Event, Outcome, State, step
from ipyproxy.upstream.upstream import STARTING_FOR, TRIAL_GAP, Upstream
from tests.upstream.observed import ANSWERED, MISSED, NOW, REFUSED, Bridge, told
from tests.upstreams import notebook

DOCUMENT = Path(__file__).parents[2] / "docs" / "health.md"

HUNG_UP, SILENT = Outcome.HUNG_UP, Outcome.SILENT


def diagram() -> str:
    """The table as a state diagram of mermaid's."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.UNKNOWN.value}"]
    for (before, event), after in TABLE.items():
        lines.append(f"    {before.value} --> {after.value}: {event.name.lower()}")
    return "\n".join([*lines, "```", ""])


def test_the_documentation_shows_this_table() -> None:
    assert diagram() in DOCUMENT.read_text(encoding="utf-8"), f"put this there:\n{diagram()}"


def forgotten(upstream: Upstream) -> Upstream:
    upstream.forget(NOW)
    return upstream


class TestTable:
    @pytest.mark.parametrize("state", State)
    def test_what_answers_is_up_whatever_was_believed(self, state: State) -> None:
        assert step(state, Event.ROSE) is State.UP

    @pytest.mark.parametrize("state", State)
    def test_what_nobody_wants_is_unknown(self, state: State) -> None:
        assert step(state, Event.FORGOTTEN) is State.UNKNOWN

    @pytest.mark.parametrize("event", [Event.REFUSED, Event.FELL])
    def test_only_what_was_there_dies_at_once(self, event: Event) -> None:
        assert step(State.UP, event) is State.DEAD
        assert step(State.BUSY, event) is State.DEAD
        assert step(State.UNKNOWN, event) is State.STARTING
        assert step(State.STARTING, event) is State.STARTING
        assert step(State.DEAD, event) is State.DEAD

    @pytest.mark.parametrize("state", State)
    def test_what_takes_connections_is_busy_and_never_dead(self, state: State) -> None:
        assert step(state, Event.SILENT) is State.BUSY

    @pytest.mark.parametrize("state", set(State) - {State.DEAD})
    def test_what_hangs_up_on_everybody_is_starting(self, state: State) -> None:
        assert step(state, Event.HUNG_UP) is State.STARTING

    def test_what_has_been_starting_for_too_long_does_not_start_again(self) -> None:
        assert step(State.DEAD, Event.HUNG_UP) is State.DEAD

    def test_starting_ends_and_so_may_being_busy(self) -> None:
        assert step(State.STARTING, Event.OVERDUE) is State.DEAD
        assert step(State.BUSY, Event.OVERDUE) is State.DEAD

    def test_nothing_else_is_ever_overdue(self) -> None:
        for state in set(State) - {State.STARTING, State.BUSY}:
            assert step(state, Event.OVERDUE) is state

    def test_every_line_changes_something(self) -> None:
        assert all(after is not before for (before, _), after in TABLE.items())

    def test_every_state_can_be_reached_and_left(self) -> None:
        assert set(TABLE.values()) == set(State)
        assert {before for before, _ in TABLE} == set(State)


class TestObserve:
    def test_nothing_is_known_at_first(self) -> None:
        assert notebook(10000).state is State.UNKNOWN

    def test_one_refusal_is_enough(self) -> None:
        assert told(REFUSED).state is State.STARTING
        assert told(ANSWERED, REFUSED).state is State.DEAD

    def test_an_answer_is_enough(self) -> None:
        assert told(ANSWERED).state is State.UP
        assert told(REFUSED, ANSWERED).state is State.UP
        assert told(ANSWERED, REFUSED, ANSWERED).state is State.UP

    @pytest.mark.parametrize("fall", [1, 2, 3, 7])
    def test_it_takes_so_many_misses_in_a_row_to_fall(self, fall: int) -> None:
        upstream = told(ANSWERED, *[MISSED] * (fall - 1), fall=fall)
        assert upstream.state is State.UP
        assert told(MISSED, upstream=upstream, fall=fall).state is State.DEAD

    def test_an_answer_between_misses_starts_the_count_again(self) -> None:
        assert told(ANSWERED, MISSED, MISSED, ANSWERED, MISSED, MISSED).state is State.UP

    @pytest.mark.parametrize("rise", [1, 2, 5])
    def test_it_takes_so_many_answers_in_a_row_to_rise(self, rise: int) -> None:
        upstream = told(ANSWERED, REFUSED)
        told(*[ANSWERED] * (rise - 1), upstream=upstream, rise=rise)
        assert upstream.state is State.DEAD
        assert told(ANSWERED, upstream=upstream, rise=rise).state is State.UP

    def test_a_miss_between_answers_starts_the_count_again(self) -> None:
        upstream = told(ANSWERED, REFUSED)
        told(ANSWERED, MISSED, ANSWERED, upstream=upstream, rise=2)
        assert upstream.state is State.DEAD

    @pytest.mark.parametrize("before", [(), (ANSWERED,), (REFUSED,), (ANSWERED, REFUSED)])
    def test_one_that_takes_connections_is_busy_however_long(
        self, before: tuple[Outcome, ...]
    ) -> None:
        upstream = told(*before, SILENT)
        assert upstream.state is State.BUSY
        told(*[SILENT] * 100, upstream=upstream, at=NOW + 86400)
        assert (upstream.state, upstream.since) == (State.BUSY, NOW)

    def test_one_that_keeps_what_is_open_is_busy_though_it_takes_no_more(self) -> None:
        upstream = told(ANSWERED)
        upstream.bridges.add(Bridge())
        assert told(MISSED, MISSED, MISSED, upstream=upstream).state is State.BUSY
        upstream.bridges.clear()
        assert told(MISSED, MISSED, MISSED, upstream=upstream).state is State.DEAD

    def test_silence_kills_only_after_the_time_that_somebody_chose(self) -> None:
        upstream = told(ANSWERED)
        for seconds in (0, 10, 19.9):
            upstream.observe(SILENT, NOW + seconds, fall=3, rise=1, patience=20)
            assert upstream.state is State.BUSY
        for seconds in (20, 25, 500):
            upstream.observe(SILENT, NOW + seconds, fall=3, rise=1, patience=20)
            assert upstream.state is State.DEAD
        upstream.observe(ANSWERED, NOW + 600, fall=3, rise=1, patience=20)
        upstream.observe(SILENT, NOW + 610, fall=3, rise=1, patience=20)
        assert upstream.state is State.BUSY

    def test_one_that_hangs_up_at_once_is_starting_and_then_dead(self) -> None:
        upstream = told(HUNG_UP)
        assert upstream.state is State.STARTING
        told(HUNG_UP, upstream=upstream, at=NOW + STARTING_FOR)
        assert (upstream.state, upstream.refuses) == (State.DEAD, True)
        told(HUNG_UP, upstream=upstream, at=NOW + STARTING_FOR + 1)
        assert (upstream.state, upstream.refuses) == (State.DEAD, True)

    def test_one_that_has_answered_requests_is_there_though_it_hangs_up(self) -> None:
        upstream = told(ANSWERED)
        upstream.answered_at = NOW
        assert told(HUNG_UP, upstream=upstream).state is State.BUSY

    def test_an_answer_from_before_it_died_proves_nothing(self) -> None:
        upstream = told(ANSWERED)
        upstream.answered_at = NOW
        assert told(SILENT, upstream=upstream).has_answered
        assert not told(REFUSED, upstream=upstream).has_answered

    def test_one_that_never_answered_is_starting_even_if_it_hangs(self) -> None:
        assert told(MISSED, MISSED, MISSED).state is State.STARTING

    def test_it_starts_for_so_long_and_no_longer(self) -> None:
        upstream = told(REFUSED)
        told(REFUSED, upstream=upstream, at=NOW + STARTING_FOR - 0.1)
        assert upstream.state is State.STARTING
        assert told(REFUSED, upstream=upstream, at=NOW + STARTING_FOR).state is State.DEAD

    def test_time_alone_kills_nobody(self) -> None:
        upstream = told(REFUSED)
        assert told(ANSWERED, upstream=upstream, at=NOW + 2 * STARTING_FOR).state is State.UP

    def test_it_says_since_when(self) -> None:
        upstream = told(ANSWERED)
        told(ANSWERED, MISSED, upstream=upstream, at=NOW + 5)
        assert upstream.since == NOW
        assert told(REFUSED, upstream=upstream, at=NOW + 6).since == NOW + 6

    def test_one_that_is_forgotten_may_start_anew(self) -> None:
        assert told(REFUSED, upstream=forgotten(told(ANSWERED, REFUSED))).state is State.STARTING

    def test_misses_from_before_it_was_forgotten_do_not_count(self) -> None:
        upstream = forgotten(told(ANSWERED, MISSED, MISSED))
        assert told(MISSED, upstream=upstream).state is State.UNKNOWN


class TestAdmit:
    @pytest.mark.parametrize("outcomes", [(), (ANSWERED,), (MISSED, MISSED), (ANSWERED, MISSED)])
    def test_a_request_is_sent_unless_it_is_known_to_be_down(
        self, outcomes: tuple[Outcome, ...]
    ) -> None:
        upstream = told(*outcomes)
        assert upstream.admit(NOW)
        assert upstream.admit(NOW)
        assert upstream.last_activity == NOW

    @pytest.mark.parametrize("outcomes", [(REFUSED,), (ANSWERED, REFUSED)])
    def test_one_request_at_a_time_tries_a_port_that_refuses(
        self, outcomes: tuple[Outcome, ...]
    ) -> None:
        upstream = told(*outcomes)
        upstream.tried_at = NOW
        tried = []
        for tenth in range(1, 13):
            if upstream.admit(NOW + tenth / 10):
                tried.append(tenth)
                told(REFUSED, upstream=upstream)
        assert tried == [5, 10]

    def test_no_other_tries_before_the_first_has_told(self) -> None:
        upstream = told(ANSWERED, REFUSED)
        assert upstream.admit(NOW)
        assert not upstream.admit(NOW + 3600)

    @pytest.mark.parametrize("outcomes", [(MISSED,) * 3, (ANSWERED, *(MISSED,) * 3)])
    def test_no_request_tries_one_that_hangs(self, outcomes: tuple[Outcome, ...]) -> None:
        assert not told(*outcomes).admit(NOW + 3600)

    @pytest.mark.parametrize(
        "outcomes", [(SILENT,), (ANSWERED, SILENT), (ANSWERED, REFUSED, SILENT)]
    )
    def test_a_busy_one_is_sent_all_requests(self, outcomes: tuple[Outcome, ...]) -> None:
        upstream = told(*outcomes)
        assert [upstream.admit(NOW) for _ in range(10)] == [True] * 10

    def test_one_request_at_a_time_tries_one_that_hangs_up(self) -> None:
        upstream = told(HUNG_UP)
        assert [upstream.admit(NOW + 1) for _ in range(5)] == [True, *[False] * 4]

    def test_one_that_hung_and_now_refuses_is_tried(self) -> None:
        upstream = told(ANSWERED, MISSED, MISSED, MISSED)
        assert told(REFUSED, upstream=upstream).admit(NOW + TRIAL_GAP)

    def test_a_request_that_is_not_sent_is_no_activity(self) -> None:
        upstream = told(ANSWERED, MISSED, MISSED, MISSED)
        upstream.admit(NOW)
        assert upstream.last_activity == 0.0


@given(st.lists(st.sampled_from(Event), max_size=30))
def test_the_table_alone_never_calls_dead_what_never_answered_before_it_is_overdue(
    events: list[Event],
) -> None:
    state, may_be_dead = State.UNKNOWN, False
    for event in events:
        before, state = state, step(state, event)
        if event is Event.FORGOTTEN:
            may_be_dead = False
        may_be_dead |= before in (State.UP, State.BUSY) or (before, event) == (
            State.STARTING,
            Event.OVERDUE,
        )
        assert state is not State.DEAD or may_be_dead


class Life(RuleBasedStateMachine):
    """Any order of outcomes, requests and time, held against what they add up to."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.upstream = notebook(10000)
        self.seen: list[Outcome] = []
        self.sent: list[float] = []
        self.trying = False

    @rule(outcome=st.sampled_from(Outcome))
    def observe(self, outcome: Outcome) -> None:
        told(outcome, upstream=self.upstream, at=self.now, fall=3, rise=2)
        self.seen.append(outcome)
        self.trying = False

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.seen)
    @rule()
    def forget(self) -> None:
        self.upstream.forget(self.now)
        self.seen.clear()
        self.trying = False

    @rule()
    def request(self) -> None:
        down = self.upstream.is_down
        if self.upstream.admit(self.now) and down:
            assert not self.trying
            self.trying = True
            self.sent.append(self.now)

    @invariant()
    def a_refusal_is_believed_at_once(self) -> None:
        if self.seen and self.seen[-1] in (REFUSED, HUNG_UP):
            assert self.upstream.is_down
            assert self.upstream.refuses or self.trying

    @invariant()
    def two_answers_are_believed_at_once(self) -> None:
        if self.seen[-2:] == [ANSWERED] * 2:
            assert self.upstream.state is State.UP

    @invariant()
    def whoever_takes_connections_is_not_down(self) -> None:
        if self.seen and self.seen[-1] is SILENT:
            assert self.upstream.state is State.BUSY
            assert self.upstream.admit(self.now)

    @invariant()
    def three_misses_are_believed_at_once(self) -> None:
        if self.seen[-3:] == [MISSED] * 3:
            assert self.upstream.is_down
            assert not self.upstream.admit(math.inf)

    @invariant()
    def dead_was_up_or_has_been_starting(self) -> None:
        if self.upstream.state is State.DEAD:
            assert self.upstream.since <= self.now
            assert self.seen

    @invariant()
    def nothing_seen_is_nothing_known(self) -> None:
        assert self.seen or self.upstream.state is State.UNKNOWN

    @invariant()
    def one_request_at_a_time_tries(self) -> None:
        for earlier, later in itertools.pairwise(self.sent):
            assert later - earlier >= TRIAL_GAP


TestLife = Life.TestCase
