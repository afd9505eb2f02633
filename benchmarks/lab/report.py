"""The report on opening JupyterLab: medians as Markdown tables, and a picture.

Knows headings and units. Knows nothing of how a figure came about.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.lab.opening import Link, Opened
from benchmarks.lab.proxies import Proxy

KINDS = {"first": "first visitor", "second": "second visitor", "again": "the second once more"}
_COLOURS = {"ipyproxy": "#d1495b", "plain": "#e7a3ac"}

Results = Mapping[tuple[str, Link, str], Sequence[Opened]]

_HEAD = """\
# Opening JupyterLab over a slow line

Made by `make bench-lab` on {date}; medians of the rounds that each table names. Chromium opens
JupyterLab 4 until the launcher's first card can be clicked. Between browser and proxy is a relay
(`benchmarks/lab/relay.py`) with a round trip, a rate and TCP's slow start. Each proxy is started
anew. The **first visitor** finds nothing compressed yet and has an empty cache, the **second
visitor** comes with another empty cache, and then **once more** with what the browser has kept. MB
is what went down the line, heads and TLS included.

![Seconds until JupyterLab is open](opening-lab.svg)"""


def _median(opened: Sequence[Opened]) -> tuple[float, float]:
    seconds = statistics.median(each.seconds for each in opened)
    return seconds, statistics.median(each.down for each in opened) / 1e6


def markdown(results: Results, proxies: Sequence[Proxy], links: Sequence[Link]) -> str:
    parts = [_HEAD.format(date=f"{datetime.now(UTC):%Y-%m-%d}")]
    for link in links:
        titles = ["rounds", *(f"{title}: s | MB" for title in KINDS.values())]
        lines = ["| | " + " | ".join(titles) + " |", "|---|" + "---:|" * (2 * len(KINDS) + 1)]
        for proxy in proxies:
            rounds = len(results.get((proxy.name, link, "first"), ()))
            if not rounds:
                continue
            cells = [str(rounds)]
            for kind in KINDS:
                opened = results.get((proxy.name, link, kind))
                cells += [f"{n:.2f}" for n in _median(opened)] if opened else ["–", "–"]
            lines.append(f"| {proxy.title} | " + " | ".join(cells) + " |")
        parts += [f"## {link.title}", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def draw(results: Results, proxies: Sequence[Proxy], links: Sequence[Link], target: Path) -> None:
    """Draw the picture, if matplotlib is installed."""
    try:
        import matplotlib as mpl  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        print("No picture: pip install matplotlib")
        return
    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "ipyproxy", "font.size": 8})
    from matplotlib import pyplot as plt  # type: ignore[import-not-found, unused-ignore]

    size = (11, 0.6 + 1.9 * len(links))
    figure, axes = plt.subplots(len(links), len(KINDS), sharey=True, figsize=size, squeeze=False)
    names = [proxy.title for proxy in proxies]
    colours = [_COLOURS.get(proxy.name, "#9aa5b1") for proxy in proxies]
    for row, link in zip(axes, links, strict=True):
        for axis, (kind, title) in zip(row, KINDS.items(), strict=True):
            opened = [results.get((proxy.name, link, kind)) for proxy in proxies]
            medians = [_median(each) if each else None for each in opened]
            bars = axis.barh(names, [each[0] if each else 0.0 for each in medians], color=colours)
            labels = [
                f"{each[0]:.2f} s, {each[1]:.2f} MB" if each else "not measured" for each in medians
            ]
            axis.bar_label(bars, labels, padding=2)
            axis.set_title(f"{link.title}: {title}", loc="left", fontsize=9)
            axis.margins(x=0.4)
            axis.xaxis.set_visible(False)
            axis.tick_params(left=False)
            for side in ("top", "right", "bottom"):
                axis.spines[side].set_visible(False)
    axes[0][0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})
