"""What one more connection, and one more upstream, costs the others.

``python -m benchmarks.growth [--rounds 3] [--write]``

Requests and messages a second of ipyproxy alone, by the number of connections and of upstreams. It
prints the figures of each round, and draws docs/growth.svg from the medians.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import load
from benchmarks.load import Load
from benchmarks.peers import PEERS, Running
from benchmarks.processes import LOAD_CORE, REALTIME, Process, realtime_is_allowed
from benchmarks.site import HERE, Site, open_site, wait_for_port

CONNECTIONS = (1, 10, 100, 1000, 5000)
UPSTREAMS = (1, 100, 1000)
AMONG_UPSTREAMS = 1000
"""Connections by which upstreams are asked, however many these are."""
MOST_UPSTREAMS = max(UPSTREAMS)
FIRST_UPSTREAM = 27_000
SECONDS = 3.0
DOCS = HERE.parent / "docs"

Figures = dict[tuple[str, str, int], list[float]]


def _requests(running: Running, site: Site, upstreams: int, connections: int) -> Load:
    return load.requests_among(running, site, FIRST_UPSTREAM, upstreams, connections, SECONDS)


def _messages(running: Running, site: Site, upstreams: int, connections: int) -> Load:
    return load.round_trips_among(running, site, FIRST_UPSTREAM, upstreams, connections, SECONDS)


def _jobs() -> Iterator[tuple[str, str, int, Callable[[Running, Site], Load]]]:
    for what, call in (("requests/s", _requests), ("messages/s", _messages)):
        for count in CONNECTIONS:
            yield what, "connections", count, partial(call, upstreams=1, connections=count)
        for count in UPSTREAMS:
            among = partial(call, upstreams=count, connections=AMONG_UPSTREAMS)
            yield what, "upstreams", count, among


def measure(site: Site, rounds: int) -> Figures:
    """Each figure once a round, so that a disturbance of the machine does not hit one alone."""
    figures: Figures = {}
    last = FIRST_UPSTREAM + MOST_UPSTREAMS - 1
    ports = f"{FIRST_UPSTREAM}-{last}"
    upstream = Process([site.tool("wsserve"), ports], site.directory / "upstreams.log", LOAD_CORE)
    peer = next(peer for peer in PEERS if peer.name == "ipyproxy")
    try:
        wait_for_port(upstream, last)
        running = Running(peer, site, site.directory / "growth")
        try:
            for number in range(rounds):
                for what, among, count, call in _jobs():
                    done = call(running, site)
                    figures.setdefault((what, among, count), []).append(done.rate)
                    each = done.cpu_each * 1e6
                    print(
                        f"round {number + 1}  {count:5} {among:12} {done.rate:9,.0f} {what}, "
                        f"CPU {each:6.1f} µs each",
                        flush=True,
                    )
        finally:
            running.stop()
    finally:
        upstream.stop()
    return figures


def draw(figures: Figures, target: Path) -> None:
    """Draw one line for each kind, over connections and over upstreams."""
    import matplotlib as mpl  # type: ignore[import-not-found, unused-ignore]

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "ipyproxy", "font.size": 9})
    from matplotlib import pyplot as plt  # type: ignore[import-not-found, unused-ignore]

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    for axis, among, counts in (
        (axes[0], "connections", CONNECTIONS),
        (axes[1], "upstreams", UPSTREAMS),
    ):
        for what, colour in (("requests/s", "#d1495b"), ("messages/s", "#30638e")):
            values = [statistics.median(figures[what, among, count]) for count in counts]
            axis.plot(counts, values, marker="o", color=colour, label=what)
        _label(axis, among, counts)
    axes[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})


def _label(axis: Any, among: str, counts: tuple[int, ...]) -> None:
    axis.set_xscale("log")
    axis.set_xticks(counts, [f"{count:,}" for count in counts])
    axis.minorticks_off()
    among_how_many = f"upstreams, {AMONG_UPSTREAMS:,} connections"
    axis.set_xlabel(among if among == "connections" else among_how_many)
    axis.set_ylim(bottom=0)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="draw docs/growth.svg")
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ahead = REALTIME if realtime_is_allowed() else ()
    with TemporaryDirectory(prefix="ipyproxy-growth-") as scratch:
        directory = Path(scratch)
        directory.chmod(0o755)
        with open_site(directory, 1, ahead) as site:
            figures = measure(site, options.rounds)
    for (what, among, count), values in sorted(figures.items()):
        print(f"| {what} | {count:,} {among} | {statistics.median(values):,.0f} |")
    if options.write:
        draw(figures, DOCS / "growth.svg")


if __name__ == "__main__":
    main()
