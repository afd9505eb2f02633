"""What one more connection, and one more upstream, costs the others.

``python -m benchmarks.growth [--rounds 5] [--write]``

Requests and messages a second by the number of connections and of upstreams, of ipyproxy beside
nginx. With ``--write`` the medians go to docs/benchmarks-growth.md, and their picture beside it.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import load
from benchmarks.load import LoadError
from benchmarks.measure import KIB
from benchmarks.peers import PEERS, Running
from benchmarks.processes import LOAD_CORE, REALTIME, realtime_is_allowed
from benchmarks.report import machine, number
from benchmarks.site import HERE, Site, free_ports, open_site

_CONNECTIONS = (1, 10, 100, 1000, 5000)
_UPSTREAMS = (1, 100, 1000)
_AMONG_UPSTREAMS = 1000
"""Connections by which upstreams are asked, however many these are."""
_FLAT_FROM = 10
_NOTEBOOKS = range(2000, 10_000)  # of these, as many in a row as there are upstreams
_MANY = 1000
_WARM_UP = {False: 0.3, True: 2.0}
"""Seconds, by whether there are many connections: each has asked a few times before it counts."""
_KINDS = ("requests", "messages")
_PEERS = ("ipyproxy", "nginx")
_COLOURS = {"requests": "#d1495b", "messages": "#30638e"}
_PAGE = HERE.parent / "docs" / "benchmarks-growth.md"
_PICTURE = "benchmarks-growth.svg"


@dataclass(frozen=True)
class Point:
    """So many connections, which lead to so many upstreams, for requests or for messages."""

    kind: str
    connections: int
    upstreams: int


_POINTS = tuple(
    Point(kind, connections, upstreams)
    for kind in _KINDS
    for connections, upstreams in (
        *((count, 1) for count in _CONNECTIONS),
        *((_AMONG_UPSTREAMS, count) for count in _UPSTREAMS[1:]),
    )
)


@dataclass
class Figures:
    """Of each point and peer, by round: how many a second, and microseconds of CPU for each."""

    rates: dict[tuple[Point, str], list[float]] = field(default_factory=dict)
    cpu: dict[tuple[Point, str], list[float]] = field(default_factory=dict)
    failures: dict[tuple[Point, str], str] = field(default_factory=dict)

    def rate(self, point: Point, peer: str) -> float | None:
        values = self.rates.get((point, peer))
        return statistics.median(values) if values else None

    def cpu_each(self, point: Point, peer: str) -> float | None:
        values = self.cpu.get((point, peer))
        return statistics.median(values) if values else None


def _measure(point: Point, running: Running, site: Site, seconds: float) -> load.Load:
    count, ports = point.connections, site.notebooks[: point.upstreams]
    warm_up = _WARM_UP[count >= _MANY]
    if point.kind == "requests":
        return load.pages(running, site, count, seconds, ports=ports, warm_up=warm_up)
    return load.round_trips(running, site, count, KIB, seconds, ports=ports, warm_up=warm_up)


def _run(site: Site, rounds: int, seconds: float) -> Figures:
    """Measure each figure once a round, so that no disturbance of the machine hits one alone."""
    figures = Figures()
    with ExitStack() as stack:
        running = []
        for peer in PEERS:
            if peer.name in _PEERS:
                running.append(Running(peer, site, site.directory / peer.name))
                stack.callback(running[-1].stop)
        for at in range(rounds):
            for point in _POINTS:
                for proxy in running[at % 2 :] + running[: at % 2]:
                    _add(figures, point, proxy, site, seconds)
    return figures


def _add(figures: Figures, point: Point, proxy: Running, site: Site, seconds: float) -> None:
    key = point, proxy.peer.name
    try:
        done = _measure(point, proxy, site, seconds)
    except LoadError as error:
        figures.failures[key] = str(error)
        print(f"{point} {proxy.peer.name} failed: {error}", flush=True)
        return
    figures.rates.setdefault(key, []).append(done.rate)
    figures.cpu.setdefault(key, []).append(done.cpu_each * 1e6)
    print(
        f"{point} {proxy.peer.name}: {done.rate:,.0f}/s, {done.cpu_each * 1e6:.1f} µs", flush=True
    )


def _among(axis: str, kind: str) -> list[tuple[int, Point]]:
    """Give the points along one axis of the picture, by what is on that axis."""
    if axis == "connections":
        return [(count, Point(kind, count, 1)) for count in _CONNECTIONS]
    return [(count, Point(kind, _AMONG_UPSTREAMS, count)) for count in _UPSTREAMS]


def _table(figures: Figures, axis: str) -> Iterator[str]:
    titles = [f"{peer}: {what}" for peer in _PEERS for kind in _KINDS for what in _titles(kind)]
    yield f"| {axis} | {' | '.join(titles)} |"
    yield "|---:|" + "---:|" * len(titles)
    for row in zip(*(_among(axis, kind) for kind in _KINDS), strict=True):
        cells = [
            number(value) if value is not None else "failed"
            for peer in _PEERS
            for _, point in row
            for value in (figures.rate(point, peer), figures.cpu_each(point, peer))
        ]
        yield f"| {row[0][0]:,} | {' | '.join(cells)} |"


def _titles(kind: str) -> tuple[str, str]:
    return f"{kind}/s ↑", "CPU µs ↓"


def _flatness(figures: Figures, axis: str, kind: str, peer: str) -> str:
    """Tell by how much CPU for each rises from its least, among all from ten on."""
    at = [point for count, point in _among(axis, kind) if axis != "connections" or count >= 10]
    each = [value for point in at if (value := figures.cpu_each(point, peer)) is not None]
    rates = [value for point in at if (value := figures.rate(point, peer)) is not None]
    if not each:
        return "–"
    return f"{max(each) / min(each) - 1:+.0%} ({1 - min(rates) / max(rates):.0%})"


def _flat(figures: Figures) -> Iterator[str]:
    titles = [f"{peer}: {kind}" for peer in _PEERS for kind in _KINDS]
    yield f"| | {' | '.join(titles)} |"
    yield "|---|" + "---:|" * len(titles)
    for axis, title in (
        ("connections", f"{_FLAT_FROM} to {_CONNECTIONS[-1]:,} connections"),
        ("upstreams", f"1 to {_UPSTREAMS[-1]:,} upstreams"),
    ):
        cells = [_flatness(figures, axis, kind, peer) for peer in _PEERS for kind in _KINDS]
        yield f"| {title} | {' | '.join(cells)} |"


def _markdown(figures: Figures, rounds: int) -> str:
    parts = [
        _HEAD.format(rounds=rounds),
        machine(),
        f"![What one more connection and one more upstream cost]({_PICTURE})",
        "## How flat it is\n\n" + _FLAT_TEXT,
        "\n".join(_flat(figures)),
        "## By connections",
        "One upstream.",
        "\n".join(_table(figures, "connections")),
        "## By upstreams",
        f"{_AMONG_UPSTREAMS:,} connections, each of which stays at one upstream.",
        "\n".join(_table(figures, "upstreams")),
    ]
    return "\n\n".join(parts) + "\n"


_HEAD = """\
# What one more connection costs

Made by `make bench-growth`. Requests with a browser's changing heads, and messages of 1 KiB: one is
under way on each connection, so the proxy's core is full from ten connections on. Proxy on core 0;
load generator, with real-time priority where that is allowed, and upstreams on core 1. Medians;
interleaved rounds: {rounds}. Connections, and those to upstreams, are there before it counts.
A rate ends where either core is full, so CPU for each tells more."""

_FLAT_TEXT = """\
By how much the CPU for each rises from the cheapest to the dearest point; in brackets, by how much
the rate falls from the highest to the lowest."""


def _draw(figures: Figures, target: Path) -> None:
    """Draw one line for each kind and proxy, over connections and over upstreams."""
    import matplotlib as mpl  # type: ignore[import-not-found, unused-ignore]

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "ipyproxy", "font.size": 9})
    from matplotlib import pyplot as plt  # type: ignore[import-not-found, unused-ignore]

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    for axis, name, counts in (
        (axes[0], "connections", _CONNECTIONS),
        (axes[1], "upstreams", _UPSTREAMS),
    ):
        for kind in _KINDS:
            for peer in _PEERS:
                values = [figures.rate(point, peer) or 0 for _, point in _among(name, kind)]
                ours = peer == "ipyproxy"
                style = {"marker": "o", "linestyle": "-" if ours else ":", "color": _COLOURS[kind]}
                axis.plot(counts, values, label=f"{peer}, {kind}/s", **style)
        _label(axis, name, counts)
    axes[0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})


def _label(axis: Any, name: str, counts: Sequence[int]) -> None:
    axis.set_xscale("log")
    axis.set_xticks(counts, [f"{count:,}" for count in counts])
    axis.minorticks_off()
    more = f", {_AMONG_UPSTREAMS:,} connections"
    axis.set_xlabel(name if name == "connections" else name + more)
    axis.set_ylim(bottom=0)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each figure (1.5)")
    parser.add_argument("--write", action="store_true", help=f"write docs/{_PAGE.name}")
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ahead = REALTIME if realtime_is_allowed() else ()
    with TemporaryDirectory(prefix="ipyproxy-growth-") as scratch:
        directory = Path(scratch)
        directory.chmod(0o755)
        first = free_ports(_NOTEBOOKS, max(_UPSTREAMS))
        notebooks = range(first, first + max(_UPSTREAMS))
        with open_site(directory, 1, ahead, notebooks, 3 * max(_CONNECTIONS)) as site:
            figures = _run(site, options.rounds, options.seconds)
    text = _markdown(figures, options.rounds)
    if options.write:
        _draw(figures, _PAGE.parent / _PICTURE)
        _PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
