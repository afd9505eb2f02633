"""The last hour as a drawing: one bar for each minute, an inline SVG without a size or a colour.

Knows lines only. The style sheet says how large it is and what it looks like.
"""

from __future__ import annotations

from ipyproxy.records.statistics import MINUTES, Hour

_HEIGHT = 24


def plot(hour: Hour) -> str:
    """Bars of all requests, and before them bars of those that failed, on one scale."""
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
    """One bar wherever there is something; the smallest can still be seen."""
    return "".join(
        f"M{at}.5 {_HEIGHT}v-{max(1.5, _HEIGHT * count / most):.4g}"
        for at, count in enumerate(counts)
        if count
    )
