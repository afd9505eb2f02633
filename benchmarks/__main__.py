"""The command line: ``python -m benchmarks [--quick] [--only a,b] [--rows http,ws]``."""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from types import FrameType
from typing import get_args

from benchmarks import report
from benchmarks.measure import FULL, QUICK, Group, run
from benchmarks.peers import PEERS, Peer
from benchmarks.processes import LOAD_CORE, REALTIME, realtime_is_allowed
from benchmarks.site import HERE, open_site

DOCS = HERE.parent / "docs"

# What nothing can be measured without, and Debian's package of it.
_TOOLS = {
    "nginx": "nginx-light",
    "wrk": "wrk",
    "curl": "curl",
    "openssl": "openssl",
    "cc": "gcc libc6-dev libssl-dev",
}
_OPEN_FILES = 16384
_ENOUGH_ROUNDS = 5
_GROUPS: tuple[Group, ...] = get_args(Group)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, help="how often each row is measured (5)")
    parser.add_argument("--quick", action="store_true", help="a round of one second a row")
    parser.add_argument("--only", default="", help=f"of {','.join(peer.name for peer in PEERS)}")
    parser.add_argument("--rows", default=",".join(_GROUPS), help="of http,ws,files")
    parser.add_argument(
        "--generator",
        choices=("realtime", "fair"),
        default="realtime" if realtime_is_allowed() else "fair",
        help="whether load generators have their core before the upstream (if that is allowed)",
    )
    options = parser.parse_args()
    options.only = [name for name in options.only.split(",") if name]
    options.rows = options.rows.split(",")
    if unknown := set(options.only) - {peer.name for peer in PEERS}:
        parser.error(f"no such proxy: {', '.join(sorted(unknown))}")
    if unknown := set(options.rows) - set(_GROUPS):
        parser.error(f"no such rows: {', '.join(sorted(unknown))}")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds: at least 1")
    return options


def _prepare_machine() -> None:
    """Exit with what is lacking; else settle on the load generator's core."""
    lacking = [package for tool, package in _TOOLS.items() if not shutil.which(tool)]
    if not Path("/usr/include/openssl/ssl.h").exists() and "cc" not in lacking:
        lacking.append("libssl-dev")
    if lacking:
        sys.exit(f"Needed: apt-get install {' '.join(lacking)}")
    if not {0, 1} <= os.sched_getaffinity(0):
        sys.exit("Cores 0 and 1 are needed, one for the proxy and one for everything else.")
    os.sched_setaffinity(0, {LOAD_CORE})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 4096:
        sys.exit(f"1000 bridges take more than the {hard} open files that are allowed here.")
    soft = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stopped)


def _stopped(_signal: int, _frame: FrameType | None) -> None:
    sys.exit("Stopped.")  # by way of every "finally", so that nothing is left running


def _available(names: Sequence[str]) -> tuple[list[Peer], dict[str, str]]:
    """Give the peers to measure, and why others are missing, by their titles."""
    peers: list[Peer] = []
    missing: dict[str, str] = {}
    for peer in PEERS:
        if names and peer.name not in names:
            continue
        if why := peer.missing():
            missing[peer.title] = why
        else:
            peers.append(peer)
    return peers, missing


def main() -> None:
    options = _options()
    _prepare_machine()
    effort = QUICK if options.quick else FULL
    if options.rounds:
        effort = replace(effort, rounds=options.rounds)
    peers, missing = _available(options.only)
    for title, why in missing.items():
        print(f"{title} is missing: {why}")
    if not peers:
        sys.exit("No proxy to measure.")
    versions = {peer.title: peer.version() for peer in peers}
    began = monotonic()

    def tell(line: str) -> None:
        print(f"{(monotonic() - began) / 60:5.1f} min  {line}", flush=True)

    with TemporaryDirectory(prefix="ipyproxy-benchmarks-") as scratch:
        directory = Path(scratch)
        directory.chmod(0o755)  # Apache's workers are not root
        ahead = REALTIME if options.generator == "realtime" else ()
        with open_site(directory, effort.large_bytes, ahead) as site:
            results = run(peers, options.rows, effort, site, tell)

    # What is not the whole is shown, but does not take the place of the whole.
    whole = not (options.quick or options.only) and set(options.rows) == set(_GROUPS)
    if not whole or effort.rounds < _ENOUGH_ROUNDS:
        print(report.markdown(results, peers, versions, missing, effort, options.generator, ""))
        return
    DOCS.mkdir(exist_ok=True)
    plot = DOCS / "benchmarks.svg"
    drawn = report.draw(results, peers, plot)
    if not drawn:
        print("No plot: pip install matplotlib")
    picture = plot.name if drawn else ""
    text = report.markdown(results, peers, versions, missing, effort, options.generator, picture)
    (DOCS / "benchmarks.md").write_text(text)
    print(f"Written: {DOCS / 'benchmarks.md'}")


if __name__ == "__main__":
    main()
