"""Gathers the facts for the status page from the components, also as a JSON document.

Knows what the figures mean. Contains only numbers, states and the names in certificates, so no byte
of a request, no path and no secret can be shown. Knows nothing of pages.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

import autobahn
import OpenSSL
from OpenSSL.SSL import OPENSSL_VERSION, SSLeay_version

import twisted
from ipyproxy import __version__
from ipyproxy.clock import Calendar
from ipyproxy.encoding.store import Store
from ipyproxy.records.statistics import Histogram, Hour, Statistics, Tally, quantile
from ipyproxy.server.clients import Clients
from ipyproxy.status.condition import Condition
from ipyproxy.status.lag import LoopLag
from ipyproxy.upstream.health import HealthChecker
from ipyproxy.upstream.states import Outcome, State
from ipyproxy.upstream.upstream import Upstream, UpstreamTable
from ipyproxy.websocket.bridge import Bridges

MOST_SHOWN = 500
"""Most upstreams that are listed one by one: those requested last. The others are only counted."""

_NOTHING = Tally()
_SEEN: dict[Outcome | None, str] = {
    Outcome.REFUSED: "connection refused",
    Outcome.HUNG_UP: "closes connections at once",
    Outcome.SILENT: "no answer in time",
    Outcome.MISSED: "takes no connections",
}


class Sources(NamedTuple):
    """The components to read."""

    upstreams: UpstreamTable
    health: HealthChecker
    statistics: Statistics
    bridges: Bridges
    clients: Clients
    condition: Condition
    lag: LoopLag
    sweeps: Histogram
    compressed: Store


class UpstreamFacts(NamedTuple):
    """One upstream. Times are seconds since the epoch, durations seconds; None: there is none.

    A notebook has a ``port``, whose number is its ``name``.

    ``why`` is the last outcome of an upstream that does not answer. ``errors`` counts answers of
    500 and above, by the notebook or by the proxy in its place. ``person_active`` is when a person
    last did something in a WebSocket; requests don't count, because open pages send them by
    themselves.
    """

    name: str
    port: int | None
    state: State
    since: float | None
    why: str | None
    requests: int
    errors: int
    exchanges: int
    bridges: int
    person_active: float | None
    hour: Hour


class CompressedFacts(NamedTuple):
    """The cache of compressed answers.

    ``hits`` is how often an entry was sent, ``misses`` how often an answer had to be compressed
    first.
    """

    entries: int
    bytes: int
    most_bytes: int
    hits: int
    misses: int


class Facts(NamedTuple):
    """All facts at ``now``; the units are those of :class:`UpstreamFacts`."""

    now: float
    started: float
    condition: Condition
    states: dict[State, int]
    upstreams: list[UpstreamFacts]
    left_out: int
    requests: int
    errors: int
    exchanges: int
    bridges: int
    hour: Hour
    connections: int
    most_connections: int
    lag: float
    sweeps: int
    sweep: float | None
    compressed: CompressedFacts


def gather(sources: Sources) -> Facts:
    """Read all components."""
    statistics = sources.statistics
    upstreams = [one for one in sources.upstreams.all() if not _is_nobodys(one)]
    tallies = statistics.tallies
    hours = {one: tally.hour(statistics.minute) for one, tally in tallies.items()}
    shown = worth_telling(upstreams)
    idle = _NOTHING.hour(statistics.minute)
    hour = Hour.together([idle, *hours.values()])
    calendar = sources.condition.calendar
    return Facts(
        now=calendar.now(),
        started=calendar.date(sources.condition.started),
        condition=sources.condition,
        states=counted_by_state(upstreams),
        upstreams=[
            _upstream(one, tallies.get(one, _NOTHING), hours.get(one, idle), calendar)
            for one in shown
        ],
        left_out=len(upstreams) - len(shown),
        requests=sum(tally.requests for tally in tallies.values()),
        errors=sum(tally.errors for tally in tallies.values()),
        exchanges=sum(upstream.exchanges for upstream in upstreams),
        bridges=len(sources.bridges.open),
        hour=hour,
        connections=sources.clients.connections,
        most_connections=sources.clients.limits.connections,
        lag=sources.lag.worst,
        sweeps=sources.sweeps.count,
        sweep=quantile(sources.sweeps.buckets, 0.99),
        compressed=_compressed(sources.compressed),
    )


def _compressed(store: Store) -> CompressedFacts:
    return CompressedFacts(len(store), store.held, store.limit, store.hits, store.misses)


def _is_nobodys(upstream: Upstream) -> bool:
    """Whether this is a port that never answered, but that somebody has requested.

    Anybody can request any port, so it is no notebook that an administrator should see. An
    application has a route, so it is meant to exist.
    """
    if upstream.port is None or upstream.is_known or upstream.open_work:
        return False
    return upstream.state is State.DEAD


def counted_by_state(upstreams: Iterable[Upstream]) -> dict[State, int]:
    """How many of ``upstreams`` are in each state."""
    counts = Counter(upstream.state for upstream in upstreams)
    return {state: counts[state] for state in State}


def worth_telling(upstreams: list[Upstream]) -> list[Upstream]:
    """Those of ``upstreams`` that are listed one by one, in the same order.

    So a client that requests every port can't fill the page or a monitoring system's series.
    """
    if len(upstreams) <= MOST_SHOWN:
        return upstreams
    latest = sorted(upstreams, key=lambda one: (one.open_work > 0, one.wanted_at), reverse=True)
    shown = set(latest[:MOST_SHOWN])
    return [one for one in upstreams if one in shown]


def _upstream(upstream: Upstream, tally: Tally, hour: Hour, calendar: Calendar) -> UpstreamFacts:
    return UpstreamFacts(
        name=upstream.name,
        port=upstream.port,
        state=upstream.state,
        since=_past(upstream.since, calendar),
        why=_why(upstream),
        requests=tally.requests,
        errors=tally.errors,
        exchanges=upstream.exchanges,
        bridges=len(upstream.bridges),
        person_active=_past(upstream.person_active_at, calendar),
        hour=hour,
    )


def _past(seconds: float, calendar: Calendar) -> float | None:
    """The date of a time; None for minus infinity."""
    return calendar.date(seconds) if seconds > 0 else None


def _why(upstream: Upstream) -> str | None:
    if upstream.is_down or upstream.state is State.BUSY:
        return _SEEN.get(upstream.seen)
    return None


@cache
def versions() -> Mapping[str, str]:
    """The versions of the software here, by name."""
    return {
        "ipyproxy": __version__,
        "Python": platform.python_version(),
        "Twisted": twisted.__version__,
        "Autobahn": autobahn.__version__,  # type: ignore[attr-defined]
        "pyOpenSSL": OpenSSL.__version__,
        "OpenSSL": SSLeay_version(OPENSSL_VERSION).decode("ascii").split()[1],
    }


def document(facts: Facts) -> dict[str, Any]:
    """The content of ``status.json``.

    Names end in their unit; times are ISO 8601 in UTC, or null.
    """
    condition = facts.condition
    return {
        "time": _time(facts.now),
        "phase": condition.phase.value,
        "started": _time(facts.started),
        "uptime_seconds": round(facts.now - facts.started, 3),
        "versions": dict(versions()),
        "listeners": list(condition.listeners),
        "certificates": [
            {
                "names": list(certificate.names),
                "not_after": certificate.not_after.isoformat(),
                "development": certificate.is_development,
            }
            for certificate in condition.certificates
        ],
        "renewals": _renewals(condition),
        "reloads": {"done": condition.reloads, "refused": condition.refused_reloads},
        "connections": {"open": facts.connections, "most": facts.most_connections},
        "event_loop": {"worst_lag_seconds_last_minute": _rounded(facts.lag)},
        "sweeps": {"count": facts.sweeps, "p99_seconds": _rounded(facts.sweep)},
        "compressed": facts.compressed._asdict(),
        "requests": {
            "total": facts.requests,
            "errors": facts.errors,
            "p50_seconds": _rounded(facts.hour.median),
            "p99_seconds": _rounded(facts.hour.slow),
            "per_minute": facts.hour.requests,
            "errors_per_minute": facts.hour.errors,
        },
        "open": {"exchanges": facts.exchanges, "bridges": facts.bridges},
        "upstreams_by_state": {state.value: count for state, count in facts.states.items()},
        "upstreams": [_upstream_document(one) for one in facts.upstreams],
        "upstreams_left_out": facts.left_out,
    }


def _renewals(condition: Condition) -> dict[str, Any] | None:
    if condition.renewals is None:
        return None
    renewals = condition.renewals()
    return {
        "got": renewals.got,
        "failed": renewals.failed,
        "concerns": list(renewals.concerns),
    }


def _upstream_document(facts: UpstreamFacts) -> dict[str, Any]:
    return {
        **({"upstream": facts.name} if facts.port is None else {"port": facts.port}),
        "state": facts.state.value,
        "since": _time(facts.since),
        "why": facts.why,
        "requests": facts.requests,
        "errors": facts.errors,
        "p50_seconds": _rounded(facts.hour.median),
        "p99_seconds": _rounded(facts.hour.slow),
        "open": {"exchanges": facts.exchanges, "bridges": facts.bridges},
        "person_active": _time(facts.person_active),
        "per_minute": facts.hour.requests,
        "errors_per_minute": facts.hour.errors,
    }


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
