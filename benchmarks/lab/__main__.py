"""``python -m benchmarks.lab [--rounds 3] [--links 100/10,20/100] [--only ipyproxy,nginx2]``."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from playwright.sync_api import Error, sync_playwright

from benchmarks.lab import report
from benchmarks.lab.opening import Browsers, Link, Opened, lab, line, many
from benchmarks.lab.proxies import PROXIES, Proxy
from benchmarks.processes import Process
from benchmarks.site import PEER_PORTS, UPSTREAM_PORTS, Site, free_ports, wait_for_port

DOCS = Path(__file__).parents[2] / "docs"
LINKS = "0/0,20/100,100/10,100/5,200/10"
IMPROVED_WITHIN = 16.0  # seconds from a first visit until what is kept is as small as it gets
FIRST, SECOND, AGAIN = "first", "second", "again"

Results = dict[tuple[str, Link, str], list[Opened]]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lab", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--links", default=LINKS, help=f"round trip/Mbit/s ({LINKS})")
    parser.add_argument("--only", default="", help=f"of {','.join(p.name for p in PROXIES)}")
    parser.add_argument("--many", action="store_true", help="a page of 300 small requests instead")
    parser.add_argument("--add-to", type=Path, help="a file with the results of earlier runs")
    parser.add_argument("--write", action="store_true", help="into docs/")
    return parser.parse_args()


def _site(directory: Path) -> Site:
    port = free_ports(UPSTREAM_PORTS)
    site = Site(directory, port, port, directory / "none", 0)
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(site.key), "-out", str(site.certificate)]
    subprocess.run(
        ["openssl", "req", "-x509", *curve, *names, *files], check=True, capture_output=True
    )
    return site


def _visits(
    proxy: Proxy, link: Link, site: Site, browsers: Browsers, number: int
) -> dict[str, Opened]:
    """A first visitor of a proxy that has just been started, a second, and that one again."""
    directory = site.directory / f"{proxy.name}-{link.round_trip}-{link.megabits}-{number}"
    directory.mkdir()
    directory.chmod(0o755)
    port = free_ports(PEER_PORTS)
    command = proxy.command(site, port, directory)
    process = Process(command, directory / "output.log", 0, proxy.env)
    try:
        wait_for_port(process, port, patience=20)
        with line(link, port) as (relay_port, relay):
            (first,) = browsers.visit(relay_port, relay, 1)
            if proxy.name == "ipyproxy":
                sleep(IMPROVED_WITHIN)
            second, again = browsers.visit(relay_port, relay, 2)
    finally:
        process.stop()
    return {FIRST: first, SECOND: second, AGAIN: again}


def _earlier(file: Path | None) -> Results:
    """The results of earlier runs."""
    results: Results = defaultdict(list)
    if file is not None and file.exists():
        for name, round_trip, megabits, kind, seconds, down in json.loads(file.read_text()):
            results[name, Link(round_trip, megabits), kind].append(Opened(seconds, down))
    return results


def _keep(results: Results, file: Path) -> None:
    rows = [
        (name, link.round_trip, link.megabits, kind, each.seconds, each.down)
        for (name, link, kind), opened in results.items()
        for each in opened
    ]
    file.write_text(json.dumps(rows))


def _measure(
    results: Results,
    proxies: Sequence[Proxy],
    links: Sequence[Link],
    rounds: int,
    site: Site,
    browsers: Browsers,
    kept: Path | None,
) -> None:
    began = monotonic()
    for number in range(rounds):
        for link in links:
            # Who begins changes, so that a disturbance of the machine hits all alike.
            turn = number % len(proxies)
            for proxy in (*proxies[turn:], *proxies[:turn]):
                try:
                    visits = _visits(proxy, link, site, browsers, number)
                except (Error, RuntimeError) as error:
                    print(f"{proxy.title}: {str(error)[:200]}", flush=True)
                    continue
                told = [
                    f"{kind} {each.seconds:.2f} s, {each.down / 1e6:.2f} MB"
                    for kind, each in visits.items()
                ]
                minutes = (monotonic() - began) / 60
                print(
                    f"{minutes:5.1f} min  {link.title}  {proxy.title}: {'; '.join(told)}",
                    flush=True,
                )
                for kind, each in visits.items():
                    results[proxy.name, link, kind].append(each)
                if kept is not None:
                    _keep(results, kept)  # a run that is cut short loses nothing


def main() -> None:
    options = _options()
    links = [Link(*map(int, text.split("/"))) for text in options.links.split(",")]
    wanted = [name for name in options.only.split(",") if name]
    proxies = [p for p in PROXIES if not wanted or p.name in wanted]
    for proxy in proxies:
        if why := proxy.missing():
            print(f"{proxy.title} is missing: {why}")
    proxies = [proxy for proxy in proxies if not proxy.missing()]
    if not proxies:
        sys.exit("No proxy to measure.")
    with TemporaryDirectory(prefix="ipyproxy-lab-") as scratch, sync_playwright() as playwright:
        directory = Path(scratch)
        directory.chmod(0o755)
        site = _site(directory)
        upstream = many(site) if options.many else lab(site)
        results = _earlier(options.add_to)
        try:
            browsers = Browsers(playwright, site)
            # The notebook's own first time, which has nothing to do with the proxy.
            _visits(proxies[0], Link(0, 0), site, browsers, -1)
            _measure(results, proxies, links, options.rounds, site, browsers, options.add_to)
        finally:
            upstream.stop()
    if options.add_to is not None:
        proxies = [proxy for proxy in PROXIES if any(name == proxy.name for name, *_ in results)]
        links = sorted({link for _, link, _ in results}, key=lambda link: link.order)
    text = report.markdown(results, proxies, links)
    if options.write:
        (DOCS / "opening-lab.md").write_text(text)
        report.draw(results, proxies, links, DOCS / "opening-lab.svg")
        print(f"Written: {DOCS / 'opening-lab.md'}")
    else:
        print(text)


if __name__ == "__main__":
    main()
