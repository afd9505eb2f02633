"""The metrics for Prometheus, read from the components at each scrape.

Knows names, kinds and labels. Labels have few values: only the
:data:`~ipyproxy.status.facts.MOST_SHOWN` upstreams requested last have samples of their own; paths,
clients and the like never do.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from ipyproxy import __version__
from ipyproxy.records.statistics import BOUNDS, Histogram, Tally, added
from ipyproxy.status.condition import Condition
from ipyproxy.status.facts import Sources, counted_by_state, worth_telling
from ipyproxy.upstream.states import Outcome, State
from ipyproxy.upstream.upstream import Upstream

REQUEST_BOUNDS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0),
)
LAG_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_CLASSES = ("other", "1xx", "2xx", "3xx", "4xx", "5xx")


class Metrics:
    """All metrics of one process."""

    def __init__(self, sources: Sources) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Figures(sources))
        self.registry.register(ProcessFigures(registry=None))

    def exposed(self, accept: bytes) -> tuple[bytes, bytes]:
        """Content type and body for a scraper with this Accept field."""
        encode, content_type = choose_encoder(accept.decode("latin-1"))
        return content_type.encode("ascii"), encode(self.registry)


class ProcessFigures(ProcessCollector):
    """Figures of the process from the kernel, even if ``/proc`` shows only processes."""

    def _boot_time(self) -> float:
        # The base class reads /proc/stat, and gives no figures at all if that is hidden
        # (systemd.exec(5), ProcSubset=pid).
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


class _Figures(Collector):
    """What the components have counted."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        """Read all components."""
        yield from self._traffic()
        yield from self._upstreams()
        yield from self._compressed()
        yield from self._daemon()

    def _traffic(self) -> Iterator[Metric]:
        sources = self._sources
        tallies = sources.statistics.tallies.values()
        yield _counters(
            "ipyproxy_requests_total",
            "Requests that have ended, by the class of the status that they were answered with.",
            "code",
            _by_class(added(tally.classes for tally in tallies)),
        )
        yield _histogram(
            "ipyproxy_request_duration_seconds",
            "From a request's first byte until its answer was sent; no WebSockets.",
            REQUEST_BOUNDS,
            *(tally.durations for tally in tallies),
        )
        # No tally has the traffic of open bridges yet, because a bridge is counted at its end.
        open_bridges = [bridge.traffic for bridge in sources.bridges.open]
        yield _counter(
            "ipyproxy_received_bytes_total",
            "Bytes of request bodies and WebSockets from clients.",
            sum(one.bytes_up for one in open_bridges) + sum(tally.received for tally in tallies),
        )
        yield _counter(
            "ipyproxy_sent_bytes_total",
            "Bytes of response bodies and WebSockets to clients.",
            sum(one.bytes_down for one in open_bridges) + sum(tally.sent for tally in tallies),
        )
        clients = sources.clients
        yield _gauge("ipyproxy_connections", "Open connections of clients.", clients.connections)
        yield _gauge(
            "ipyproxy_connections_max", "Connections that there may be.", clients.limits.connections
        )
        upstreams = sources.upstreams.all()
        yield _gauge(
            "ipyproxy_exchanges",
            "Requests that notebooks are answering now.",
            sum(upstream.exchanges for upstream in upstreams),
        )
        yield _gauge("ipyproxy_bridges", "Open WebSockets.", len(sources.bridges.open))
        ended = sources.bridges.ended.items()
        yield _counters(
            "ipyproxy_bridges_ended_total",
            "WebSockets that have ended, by why.",
            "reason",
            ((reason.replace(" ", "_"), count) for reason, count in ended),
        )
        traffic = sources.upstreams.traffic
        yield _counters(
            "ipyproxy_websocket_messages_total",
            "WebSocket messages, up to notebooks and down to browsers.",
            "direction",
            (("up", traffic.messages_up), ("down", traffic.messages_down)),
        )

    def _upstreams(self) -> Iterator[Metric]:
        upstreams = self._sources.upstreams.all()
        yield _gauges(
            "ipyproxy_upstreams",
            "Notebooks that were asked for, and applications of routes, by state.",
            "state",
            ((state.value, count) for state, count in counted_by_state(upstreams).items()),
        )
        states = GaugeMetricFamily(
            "ipyproxy_upstream_state",
            "1 for the state that the notebook on this port is in, 0 for the others.",
        )
        requests = CounterMetricFamily(
            "ipyproxy_upstream_requests_total",
            "Requests for the notebook on this port, by the class of their status.",
        )
        exchanges = GaugeMetricFamily(
            "ipyproxy_upstream_exchanges",
            "Requests that the notebook on this port is answering now.",
        )
        bridges = GaugeMetricFamily(
            "ipyproxy_upstream_bridges",
            "Open WebSockets of the notebook on this port.",
        )
        tallies = self._sources.statistics.tallies
        for upstream in worth_telling(upstreams):
            label = _label(upstream)
            for state in State:
                _add(states, {**label, "state": state.value}, upstream.state is state)
            for name, count in _by_class(tallies.get(upstream, Tally()).classes):
                if count:
                    _add(requests, {**label, "code": name}, count)
            _add(exchanges, label, upstream.exchanges)
            _add(bridges, label, len(upstream.bridges))
        yield from (states, requests, exchanges, bridges)
        probes = self._sources.health.probes
        made = ((outcome.name.lower(), probes[outcome]) for outcome in Outcome)
        yield _counters(
            "ipyproxy_probes_total",
            "Health checks, by what came of them.",
            "result",
            (*made, ("not_made", probes[None])),
        )

    def _compressed(self) -> Iterator[Metric]:
        store = self._sources.compressed
        yield _gauge("ipyproxy_compressed_entries", "Compressed answers that are kept.", len(store))
        yield _gauge("ipyproxy_compressed_bytes", "Bytes that the kept answers take.", store.held)
        yield _gauge("ipyproxy_compressed_bytes_max", "Bytes that they may take.", store.limit)
        yield _counter(
            "ipyproxy_compressed_hits_total",
            "Answers that were sent from what is kept.",
            store.hits,
        )
        yield _counter(
            "ipyproxy_compressed_misses_total",
            "Answers that may be kept, and were compressed because they were not.",
            store.misses,
        )

    def _daemon(self) -> Iterator[Metric]:
        condition = self._sources.condition
        yield _gauges(
            "ipyproxy_build_info", "1; the version is in the label.", "version", ((__version__, 1),)
        )
        yield from self._certificates(condition)
        handshakes = condition.handshakes
        yield _counter(
            "ipyproxy_tls_handshakes_total", "TLS handshakes that were done.", handshakes.done
        )
        yield _counter(
            "ipyproxy_tls_handshake_failures_total",
            "Connections that ended before their TLS handshake was done.",
            handshakes.failed,
        )
        yield _counters(
            "ipyproxy_reloads_total",
            "Reloads, by what came of them.",
            "result",
            (("done", condition.reloads), ("refused", condition.refused_reloads)),
        )
        yield _histogram(
            "ipyproxy_event_loop_lag_seconds",
            "How late the event loop called a timer; looked at four times a second.",
            LAG_BOUNDS,
            self._sources.lag.late,
        )
        yield _histogram(
            "ipyproxy_sweep_duration_seconds",
            "How long the periodic check of all connections took.",
            LAG_BOUNDS,
            self._sources.sweeps,
        )

    def _certificates(self, condition: Condition) -> Iterator[Metric]:
        yield _gauges(
            "ipyproxy_certificate_expiry_timestamp_seconds",
            "When browsers begin to refuse the certificate with this first name.",
            "name",
            ((one.names[0], one.not_after.timestamp()) for one in condition.certificates),
        )
        if condition.renewals is not None:
            renewals = condition.renewals()
            yield _counters(
                "ipyproxy_certificate_attempts_total",
                "Certificates that an authority was asked for by ACME, by what came of it.",
                "result",
                (("got", renewals.got), ("failed", renewals.failed)),
            )
            yield _gauge(
                "ipyproxy_certificates_overdue",
                "Names whose certificate is due and cannot be got at present.",
                len(renewals.concerns),
            )


def _label(upstream: Upstream) -> dict[str, str]:
    """The label of an upstream's samples: ``port`` for a notebook."""
    return {"upstream" if upstream.port is None else "port": upstream.name}


def _add(family: Metric, labels: dict[str, str], value: float) -> None:
    """Add a sample with labels of its own, which families with fixed labels do not allow."""
    suffix = "_total" if isinstance(family, CounterMetricFamily) else ""
    family.add_sample(family.name + suffix, labels, value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


_Samples = Iterable[tuple[str, float]]
"""Values of a label, each with its figure."""


def _counters(name: str, text: str, label: str, samples: _Samples) -> Metric:
    return _labelled(CounterMetricFamily(name, text, labels=[label]), samples)


def _gauges(name: str, text: str, label: str, samples: _Samples) -> Metric:
    return _labelled(GaugeMetricFamily(name, text, labels=[label]), samples)


def _labelled(family: CounterMetricFamily | GaugeMetricFamily, samples: _Samples) -> Metric:
    for value, figure in samples:
        family.add_metric([value], figure)
    return family


def _histogram(
    name: str, text: str, bounds: Sequence[float], *histograms: Histogram
) -> HistogramMetricFamily:
    """Several histograms as one, with ``bounds`` only, which are among :data:`BOUNDS`."""
    below = list(accumulate(added([[0] * (len(BOUNDS) + 1), *(one.buckets for one in histograms)])))
    buckets = [(repr(bound), float(below[BOUNDS.index(bound)])) for bound in bounds]
    family = HistogramMetricFamily(name, text)
    total = sum(one.seconds for one in histograms)
    family.add_metric([], [*buckets, ("+Inf", float(below[-1]))], total)
    return family


def _by_class(classes: Sequence[int]) -> Iterable[tuple[str, int]]:
    """Pairs of a label such as ``2xx`` and a count, from counts by first digit."""
    if not classes:
        return []
    known = list(classes[: len(_CLASSES)])
    known[0] += sum(classes[len(_CLASSES) :])
    return zip(_CLASSES, known, strict=True)
