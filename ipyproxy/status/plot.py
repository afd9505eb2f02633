"""Draws the last hour: one bar for each minute, as inline SVG without size or colour.

Knows lines only. The style sheet says how large it is and what it looks like.
"""

from __future__ import annotations

from ipyproxy.records.statistics import MINUTES, Hour

_HEIGHT = 24


def plot(hour: Hour) -> str:
    """Bars of all requests, and in front of them bars of failed ones, on the same scale."""
    most = max(hour.requests)
    total, errors = sum(hour.requests), sum(hour.errors)
    said = f"{total} requests in the last hour, {errors} of them failed; {most} in a minute at most"
    bars = "".join(
        f'<path class="{kind}" d="{_bars(counts, most)}"/>'
        for kind, counts in (("all", hour.requests), ("failed", hour.errors))
        if any(counts)
    )
    return (
        f'<svg class="plot" role="img" aria-label="{said}" viewBox="0 0 {MINUTES} {_HEIGHT}" '
        f'preserveAspectRatio="none"><title>{said}</title>'
        f'<path class="ground" d="M0 {_HEIGHT}H{MINUTES}"/>{bars}</svg>'
    )


def _bars(counts: list[int], most: int) -> str:
    """A bar for each count above 0; the smallest one is still visible."""
    return "".join(
        f"M{at}.5 {_HEIGHT}v-{max(1.5, _HEIGHT * count / most):.4g}"
        for at, count in enumerate(counts)
        if count
    )
