"""What status.json says, from what the components have counted."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ipyproxy.status.facts import MOST_SHOWN, document, gather, worth_telling
from ipyproxy.upstream.states import Outcome, State
from ipyproxy.upstream.upstream import NO_TRAFFIC
from tests.upstreams import notebook

from .office import START, Office, keep

EMPTY = [0] * 60


class Bridge:
    """An open WebSocket, as far as it is told of."""

    opened = START
    traffic = NO_TRAFFIC

    def __init__(self, last_activity: float) -> None:
        self.last_activity = last_activity

    def lose_route(self) -> None:
        """It goes on."""


def the_only_upstream(office: Office) -> Any:
    (upstream,) = office.document()["upstreams"]
    return upstream


def test_a_daemon_that_has_just_started() -> None:
    office = Office()
    office.loop.advance(90.5)
    shown = office.document()
    assert shown["time"] == "2027-01-15T08:01:30+00:00"
    assert shown["started"] == "2027-01-15T08:00:00+00:00"
    assert shown["uptime_seconds"] == 90.5
    assert shown["phase"] == "serving"
    assert shown["listeners"] == ["192.0.2.1 port 443"]
    assert shown["certificates"] == [
        {"names": ["hub.example"], "not_after": "2027-04-25T20:00:00+00:00", "development": False}
    ]
    assert shown["connections"] == {"open": 0, "most": 100}
    assert shown["requests"] == {
        "total": 0,
        "errors": 0,
        "p50_seconds": None,
        "p99_seconds": None,
        "per_minute": EMPTY,
        "errors_per_minute": EMPTY,
    }
    assert shown["upstreams"] == []
    assert set(shown["versions"]) > {"ipyproxy", "Twisted", "Python", "OpenSSL"}


def test_a_notebook_that_was_asked_for_but_never_answered() -> None:
    office = Office()
    office.upstreams.notebook(10000)
    assert the_only_upstream(office) == {
        "port": 10000,
        "state": "unknown",
        "since": None,
        "why": None,
        "requests": 0,
        "errors": 0,
        "p50_seconds": None,
        "p99_seconds": None,
        "open": {"exchanges": 0, "bridges": 0},
        "person_active": None,
        "per_minute": EMPTY,
        "errors_per_minute": EMPTY,
    }


def test_a_notebook_at_work() -> None:
    office = Office()
    upstream = office.upstreams.notebook(10000)
    office.loop.advance(5.0)
    upstream.observe(Outcome.ANSWERED, office.loop.seconds(), fall=3, rise=1)
    upstream.exchanges = 2
    upstream.bridge_opened(Bridge(START + 3.0))
    upstream.bridge_opened(Bridge(START + 4.0))
    for status, duration in (200, 0.01), (200, 0.01), (502, 3.0):
        office.count(10000, status, duration, 0, 0)
    office.pass_minutes(2)
    office.count(10000, 200, 0.01, 0, 0)
    shown = the_only_upstream(office)
    assert (shown["state"], shown["since"]) == ("up", "2027-01-15T08:00:05+00:00")
    assert shown["why"] is None
    assert (shown["requests"], shown["errors"]) == (4, 1)
    assert shown["open"] == {"exchanges": 2, "bridges": 2}
    assert shown["person_active"] == "2027-01-15T08:00:04+00:00"
    assert shown["per_minute"] == [*[0] * 57, 3, 0, 1]
    assert shown["errors_per_minute"] == [*[0] * 57, 1, 0, 0]
    assert 0.007 <= shown["p50_seconds"] <= 0.01
    assert 2.0 <= shown["p99_seconds"] <= 3.0


def test_why_a_notebook_is_dead_is_what_was_last_seen_of_it() -> None:
    office = Office()
    upstream = office.upstreams.notebook(10000)
    upstream.observe(Outcome.ANSWERED, START, fall=1, rise=1)
    upstream.observe(Outcome.REFUSED, START + 1, fall=1, rise=1)
    assert the_only_upstream(office)["state"] == "dead"
    assert the_only_upstream(office)["why"] == "connection refused"
    upstream.observe(Outcome.MISSED, START + 2, fall=1, rise=1)
    assert the_only_upstream(office)["why"] == "takes no connections"
    upstream.observe(Outcome.HUNG_UP, START + 2, fall=1, rise=1)
    assert the_only_upstream(office)["why"] == "closes connections at once"
    upstream.observe(Outcome.SILENT, START + 2, fall=1, rise=1)
    assert the_only_upstream(office)["state"] == "busy"
    assert the_only_upstream(office)["why"] == "no answer in time"
    upstream.observe(Outcome.ANSWERED, START + 3, fall=1, rise=1)
    assert the_only_upstream(office)["why"] is None


def test_all_requests_together_are_those_of_every_port_and_of_none() -> None:
    office = Office()
    office.count(10000, 200, 0.01, 0, 0)
    office.count(10001, 503, 0.01, 0, 0)
    office.count(None, 404, 0.01, 0, 0)
    requests = office.document()["requests"]
    assert (requests["total"], requests["errors"]) == (3, 1)
    assert (requests["per_minute"][-1], requests["errors_per_minute"][-1]) == (3, 1)


def test_upstreams_are_counted_by_state() -> None:
    office = Office()
    for port, outcome in (10000, "ANSWERED"), (10001, "ANSWERED"), (10002, "REFUSED"):
        office.upstreams.notebook(port).observe(Outcome[outcome], START, fall=1, rise=1)
    assert office.document()["upstreams_by_state"] == {
        "unknown": 0,
        "starting": 1,
        "up": 2,
        "busy": 0,
        "dead": 0,
    }


def test_how_late_the_loop_was_and_how_long_a_sweep_takes() -> None:
    office = Office()
    office.lag.recent.extend((0.001, 0.25, 0.002))
    office.sweeps.add(0.004)
    shown = office.document()
    assert shown["event_loop"] == {"worst_lag_seconds_last_minute": 0.25}
    assert shown["sweeps"]["count"] == 1
    assert 0.003 <= shown["sweeps"]["p99_seconds"] <= 0.004


def test_what_compression_has_kept() -> None:
    office = Office()
    keep(office)
    shown = office.document()["compressed"]
    assert 1000 < shown.pop("bytes") < 2000
    assert shown == {"entries": 1, "most_bytes": 64 * 2**20, "hits": 2, "misses": 3}


def test_whoever_asks_for_every_port_fills_no_page() -> None:
    office = Office()
    for port in range(10000, 15000):
        office.upstreams.notebook(port).wanted_at = START
    office.upstreams.notebook(14000).wanted_at = START + 1
    office.upstreams.notebook(14001).wanted_at = -math.inf
    office.upstreams.notebook(14001).exchanges = 1
    facts = gather(office.sources)
    ports = [int(upstream.name) for upstream in facts.upstreams]
    assert len(ports) == MOST_SHOWN
    assert {14000, 14001} < set(ports)
    assert ports == sorted(ports)
    assert document(facts)["upstreams_left_out"] == 5000 - MOST_SHOWN


@given(st.lists(st.floats(0, 1e6), max_size=3 * MOST_SHOWN))
def test_those_are_told_of_that_were_wanted_last(times: list[float]) -> None:
    upstreams = [notebook(port, wanted_at=time) for port, time in enumerate(times, 10000)]
    told = worth_telling(upstreams)
    assert len(told) == min(len(upstreams), MOST_SHOWN)
    rest = [upstream for upstream in upstreams if upstream not in told]
    assert min((one.wanted_at for one in told), default=0) >= max(
        (one.wanted_at for one in rest), default=0
    )


def test_every_state_has_a_name() -> None:
    office = Office()
    office.loop.advance(1.0)
    assert set(office.document()["upstreams_by_state"]) == {state.value for state in State}
    assert office.document()["time"] == datetime.fromtimestamp(START + 1, UTC).isoformat()


def test_a_port_that_anybody_can_ask_for_is_no_dead_notebook() -> None:
    office = Office()
    asked, gone = office.upstreams.notebook(10001), office.upstreams.notebook(10002)
    gone.is_known = True
    asked.state = gone.state = State.DEAD
    shown = office.document()
    assert [one["port"] for one in shown["upstreams"]] == [10002]
    assert shown["upstreams_by_state"]["dead"] == 1
