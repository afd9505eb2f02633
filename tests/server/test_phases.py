"""The table of a connection's phases: it always ends, and the documentation has it."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from ipyproxy.server.phases import TABLE, Event, Phase, step

STEPS = {
    (phase, event): TABLE[event][phase]
    for phase, event in product(Phase, Event)
    if phase in TABLE[event]
}
DOCUMENT = Path(__file__).parents[2] / "docs" / "http.md"


def test_what_is_not_in_the_table_changes_nothing() -> None:
    for phase, event in product(Phase, Event):
        if (phase, event) not in STEPS:
            assert step(phase, event) is phase


def test_every_phase_can_be_reached() -> None:
    reached, found = set(), {Phase.HANDSHAKE}
    while found:
        reached |= found
        found = {after for (before, _), after in STEPS.items() if before in found} - reached
    assert reached == set(Phase)


@pytest.mark.parametrize("phase", [Phase.TUNNEL, Phase.LINGER])
def test_who_is_closing_or_handed_over_stays_so(phase: Phase) -> None:
    assert not [event for before, event in STEPS if before is phase]


@pytest.mark.parametrize("phase", set(Phase) - {Phase.TUNNEL})
def test_time_ends_every_phase(phase: Phase) -> None:
    assert step(phase, Event.ENDED) is Phase.LINGER


@pytest.mark.parametrize("phase", [Phase.EXCHANGE, Phase.FLUSH])
def test_after_the_last_answer_no_request_follows(phase: Phase) -> None:
    """A drain makes an answer the last one though the client has yet to take it."""
    assert step(phase, Event.LAST_ANSWERED) is Phase.LINGER


def test_only_a_request_can_be_answered_or_switched() -> None:
    for event in (Event.ANSWERED, Event.BACKED_UP, Event.SWITCHED):
        assert [before for before, one in STEPS if one is event] == [Phase.EXCHANGE]


def diagram() -> str:
    """The table as a state diagram of mermaid's."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {Phase.HANDSHAKE.name}"]
    for (phase, event), after in STEPS.items():
        lines.append(f"    {phase.name} --> {after.name}: {event.name.lower().replace('_', ' ')}")
    ends = [f"    {phase.name} --> [*]" for phase in (Phase.TUNNEL, Phase.LINGER)]
    return "\n".join([*lines, *ends, "```"])


def test_the_documentation_shows_this_table() -> None:
    assert diagram() in DOCUMENT.read_text(encoding="utf-8"), f"put this there:\n{diagram()}"
