"""The same ipyproxy on several interpreters, or as several trees, beside each other.

``python -m benchmarks.pythons [--rounds 5] TITLE=COMMAND ...``

Each COMMAND is what stands for ``twistd``, with what it needs before it, for example
``"3.13=env PYTHONPATH=build/3.13 /opt/3.13/bin/twistd"``. The table is printed; ratios are to the
first one.
"""

from __future__ import annotations

import argparse
import os
import shlex
from collections import defaultdict
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import sleep

from benchmarks import load
from benchmarks.measure import KIB
from benchmarks.peers import Peer, Running
from benchmarks.processes import LOAD_CORE, REALTIME, realtime_is_allowed, rss_kib
from benchmarks.report import number
from benchmarks.site import Site, open_site, render

_TITLES = (
    "start ms",
    "MiB at start",
    "requests/s",
    "CPU µs a request",
    "messages/s",
    "CPU µs a message",
)
_SETTLED = 2.0  # seconds, for what is loaded only once it serves


def _commands(twistd: str, site: Site, port: int, directory: Path) -> list[list[str]]:
    settings = site.settings(port=port, directory=directory)
    config = render("ipyproxy.toml", settings, directory / "ipyproxy.toml")
    pid_file = f"--pidfile={directory / 'twistd.pid'}"
    return [[*shlex.split(twistd), "--nodaemon", pid_file, "ipyproxy", "--config", str(config)]]


def _peer(told: str) -> Peer:
    title, _, twistd = told.partition("=")
    name = "".join(letter if letter.isalnum() else "-" for letter in title)
    return Peer(name, title, partial(_commands, twistd), lambda: "", lambda: "")


def _measure(running: Running, site: Site, seconds: float) -> tuple[float, ...]:
    sleep(_SETTLED)
    memory = rss_kib(running.pids()) / KIB
    requests = load.requests(running, site, 64, seconds)
    messages = load.round_trips(running, site, 100, KIB, seconds)
    return (
        running.start_seconds * 1000,
        memory,
        requests.rate,
        requests.cpu_each * 1e6,
        messages.rate,
        messages.cpu_each * 1e6,
    )


def _rounds(
    peers: list[Peer], site: Site, rounds: int, seconds: float
) -> dict[str, list[tuple[float, ...]]]:
    figures: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for at in range(rounds):
        turn = at % len(peers)
        for peer in peers[turn:] + peers[:turn]:
            with ExitStack() as stack:
                running = Running(peer, site, site.directory / f"{peer.name}-{at}")
                stack.callback(running.stop)
                figures[peer.title].append(_measure(running, site, seconds))
            shown = ", ".join(map(number, figures[peer.title][-1]))
            print(f"round {at + 1}  {peer.title}: {shown}", flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pythons", description=__doc__)
    parser.add_argument("commands", nargs="+", metavar="TITLE=COMMAND")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    ahead = REALTIME if realtime_is_allowed() else ()
    peers = [_peer(told) for told in options.commands]
    with TemporaryDirectory(prefix="ipyproxy-pythons-") as scratch:
        directory = Path(scratch)
        directory.chmod(0o755)
        with open_site(directory, 1, ahead) as site:
            figures = _rounds(peers, site, options.rounds, options.seconds)
    print(f"| | {' | '.join(_TITLES)} |\n|---|" + "---:|" * len(_TITLES))
    first = [median(column) for column in zip(*figures[peers[0].title], strict=True)]
    for peer in peers:
        medians = [median(column) for column in zip(*figures[peer.title], strict=True)]
        cells = [f"{number(m)} ({m / b:.2f})" for m, b in zip(medians, first, strict=True)]
        print(f"| {peer.title} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
