"""The measurements: what is done to every proxy, in which order, and what came out.

Knows which figures there are and how they are gathered over the rounds. Knows nothing of how
load is made or shown.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import sleep
from typing import Literal

from benchmarks import load
from benchmarks.load import Load, LoadError
from benchmarks.peers import Peer, Running, StartError
from benchmarks.processes import rss_kib
from benchmarks.site import Site

KIB = 1024
MIB = 1024 * 1024
MB = 1_000_000
GB = 1_000_000_000

PACED_REQUESTS = 5000
PACED_MESSAGES = 10_000
"""A second, of the open loops: about a fifth of what nginx can carry here."""

Group = Literal["http", "ws", "files"]
Figures = dict[str, float]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Effort:
    """How long and how much.

    :param seconds: of the request row; the other rows take their share of it.
    """

    rounds: int
    seconds: float
    large_bytes: int


FULL = Effort(rounds=5, seconds=2, large_bytes=GB)
QUICK = Effort(rounds=1, seconds=1, large_bytes=100 * MB)


@dataclass(frozen=True)
class Job:
    """One thing done to a running proxy.

    :param figures: the names of what ``run`` gives.
    """

    name: str
    group: Group
    figures: tuple[str, ...]
    run: Callable[[Running, Site, Effort], Sequence[float]]


def _requests(running: Running, site: Site, effort: Effort) -> Sequence[float]:
    done = load.requests(running, site, 64, effort.seconds)
    return done.rate, done.cpu_each * 10_000


def _latency(running: Running, site: Site, effort: Effort) -> Sequence[float]:
    done = load.requests(running, site, 1, effort.seconds * 0.6)
    return done.p50_us, done.p99_us


def _paced_requests(running: Running, site: Site, effort: Effort) -> Sequence[float]:
    done = load.pages(running, site, 64, effort.seconds, PACED_REQUESTS)
    return done.cpu_each * 10_000, done.p50_us, done.p99_us


def _handshakes(resume: bool, running: Running, site: Site, effort: Effort) -> Sequence[float]:
    done = load.handshakes(running, site, resume, effort.seconds * 0.6)
    return done.rate, done.cpu_each * 1000


def _bytes(done: Load) -> Sequence[float]:
    return done.rate / MB, done.cpu_each * GB


def _small_files(running: Running, site: Site, effort: Effort) -> Sequence[float]:
    done = load.one_target(running, site, "/static/kibibyte.css", 64, effort.seconds)
    return done.rate, done.cpu_each * 10_000


def _large_files(running: Running, site: Site, effort: Effort) -> Sequence[float]:
    done = load.one_target(running, site, "/static/mebibyte.css", 4, effort.seconds * 0.6)
    return done.rate * MIB / MB, done.cpu_each / MIB * GB


def _application(running: Running, site: Site, effort: Effort) -> Sequence[float]:
    done = load.one_target(running, site, "/application/", 64, effort.seconds)
    return done.rate, done.cpu_each * 10_000


def _memory(running: Running, _site: Site, _effort: Effort) -> Sequence[float]:
    return (rss_kib(running.pids()) / KIB,)


def _idle(running: Running, site: Site, _effort: Effort) -> Sequence[float]:
    return (load.kib_per_idle_bridge(running, site, 1000),)


def _round_trips(
    size: int, bridges: int, running: Running, site: Site, effort: Effort
) -> Sequence[float]:
    # A round trip in the longest queue takes a good part of a second.
    share = 1.0 if bridges >= 1000 else 0.4
    done = load.round_trips(running, site, bridges, size, effort.seconds * share)
    return done.p50_us, done.p99_us, done.rate, done.cpu_each * 10_000


def _paced_messages(bridges: int, running: Running, site: Site, effort: Effort) -> Sequence[float]:
    done = load.round_trips(running, site, bridges, KIB, effort.seconds, PACED_MESSAGES)
    return done.cpu_each * 10_000, done.p50_us, done.p99_us


def _flood(upwards: bool, running: Running, site: Site, effort: Effort) -> Sequence[float]:
    return _bytes(load.flood(running, site, upwards, 4 * MIB, effort.seconds * 0.6))


def _round_trip_job(size: int, bridges: int) -> Job:
    key = f"ws{size // KIB}k{bridges}"
    return Job(
        f"round trips of {size // KIB} KiB on {bridges} bridges",
        "ws",
        (f"{key}_p50", f"{key}_p99", f"{key}_rate", f"{key}_cpu"),
        partial(_round_trips, size, bridges),
    )


def _paced_job(bridges: int) -> Job:
    key = f"paced{bridges}"
    return Job(
        f"{PACED_MESSAGES:,} messages/s on {bridges} bridges",
        "ws",
        (f"{key}_cpu", f"{key}_p50", f"{key}_p99"),
        partial(_paced_messages, bridges),
    )


_START = ("start_ms", "start_mib")
_SETTLED = 2.0  # seconds, for what a proxy loads only once it serves

JOBS = (
    Job("requests on 64 connections", "http", ("requests", "requests_cpu"), _requests),
    Job(
        f"{PACED_REQUESTS:,} requests/s on 64 connections",
        "http",
        ("paced_cpu", "paced_p50", "paced_p99"),
        _paced_requests,
    ),
    Job("requests on 1 connection", "http", ("request_p50", "request_p99"), _latency),
    Job("full handshakes", "http", ("full", "full_cpu"), partial(_handshakes, False)),
    Job("resumed handshakes", "http", ("resumed", "resumed_cpu"), partial(_handshakes, True)),
    Job(
        "download",
        "http",
        ("download", "download_cpu"),
        lambda running, site, _effort: _bytes(load.download(running, site)),
    ),
    Job(
        "upload",
        "http",
        ("upload", "upload_cpu"),
        lambda running, site, _effort: _bytes(load.upload(running, site)),
    ),
    Job("memory after load", "http", ("load_mib",), _memory),
    Job("files of 1 KiB", "files", ("small_files", "small_files_cpu"), _small_files),
    Job("files of 1 MiB", "files", ("large_files", "large_files_cpu"), _large_files),
    Job("application at a UNIX socket", "files", ("socket", "socket_cpu"), _application),
    Job(
        "file that an application names",
        "files",
        ("named", "named_cpu"),
        lambda running, site, _effort: _bytes(load.named_file(running, site)),
    ),
    Job(
        "the same file by the application",
        "files",
        ("proxied", "proxied_cpu"),
        lambda running, site, _effort: _bytes(load.proxied_file(running, site)),
    ),
    Job("memory after files", "files", ("files_mib",), _memory),
    # First among its kind, on a fresh process: memory that was freed would be used again, not seen.
    Job("1000 idle bridges", "ws", ("bridge_kib",), _idle),
    *(_round_trip_job(size, n) for size in (KIB, 64 * KIB) for n in (1, 100, 1000)),
    *(_paced_job(n) for n in (100, 1000)),
    Job("4 MiB messages down", "ws", ("ws_down", "ws_down_cpu"), partial(_flood, False)),
    Job("4 MiB messages up", "ws", ("ws_up", "ws_up_cpu"), partial(_flood, True)),
)


@dataclass
class Results:
    """All figures of all rounds, and what failed.

    :ivar failures: by (figure, peer): why there is none, or why there are fewer than rounds.
    """

    rounds: int
    values: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, peer: str, figures: Mapping[str, float]) -> None:
        for figure, value in figures.items():
            self.values.setdefault((figure, peer), []).append(value)

    def fail(self, peer: str, figures: Sequence[str], reason: str) -> None:
        for figure in figures:
            self.failures[figure, peer] = reason

    def median(self, figure: str, peer: str) -> float | None:
        values = self.values.get((figure, peer))
        return statistics.median(values) if values else None

    def is_hopeless(self, job: Job, peer: str) -> bool:
        """Tell whether it has been tried and never worked, so that no more time goes there."""
        key = job.figures[0], peer
        return key in self.failures and key not in self.values

    def spread(self) -> float:
        """Give how far a figure usually moves between rounds: (max - min) / median, its median."""
        moves = [
            (max(values) - min(values)) / statistics.median(values)
            for values in self.values.values()
            if len(values) > 1 and statistics.median(values)
        ]
        return statistics.median(moves) if moves else 0.0


def run(
    peers: Sequence[Peer], groups: Sequence[Group], effort: Effort, site: Site, tell: Tell
) -> Results:
    """Measure round by round. In a round all peers run, and each row goes round them all.

    Row by row rather than peer by peer, so that a disturbance of the machine hits all alike; who
    begins changes from round to round. Requests and WebSockets have fresh processes each.
    """
    results = Results(effort.rounds)
    for number in range(1, effort.rounds + 1):
        turn = number % len(peers)
        order = [*peers[turn:], *peers[:turn]]
        for group in groups:
            tell(f"round {number} of {effort.rounds}: {group}")
            jobs = [job for job in JOBS if job.group == group]
            room = site.directory / f"{group}-{number}"
            with ExitStack() as stack:
                able = [peer for peer in order if group in peer.groups]
                started = list(_start(able, jobs, site, room, results, stack))
                for job in jobs:
                    for running in started:
                        _measure(job, running, site, effort, results, tell)
    return results


def _start(
    peers: Sequence[Peer],
    jobs: Sequence[Job],
    site: Site,
    room: Path,
    results: Results,
    stack: ExitStack,
) -> Iterator[Running]:
    for peer in peers:
        try:
            running = Running(peer, site, room / peer.name)
        except StartError as error:
            results.fail(
                peer.name, [*_START, *(name for job in jobs for name in job.figures)], str(error)
            )
            continue
        stack.callback(running.stop)
        sleep(_SETTLED)
        memory = rss_kib(running.pids()) / KIB
        start = dict(zip(_START, (running.start_seconds * 1000, memory), strict=True))
        results.add(peer.name, start)
        yield running


def _measure(
    job: Job, running: Running, site: Site, effort: Effort, results: Results, tell: Tell
) -> None:
    peer = running.peer
    if results.is_hopeless(job, peer.name):
        return
    try:
        running.check_alive()
        figures = dict(zip(job.figures, job.run(running, site, effort), strict=True))
    except (LoadError, StartError) as error:
        results.fail(peer.name, job.figures, str(error))
        tell(f"  {job.name:38} {peer.title:32} failed: {error}")
        return
    results.add(peer.name, figures)
    shown = "  ".join(f"{name} {value:,.4g}" for name, value in figures.items())
    tell(f"  {job.name:38} {peer.title:32} {shown}")
