"""The table of a bridge's life: it is complete, it always ends, and the documentation has it."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from ipyproxy.gateway.websocket import _DEEDS
from ipyproxy.websocket.states import ENDS, TABLE, Action, Event, State, step

DOCUMENT = Path(__file__).parents[2] / "docs" / "bridge.md"

EARLY = (State.DIALLING, State.OPENING, State.REFUSED)
LOSSES = (Event.CLIENT_LOST, Event.UPSTREAM_LOST)
BOTH_THERE = (State.OPEN, State.CLOSING, State.ENDING)


def test_what_is_not_in_the_table_changes_nothing() -> None:
    for state, event in product(State, Event):
        if (state, event) not in TABLE:
            assert step(state, event) == (state, ())


def test_closed_is_final() -> None:
    assert not [event for event in Event if (State.CLOSED, event) in TABLE]


# Until both handshakes are done.


def test_frames_pass_only_after_upstream_was_asked_and_has_accepted() -> None:
    ways = [(before, event) for (before, event), (after, _) in TABLE.items() if after is State.OPEN]
    assert [way for way in ways if way[0] is not State.OPEN] == [(State.OPENING, Event.ACCEPTED)]
    asking = [after for after, actions in TABLE.values() if Action.ASK_UPSTREAM in actions]
    assert asking == [State.OPENING]


@pytest.mark.parametrize("state", EARLY)
def test_whatever_goes_wrong_before_that_is_an_answer(state: State) -> None:
    assert step(state, Event.FAILED) == (State.CLOSED, (Action.REFUSE_CLIENT,))


@pytest.mark.parametrize("state", EARLY)
def test_a_client_that_leaves_before_that_leaves_nothing_behind(state: State) -> None:
    assert step(state, Event.CLIENT_LOST) == (State.CLOSED, (Action.GIVE_UP_UPSTREAM,))


def test_every_state_can_be_reached_and_left() -> None:
    reached, found = set(), {State.DIALLING}
    while found:
        reached |= found
        found = {after for (before, _), (after, _) in TABLE.items() if before in found} - reached
    assert reached == set(State)
    assert {before for before, _ in TABLE} == set(State) - {State.CLOSED}


def test_each_action_is_carried_out_by_one_adapter() -> None:
    early = {action for (state, _), (_, done) in TABLE.items() if state in EARLY for action in done}
    late = {a for (state, _), (_, done) in TABLE.items() if state not in EARLY for a in done}
    assert early == set(_DEEDS)
    assert not early & late
    assert early | late == set(Action)


# From the 101 on.


@pytest.mark.parametrize("losses", [LOSSES, LOSSES[::-1]])
@pytest.mark.parametrize("state", BOTH_THERE)
def test_when_both_connections_are_gone_it_is_over(state: State, losses: tuple[Event, ...]) -> None:
    for event in losses:
        state, _ = step(state, event)
    assert state is State.CLOSED


def test_nothing_but_a_loss_takes_a_connection_off_the_books() -> None:
    there = {
        State.OPEN: {"client", "upstream"},
        State.CLOSING: {"client", "upstream"},
        State.ENDING: {"client", "upstream"},
        State.CLIENT_CLOSING: {"client"},
        State.UPSTREAM_CLOSING: {"upstream"},
        State.CLOSED: set(),
    }
    lost = {Event.CLIENT_LOST: {"client"}, Event.UPSTREAM_LOST: {"upstream"}}
    for state, event in product(there, Event):
        after, _ = step(state, event)
        assert there[after] == there[state] - lost.get(event, set()), (state, event)


def test_nothing_is_done_to_a_connection_that_is_gone() -> None:
    gone = {
        State.CLIENT_CLOSING: {Action.TELL_UPSTREAM, Action.END_UPSTREAM, Action.ABORT_UPSTREAM},
        State.UPSTREAM_CLOSING: {Action.TELL_CLIENT, Action.END_CLIENT, Action.ABORT_CLIENT},
        State.CLOSED: set(Action),
    }
    for (before, _), (after, actions) in TABLE.items():
        if before not in EARLY:
            assert not gone.get(after, set()) & set(actions)


def test_whoever_is_still_there_when_time_is_up_is_cut_off() -> None:
    cut = {Action.ABORT_CLIENT, Action.ABORT_UPSTREAM}
    assert set(step(State.ENDING, Event.EXPIRED)[1]) == cut
    assert step(State.CLIENT_CLOSING, Event.EXPIRED)[1] == (Action.ABORT_CLIENT,)
    assert step(State.UPSTREAM_CLOSING, Event.EXPIRED)[1] == (Action.ABORT_UPSTREAM,)


def test_a_connection_that_outlives_the_other_is_ended() -> None:
    for state in BOTH_THERE:
        assert Action.END_UPSTREAM in step(state, Event.CLIENT_LOST)[1]
        assert Action.END_CLIENT in step(state, Event.UPSTREAM_LOST)[1]


def test_only_a_violation_of_the_protocol_makes_us_send_a_close_frame() -> None:
    tells = {Action.TELL_CLIENT, Action.TELL_UPSTREAM}
    leaving = {event for state, event in TABLE if state is State.OPEN}
    telling = {e for (s, e), (_, done) in TABLE.items() if s is State.OPEN and tells & set(done)}
    assert telling == {Event.CLIENT_VIOLATED, Event.UPSTREAM_VIOLATED}
    assert set(ENDS) == leaving, "each end of an open bridge has its word in the log"


def test_a_side_is_told_before_it_is_ended() -> None:
    order = list(Action)
    for _, actions in TABLE.values():
        assert list(actions) == sorted(actions, key=order.index)


def diagram() -> str:
    """The table as a state diagram of mermaid's."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.DIALLING.name}"]
    for (state, event), (after, actions) in TABLE.items():
        done = ", ".join(spoken(action) for action in actions)
        label = spoken(event) + (f" / {done}" if done else "")
        lines.append(f"    {state.name} --> {after.name}: {label}")
    return "\n".join([*lines, f"    {State.CLOSED.name} --> [*]", "```"])


def spoken(name: Event | Action) -> str:
    return name.name.lower().replace("_", " ")


def test_the_documentation_shows_this_table() -> None:
    assert diagram() in DOCUMENT.read_text(encoding="utf-8"), f"put this there:\n{diagram()}"
