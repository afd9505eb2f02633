"""What Prometheus reads: names, kinds, values, and that their number is bounded."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ipyproxy.records.statistics import BOUNDS
from ipyproxy.status.condition import Renewals
from ipyproxy.status.facts import MOST_SHOWN
from ipyproxy.status.metrics import LAG_BOUNDS, REQUEST_BOUNDS, ProcessFigures
from ipyproxy.upstream.states import Outcome
from ipyproxy.upstream.upstream import NO_TRAFFIC, Traffic

from .office import START, Office, keep

OPENMETRICS = b"Accept: application/openmetrics-text;version=1.0.0"


class Bridge:
    """An open WebSocket, as far as it is told of."""

    opened = last_activity = START

    def __init__(self, traffic: Traffic = NO_TRAFFIC) -> None:
        self.traffic = traffic


def busy() -> Office:
    """An office with something to say for every metric."""
    office = Office()
    for port in (10000, 10001):
        upstream = office.upstreams.notebook(port)
        upstream.observe(Outcome.ANSWERED, START, fall=1, rise=1)
        for status in (101, 200, 304, 404, 503, 999):
            office.count(port, status, 0.03, 10, 100)
    office.upstreams.notebook(10001).observe(Outcome.REFUSED, START, fall=1, rise=1)
    office.upstreams.notebook(10000).exchanges = 2
    office.count(None, 421, 0.0004, 0, 7)
    bridge: Any = Bridge(Traffic(1000, 2000, 3, 4))
    office.upstreams.notebook(10000).bridge_opened(bridge)
    office.bridges.open.add(bridge)
    office.lag.late.add(0.3)
    office.sweeps.add(0.002)
    keep(office)
    office.condition.reloads = 2
    office.condition.renewals = lambda: Renewals(3, 1, ("hub.example: it is due",))
    office.condition.handshakes.done = 5
    office.condition.handshakes.failed = 1
    office.health.probes.update([Outcome.ANSWERED, Outcome.ANSWERED, Outcome.REFUSED, None])
    return office


def samples(office: Office) -> dict[str, float]:
    """Name and labels of every sample, and its value."""
    text = office.read(b"metrics").decode()
    return {
        sample.name
        + "".join(f" {key}={sample.labels[key]}" for key in sorted(sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_requests_are_told_by_class_and_by_port() -> None:
    seen = samples(busy())
    assert seen["ipyproxy_requests_total code=2xx"] == 2
    assert seen["ipyproxy_requests_total code=4xx"] == 3
    assert seen["ipyproxy_requests_total code=other"] == 2
    assert seen["ipyproxy_upstream_requests_total code=5xx port=10000"] == 1
    assert seen["ipyproxy_upstream_requests_total code=1xx port=10001"] == 1


def test_bytes_are_those_of_ended_requests_and_of_open_bridges() -> None:
    seen = samples(busy())
    assert seen["ipyproxy_received_bytes_total"] == 120 + 1000
    assert seen["ipyproxy_sent_bytes_total"] == 1207 + 2000
    assert seen["ipyproxy_websocket_messages_total direction=up"] == 3
    assert seen["ipyproxy_websocket_messages_total direction=down"] == 4


def test_durations_are_a_histogram_without_bridges() -> None:
    seen = samples(busy())
    name = "ipyproxy_request_duration_seconds"
    assert seen[f"{name}_bucket le=0.001"] == 1
    assert seen[f"{name}_bucket le=0.02"] == 1
    assert seen[f"{name}_bucket le=0.05"] == 11
    assert seen[f"{name}_bucket le=+Inf"] == seen[f"{name}_count"] == 11
    assert seen[f"{name}_sum"] == pytest.approx(0.3004)


def test_a_notebook_is_in_one_state() -> None:
    seen = samples(busy())
    states = {key: value for key, value in seen.items() if "upstream_state port=10001" in key}
    assert states == {
        "ipyproxy_upstream_state port=10001 state=unknown": 0,
        "ipyproxy_upstream_state port=10001 state=starting": 0,
        "ipyproxy_upstream_state port=10001 state=up": 0,
        "ipyproxy_upstream_state port=10001 state=busy": 0,
        "ipyproxy_upstream_state port=10001 state=dead": 1,
    }
    assert seen["ipyproxy_upstreams state=up"] == 1
    assert seen["ipyproxy_upstreams state=dead"] == 1


def test_what_is_open_and_how_the_daemon_is() -> None:
    office = busy()
    seen = samples(office)
    assert seen["ipyproxy_exchanges"] == seen["ipyproxy_upstream_exchanges port=10000"] == 2
    assert seen["ipyproxy_bridges"] == seen["ipyproxy_upstream_bridges port=10000"] == 1
    assert seen["ipyproxy_connections_max"] == 100
    assert seen["ipyproxy_certificate_expiry_timestamp_seconds name=hub.example"] == START + 8683200
    assert seen["ipyproxy_certificate_attempts_total result=got"] == 3
    assert seen["ipyproxy_certificate_attempts_total result=failed"] == 1
    assert seen["ipyproxy_certificates_overdue"] == 1
    office.condition.renewals = None
    assert not any("certificate_attempts" in name for name in samples(office))
    assert seen["ipyproxy_reloads_total result=done"] == 2
    assert seen["ipyproxy_compressed_entries"] == 1
    assert 1000 < seen["ipyproxy_compressed_bytes"] < 2000
    assert seen["ipyproxy_compressed_bytes_max"] == 64 * 2**20
    assert seen["ipyproxy_compressed_hits_total"] == 2
    assert seen["ipyproxy_compressed_misses_total"] == 3
    assert seen["ipyproxy_tls_handshakes_total"] == 5
    assert seen["ipyproxy_tls_handshake_failures_total"] == 1
    assert seen["ipyproxy_probes_total result=answered"] == 2
    assert seen["ipyproxy_probes_total result=not_made"] == 1
    assert seen["ipyproxy_event_loop_lag_seconds_bucket le=0.2"] == 0
    assert seen["ipyproxy_event_loop_lag_seconds_bucket le=0.5"] == 1
    assert seen["ipyproxy_sweep_duration_seconds_count"] == 1
    assert seen["process_open_fds"] > 0
    assert seen["process_resident_memory_bytes"] > 0


def test_a_process_is_seen_where_there_is_nothing_but_processes(tmp_path: Path) -> None:
    """As with ProcSubset=pid in the unit for systemd."""
    (tmp_path / "self").symlink_to("/proc/self")
    figures = ProcessFigures(registry=None, proc=str(tmp_path))
    families = {family.name: family for family in figures.collect()}
    assert families["process_open_fds"].samples[0].value > 0
    started = families["process_start_time_seconds"].samples[0].value
    # Within the test's own day; clocks of virtual machines are not all alike.
    assert 0 <= time.time() + 60 - started < 86400


def test_bounds_of_histograms_are_among_those_that_are_counted() -> None:
    assert set(REQUEST_BOUNDS) | set(LAG_BOUNDS) <= set(BOUNDS)


def test_reading_changes_nothing() -> None:
    office = busy()
    ours = {key: value for key, value in samples(office).items() if key.startswith("ipyproxy")}
    again = {key: value for key, value in samples(office).items() if key.startswith("ipyproxy")}
    assert ours == again


def test_ports_without_end_are_not_so_many_series() -> None:
    office = Office()
    for port in range(10000, 15000):
        office.upstreams.notebook(port)
        for status in (101, 200, 304, 404, 503):
            office.count(port, status, 0.03, 0, 0)
    seen = samples(office)
    assert len({key for key in seen if "port=10" in key}) > 0
    assert len(seen) <= MOST_SHOWN * 12 + 150


def test_openmetrics_is_for_whoever_asks_for_it() -> None:
    office = busy()
    assert b"\r\nContent-Type: text/plain; version=0.0.4" in office.ask(b"metrics")
    answer = office.ask(b"metrics", OPENMETRICS)
    assert b"\r\nContent-Type: application/openmetrics-text; version=1.0.0" in answer
    assert answer.endswith(b"# EOF\n")


def test_promtool_finds_nothing_to_complain_of() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    text = busy().read(b"metrics")
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
