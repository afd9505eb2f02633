"""In any order of events there is one timer for each notebook, and its state is found."""

from __future__ import annotations

import itertools
import random
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from ipyproxy.upstream.states import State
from ipyproxy.upstream.upstream import IN_USE_FOR
from tests.upstream.playedhost import A_BRIDGE, PORT, Host, Manner

_Step = tuple[str, int, float]


@settings(max_examples=50)
@given(
    mode=st.sampled_from(["tcp", "http"]),
    fall=st.integers(1, 3),
    rise=st.integers(1, 3),
    seed=st.integers(0, 100),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["request", "ask", "bridge", *get_args(Manner)]),
            st.integers(PORT, PORT + 2),
            st.sampled_from([0.0, 0.01, 0.3, 1.0, 5.0, 40.0, 400.0]),
        ),
        max_size=25,
    ),
)
def test_in_any_order_of_events_there_is_one_timer_for_each_and_the_truth_is_found(
    mode: str, fall: int, rise: int, seed: int, steps: list[_Step]
) -> None:
    host = Host(random.Random(seed).random, mode=mode, fall=fall, rise=rise)
    host.answer = b"HTTP/1.1 200 OK\r\n\r\n"
    manners: dict[str, Manner] = {manner: manner for manner in get_args(Manner)}
    for what, port, seconds in steps:
        if what == "request":
            host.request(port)
        elif what == "ask":
            host.checker.ask(host.table.notebook(port))
        elif what == "bridge":
            host.table.notebook(port).bridges ^= {A_BRIDGE}
        else:
            host.ports[port] = manners[what]
        host.wait(seconds)
        # Each of the three has a timer, or a probe's deadline and that of its dial.
        known = [each for each in host.table.all() if each.state is not State.UNKNOWN]
        assert len(known) <= host.timers <= 2 * 3
    for port, manner in itertools.product(
        range(PORT, PORT + 3), ["refuse", "listen", "stopped", "hang"]
    ):
        host.ports[port] = manners[manner]
        for _ in range(15):
            host.checker.ask(host.table.notebook(port))
            host.wait(1)
        assert (host.table.notebook(port).state is State.UP) == (manner == "listen")
    for port in range(PORT, PORT + 3):
        # One that is busy and in use has a probe that waits.
        host.table.notebook(port).bridges.clear()
    host.wait(IN_USE_FOR + 13)
    assert all(wire.is_closed for wire in host.wires)
    assert not host.loop.failures
    host.checker.stopService()
    host.loop.settle()
    assert host.timers == 0
