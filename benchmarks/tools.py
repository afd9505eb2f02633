"""Galaxy's interactive tools: ipyproxy beside gx-it-proxy, on maps of ten and of 10,000 tools.

``python -m benchmarks.tools [--rounds 5] [--seconds 4] [--write]``. With ``--write`` the result
goes to docs/benchmarks-tools.md. The map that both read is one of Galaxy's, in SQLite.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import load
from benchmarks.peers import CACHE, PEERS, Peer, Running
from benchmarks.processes import LOAD_CORE, rss_kib
from benchmarks.report import number
from benchmarks.site import HERE, Site, nginx_user, open_site, render

_TOKEN = "d76ec842e77049059753b0d40992d15f"
_PACKAGE = "@galaxyproject/gx-it-proxy@0.2.3"
_GX = CACHE / "node_modules" / "@galaxyproject" / "gx-it-proxy" / "lib" / "main.js"
_ROWS = HERE.parent / "tests" / "integration" / "applications" / "sqlite3_by_python.js"
_PAGE = HERE.parent / "docs" / "benchmarks-tools.md"
_SIZES = (10, 10_000)
_CONNECTIONS = 64
_BRIDGES = 50


class ToolSite(Site):
    """The same upstreams, as tools: the proxy takes its own path off, and they see theirs."""

    @property
    def http_prefix(self) -> str:
        return f"/interactivetool/ep/http/{_TOKEN}{super().http_prefix}"

    @property
    def ws_prefix(self) -> str:
        return f"/interactivetool/ep/websocket/{_TOKEN}{super().ws_prefix}"


def _write_map(site: Site, path: Path, size: int) -> None:
    """A map with *size* tools; the two that are asked for are in the middle."""
    kind, told = "interactivetoolentrypoint", '{"requires_path_in_url": false}'
    rows = [
        (f"k{at:x}", kind, f"{at:032x}", "10.0.0.1", 1024 + at % 60000, told)
        for at in range(size - 2)
    ]
    rows[size // 2 : size // 2] = [
        ("http", kind, _TOKEN, "127.0.0.1", site.http_port, told),
        ("websocket", kind, _TOKEN, "127.0.0.1", site.ws_port, told),
    ]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE gxitproxy (key text, key_type text, token text, host text, "
            "port integer, info text, PRIMARY KEY (key, key_type))"
        )
        connection.executemany("INSERT INTO gxitproxy VALUES (?, ?, ?, ?, ?, ?)", rows)


def _ipyproxy(sessions: Path) -> Callable[[Site, int, Path], list[list[str]]]:
    def commands(site: Site, port: int, directory: Path) -> list[list[str]]:
        settings = site.settings(port=port, directory=directory, map=sessions)
        config = render("tools-ipyproxy.toml", settings, directory / "ipyproxy.toml")
        twistd = str(Path(sys.executable).with_name("twistd"))
        pid_file = f"--pidfile={directory / 'twistd.pid'}"
        return [[twistd, "--nodaemon", pid_file, "ipyproxy", "--config", str(config)]]

    return commands


def _gx_it_proxy(sessions: Path) -> Callable[[Site, int, Path], list[list[str]]]:
    def commands(site: Site, port: int, directory: Path) -> list[list[str]]:
        inner = port + 1
        more = {"inner": inner, "user": nginx_user()}
        settings = site.settings(port=port, directory=directory, **more)
        config = render("tools-nginx.conf", settings, directory / "nginx.conf")
        node = ["node", "--require", str(_ROWS), str(_GX), "--ip", "127.0.0.1"]
        options = ["--sessions", str(sessions), "--proxyPathPrefix", "/interactivetool/ep"]
        return [
            [*node, "--port", str(inner), *options],
            ["nginx", "-p", str(directory), "-c", str(config)],
        ]

    return commands


def _install() -> None:
    """Have gx-it-proxy; its scripts compile, and are not run."""
    if _GX.exists():
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    npm = ["npm", "install", "--prefix", str(CACHE), "--ignore-scripts", "--omit=optional"]
    subprocess.run([*npm, _PACKAGE], check=True)


@dataclass(frozen=True)
class Row:
    """What is measured at once, and the columns that it fills."""

    titles: tuple[str, ...]
    measure: Callable[[Running, Site, float], tuple[float, ...]]


def _requests(running: Running, site: Site, seconds: float) -> tuple[float, ...]:
    told = load.requests(running, site, _CONNECTIONS, seconds)
    return told.rate, told.cpu_each * 10_000


def _latency(running: Running, site: Site, seconds: float) -> tuple[float, ...]:
    return (load.requests(running, site, 1, seconds).p50_us,)


def _messages(running: Running, site: Site, seconds: float) -> tuple[float, ...]:
    told = load.round_trips(running, site, _BRIDGES, 64, seconds)
    return told.rate, told.cpu_each * 10_000


def _memory(running: Running, site: Site, seconds: float) -> tuple[float, ...]:
    return (rss_kib(running.pids()) / 1024,)


ROWS = (
    Row(("requests/s ↑", "CPU s per 10,000 ↓"), _requests),
    Row(("p50 µs ↓",), _latency),
    Row(("messages/s ↑", "CPU s per 10,000 ↓"), _messages),
    Row(("MiB ↓",), _memory),
)


def _peers(directory: Path, site: Site) -> Iterable[tuple[str, Peer]]:
    compiled = next(peer for peer in PEERS if peer.name == "ipyproxy")
    for size in _SIZES:
        sessions = directory / f"{size}.sqlite"
        _write_map(site, sessions, size)
        env = {"PYTHONPATH": os.environ.get("IPYPROXY_COMPILED", compiled.env["PYTHONPATH"])}
        commands = _ipyproxy(sessions)
        yield (
            f"**ipyproxy**, {size:,} tools",
            Peer(f"ipyproxy-{size}", "", commands, lambda: "", lambda: "", env=env),
        )
        commands = _gx_it_proxy(sessions)
        yield (
            f"nginx and gx-it-proxy, {size:,} tools",
            Peer(f"gx-{size}", "", commands, lambda: "", lambda: ""),
        )


def _measured(rounds: int, seconds: float) -> dict[str, list[float]]:
    """The medians of each peer's rows, by its title; the peers take turns."""
    found: dict[str, list[tuple[float, ...]]] = {}
    with TemporaryDirectory(prefix="ipyproxy-benchmarks-") as scratch, ExitStack() as stack:
        directory = Path(scratch)
        directory.chmod(0o755)
        plain = stack.enter_context(open_site(directory, 1))
        site = ToolSite(*(getattr(plain, name) for name in Site.__dataclass_fields__))
        running = {}
        for title, peer in _peers(directory, site):
            running[title] = Running(peer, site, directory / peer.name)
            stack.callback(running[title].stop)
            found[title] = []
        titles = list(running)
        for at in range(rounds):
            turn: dict[str, tuple[float, ...]] = dict.fromkeys(titles, ())
            first = at % len(titles)
            for row in ROWS:
                for title in titles[first:] + titles[:first]:
                    figures = row.measure(running[title], site, seconds)
                    turn[title] += figures
                    shown = "  ".join(map(number, figures))
                    print(f"{at + 1}/{rounds}  {title:40} {row.titles[0]:14} {shown}", flush=True)
            for title, all_figures in turn.items():
                found[title].append(all_figures)
    return {title: list(map(median, zip(*each, strict=True))) for title, each in found.items()}


_HEAD = """\
# Interactive tools beside gx-it-proxy

Made by `python -m benchmarks.tools --write`; how measuring is done is told in
`benchmarks/README.md`. gx-it-proxy {version} speaks no TLS, so it stands behind nginx, as Galaxy's
documentation has it; both run on core 0, as ipyproxy does, load and tools on core 1. Medians of
{rounds} interleaved rounds. Requests: 1 KiB at {connections} connections, latency at one. Messages:
64 bytes, there and back, on {bridges} WebSockets. CPU and memory are of all processes together,
memory at the end. ↑ more is better, ↓ less is better.
{note}
| | {titles} |
|---|{rule}|
"""


def _page(results: dict[str, list[float]], rounds: int, note: str) -> str:
    columns = [title for row in ROWS for title in row.titles]
    head = _HEAD.format(
        version=_PACKAGE.rpartition("@")[2],
        rounds=rounds,
        connections=_CONNECTIONS,
        bridges=_BRIDGES,
        note=f"{note}\n" if note else "",
        titles=" | ".join(columns),
        rule="|".join("---:" for _ in columns),
    )
    lines = [f"| {title} | {' | '.join(map(number, each))} |" for title, each in results.items()]
    return head + "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tools", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--note", default="", help="a sentence on the machine, for the page")
    parser.add_argument("--write", action="store_true", help=f"write {_PAGE.name}")
    options = parser.parse_args(arguments)
    if not shutil.which("node") or not shutil.which("npm"):
        sys.exit("Needed: Node.js with npm")
    _install()
    os.sched_setaffinity(0, {LOAD_CORE})
    page = _page(_measured(options.rounds, options.seconds), options.rounds, options.note)
    print(page)
    if options.write:
        _PAGE.write_text(page)


if __name__ == "__main__":
    main()
