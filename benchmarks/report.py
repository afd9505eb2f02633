"""The report: medians as Markdown tables, with ratios to nginx, and a plot.

Knows headings, units and what a reader asks. Knows nothing of how a figure came about.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.bars import BARS, Bar
from benchmarks.measure import PACED_MESSAGES, PACED_REQUESTS, Effort, Results
from benchmarks.peers import Peer

MEASURE = "nginx"  # the peer that every figure is compared with


@dataclass(frozen=True)
class Column:
    """A figure's name, its heading with the unit, and whether more of it is better."""

    figure: str
    heading: str
    more: bool = False

    @property
    def title(self) -> str:
        return f"{self.heading} {'↑' if self.more else '↓'}"


@dataclass(frozen=True)
class Table:
    title: str
    text: str
    columns: tuple[Column, ...]


def _trip_columns(size: str) -> tuple[Column, ...]:
    return tuple(
        Column(f"ws{size}{bridges}_{part}", f"{part} µs at {bridges:,}")
        for bridges in (1, 100, 1000)
        for part in ("p50", "p99")
    )


TABLES = (
    Table(
        "Requests of 1 KiB",
        "Connections are kept. The heads are a browser's: some twenty fields with cookies; the "
        "target and one or two values change every time. Throughput and CPU at 64 connections, "
        "latency at one.",
        (
            Column("requests", "requests/s", more=True),
            Column("requests_cpu", "CPU s per 10,000"),
            Column("request_p50", "p50 µs"),
            Column("request_p99", "p99 µs"),
        ),
    ),
    Table(
        "Requests and messages at a rate",
        f"An open loop: {PACED_REQUESTS:,} requests a second on 64 connections, "
        f"{PACED_MESSAGES:,} messages of 1 KiB a second on 100 and on 1000 WebSockets, sent when "
        "they are due, however long answers take. A round trip counts from when its message was "
        "due.",
        (
            Column("paced_cpu", "CPU s per 10,000 requests"),
            Column("paced_p50", "p50 µs"),
            Column("paced_p99", "p99 µs"),
            *(
                column
                for n in (100, 1000)
                for column in (
                    Column(f"paced{n}_cpu", f"CPU s per 10,000 messages on {n:,}"),
                    Column(f"paced{n}_p50", f"p50 µs on {n:,}"),
                    Column(f"paced{n}_p99", f"p99 µs on {n:,}"),
                )
            ),
        ),
    ),
    Table(
        "New TLS connections",
        "Handshake, one request of 1 KiB, close; 16 at a time. Resumed: each connection brings "
        "the ticket of the one before it.",
        (
            Column("full", "full/s", more=True),
            Column("full_cpu", "CPU ms each"),
            Column("resumed", "resumed/s", more=True),
            Column("resumed_cpu", "CPU ms each"),
        ),
    ),
    Table(
        "Large bodies",
        "One file on one connection.",
        (
            Column("download", "download MB/s", more=True),
            Column("download_cpu", "CPU s per GB"),
            Column("upload", "upload MB/s", more=True),
            Column("upload_cpu", "CPU s per GB"),
        ),
    ),
    Table(
        "Files and applications at routes",
        "A file of 1 KiB on 64 connections, one of 1 MiB on 4, an application of 1 KiB at a UNIX "
        "socket on 64; and the large file once, named by the application in X-Accel-Redirect "
        "(Apache: X-Sendfile) and sent by the proxy, beside the same sent by the application.",
        (
            Column("small_files", "files/s of 1 KiB", more=True),
            Column("small_files_cpu", "CPU s per 10,000"),
            Column("large_files", "MB/s of 1 MiB", more=True),
            Column("large_files_cpu", "CPU s per GB"),
            Column("socket", "application/s", more=True),
            Column("socket_cpu", "CPU s per 10,000"),
            Column("named", "named file MB/s", more=True),
            Column("named_cpu", "CPU s per GB"),
            Column("proxied", "the same proxied MB/s", more=True),
            Column("proxied_cpu", "CPU s per GB"),
            Column("files_mib", "MiB afterwards"),
        ),
    ),
    Table(
        "Start and memory",
        "From exec to the first answer that comes from the upstream; resident memory of all its "
        "processes two seconds later, and after all the rows above; how much each of 1000 idle "
        "WebSockets adds.",
        (
            Column("start_ms", "start ms"),
            Column("start_mib", "MiB at start"),
            Column("load_mib", "MiB after load"),
            Column("bridge_kib", "KiB per idle WebSocket"),
        ),
    ),
    Table(
        "WebSocket messages",
        "Messages of 1 KiB echoed on 100 WebSockets; messages of 4 MiB one way on one.",
        (
            Column("ws1k100_rate", "messages/s", more=True),
            Column("ws1k100_cpu", "CPU s per 10,000"),
            Column("ws_down", "down MB/s", more=True),
            Column("ws_down_cpu", "CPU s per GB"),
            Column("ws_up", "up MB/s", more=True),
            Column("ws_up_cpu", "CPU s per GB"),
        ),
    ),
    Table(
        "WebSocket round trip of 1 KiB",
        "On 1, 100 and 1000 WebSockets, each with one message under way. From 100 on the proxy's "
        "core is full: this is the time in the queue.",
        _trip_columns("1k"),
    ),
    Table("WebSocket round trip of 64 KiB", "The same with larger messages.", _trip_columns("64k")),
)

_PLOTTED = (
    ("requests", "requests/s, 1 KiB"),
    ("requests_cpu", "CPU s per 10,000 requests"),
    ("full", "new TLS connections/s"),
    ("download", "download MB/s"),
    ("upload", "upload MB/s"),
    ("ws1k100_rate", "WebSocket messages/s, 1 KiB"),
    ("ws1k1_p50", "WebSocket round trip µs, 1 KiB, p50"),
    ("ws_down", "WebSocket MB/s down, 4 MiB messages"),
    ("bridge_kib", "KiB per idle WebSocket"),
)

_COLOURS = {"ipyproxy": "#d1495b", "none": "#d9dee4"}


def number(value: float) -> str:
    """Give a figure with three digits that say something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def markdown(
    results: Results,
    peers: Sequence[Peer],
    versions: Mapping[str, str],
    missing: Mapping[str, str],
    effort: Effort,
    generator: str,
    plot: str,
) -> str:
    """Give the whole report.

    :param generator: how the load generators' core was shared, a key of ``_GENERATORS``.
    :param versions: by the peer's title; ``missing``: why a proxy is not in it.
    :param plot: the name of the picture's file beside the report; empty for none.
    """
    parts = [
        _HEAD.format(rounds=effort.rounds, generator=_GENERATORS[generator]),
        machine(),
        _lines("Versions", versions),
    ]
    if missing:
        parts.append(_lines("Not in it", missing))
    if plot:
        parts.append(f"![The figures at a glance]({plot})")
    if bars := _bars(results):
        parts.append(bars)
    parts += [_table(table, results, peers) for table in TABLES if _has_figures(table, results)]
    if effort.rounds > 1:
        parts.append(
            f"A figure moves by {results.spread():.0%} between rounds (largest less "
            "smallest, over the median; half of all figures move less)."
        )
    return "\n\n".join(parts) + "\n"


_GENERATORS = {
    "realtime": "The load generators have real-time priority: they never wait for the CPU.",
    "fair": "The load generators share their core with the upstream evenly.",
}

_HEAD = """\
# Benchmarks

Made by `make bench`; how it is done is told in `benchmarks/README.md`.
Each proxy runs on core 0, the load generator and the upstream on core 1. {generator}
TLS 1.3, AES-128-GCM,
X25519, one P-256 certificate. Medians; interleaved rounds: {rounds}. In brackets: the ratio to
nginx. ↑ more is better, ↓ less is better. "No proxy" is the upstream itself with TLS, on the
proxy's core: the ceiling of this machine and these load generators. How long a browser takes to
open JupyterLab over a slow line has [a page of its own](opening-lab.md), and so has [how Galaxy's
interactive tools fare](benchmarks-tools.md) beside gx-it-proxy.

[![Seconds until JupyterLab is open](opening-lab.svg)](opening-lab.md)"""


def machine() -> str:
    cpus = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    return _lines(
        "Machine",
        {
            "Date": f"{datetime.now(UTC):%Y-%m-%d}",
            "CPU": f"{len(cpus)} × {cpus[0] if cpus else platform.machine()}",
            "System": f"{system}, kernel {platform.release()}",
            "Python": platform.python_version(),
            "Load average at the end": f"{os.getloadavg()[2]:.1f} over 15 minutes",
        },
    )


def _lines(title: str, items: Mapping[str, str]) -> str:
    return f"**{title}.** " + "; ".join(f"{name}: {text}" for name, text in items.items()) + "."


def _has_figures(table: Table, results: Results) -> bool:
    wanted = {column.figure for column in table.columns}
    return any(figure in wanted for figure, _ in (*results.values, *results.failures))


def _table(table: Table, results: Results, peers: Sequence[Peer]) -> str:
    notes: dict[tuple[str, str], int] = {}
    lines = ["| | " + " | ".join(column.title for column in table.columns) + " |"]
    lines.append("|---|" + "---:|" * len(table.columns))
    for peer in peers:
        name = f"**{peer.title}**" if peer.name == "ipyproxy" else peer.title
        cells = [_cell(column.figure, peer, results, notes) for column in table.columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    footnotes = [f"{n}. {title}: {reason}" for (title, reason), n in notes.items()]
    parts = [f"## {table.title}", table.text, "\n".join(lines), "\n".join(footnotes)]
    return "\n\n".join(part for part in parts if part)


def _bars(results: Results) -> str:
    """Give the project's own bars and whether they hold; nothing without nginx's figures."""
    lines = []
    for bar in BARS:
        values = [_against(bar, figure, results) for figure in (bar.closed, bar.open)]
        if values[0] is None:
            continue
        shown = [number(value) if value is not None else "–" for value in values]
        holds = all(bar.holds(value) for value in values if value is not None)
        lines.append(
            f"| {bar.title} | {' | '.join(shown)} | {'≥' if bar.more else '≤'} {bar.limit:g} "
            f"| {'yes' if holds else 'no'} |"
        )
    if not lines:
        return ""
    head = "| | closed loop | open loop | bar | holds |\n|---|---:|---:|---:|---|"
    return "\n\n".join(("## The bars", _BARS_TEXT, "\n".join((head, *lines))))


_BARS_TEXT = (
    "What the project has set itself, of ipyproxy as its packages have it: ratios to nginx, but "
    "for memory. A closed loop sends the next when the answer has come, and so fills the proxy's "
    "core; an open one sends at a fixed rate. A bar holds if it does in both."
)


def _against(bar: Bar, figure: str, results: Results) -> float | None:
    value = results.median(figure, "ipyproxy")
    if bar.absolute or value is None:
        return value
    base = results.median(figure, MEASURE)
    return value / base if base else None


def _cell(figure: str, peer: Peer, results: Results, notes: dict[tuple[str, str], int]) -> str:
    value = results.median(figure, peer.name)
    reason = results.failures.get((figure, peer.name))
    note = ""
    if reason is not None:
        got = len(results.values.get((figure, peer.name), ()))
        told = reason if got == 0 else f"{got} of {results.rounds} rounds only: {reason}"
        note = f" [{notes.setdefault((peer.title, told), len(notes) + 1)}]"
    if value is None:
        return f"failed{note}" if note else "–"
    base = results.median(figure, MEASURE)
    ratio = f" ({value / base:.2f})" if base else ""
    return number(value) + ratio + note


def draw(results: Results, peers: Sequence[Peer], target: Path) -> bool:
    """Draw the plot; False if matplotlib is not installed."""
    try:
        import matplotlib as mpl  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return False
    mpl.use("svg")
    # Text stays text, and the same figures give the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "ipyproxy", "font.size": 8})
    from matplotlib import pyplot as plt  # type: ignore[import-not-found, unused-ignore]

    shown = [(f, title) for f, title in _PLOTTED if any(f == key for key, _ in results.values)]
    rows = -(-len(shown) // 3)
    figure, axes = plt.subplots(rows, 3, sharey=True, figsize=(11, 2.4 * rows), squeeze=False)
    more = {column.figure for table in TABLES for column in table.columns if column.more}
    names = [peer.title for peer in peers]
    colours = [_COLOURS.get(peer.name, "#9aa5b1") for peer in peers]
    for axis, (key, title) in zip(axes.flat, shown, strict=False):
        values = [results.median(key, peer.name) or 0.0 for peer in peers]
        bars = axis.barh(names, values, color=colours)
        axis.bar_label(bars, [number(value) if value else "–" for value in values], padding=2)
        axis.set_title(f"{title} {'↑' if key in more else '↓'}", loc="left", fontsize=9)
        axis.margins(x=0.18)
        axis.xaxis.set_visible(False)
        axis.tick_params(left=False)
        for side in ("top", "right", "bottom"):
            axis.spines[side].set_visible(False)
    axes.flat[0].invert_yaxis()
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})
    return True
