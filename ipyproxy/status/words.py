"""Figures as people read them: ages, durations, counts. Pure."""

from __future__ import annotations

import html
from datetime import UTC, datetime

_THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"
_NONE = "\N{EN DASH}"


def count(number: int) -> str:
    """A count with separated thousands."""
    return f"{number:,}".replace(",", _THIN_SPACE)


def some(number: int, one: str, many: str) -> str:
    """A count of something."""
    return f"{count(number)} {one if number == 1 else many}"


def size(number: int) -> str:
    """So many bytes, in MiB."""
    return f"{number / 2**20:.1f} MiB"


def duration(seconds: float | None) -> str:
    """A short duration, with two or three digits."""
    if seconds is None:
        return _NONE
    if seconds >= 100:
        return f"{seconds / 60:.0f} min"
    value, unit = (seconds * 1000, "ms") if seconds < 1 else (seconds, "s")
    return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"


def age(seconds: float) -> str:
    """A duration in its largest unit, so that it seldom changes."""
    if seconds < 60:
        return "less than a minute"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min"
    if seconds < 2 * 86400:
        return f"{seconds // 3600:.0f} h"
    return f"{seconds // 86400:.0f} days"


def ago(at: float | None, now: float) -> str:
    """How long ago a time was, as HTML; the tooltip has the time itself."""
    if at is None:
        return _NONE
    return _timed(at, "just now" if now - at < 60 else f"{age(now - at)} ago")


def lasting(since: float, now: float) -> str:
    """How long something has lasted, likewise."""
    return _timed(since, "just now" if now - since < 60 else f"for {age(now - since)}")


def _timed(at: float, text: str) -> str:
    exact = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f'<time datetime="{exact.replace(" ", "T")}Z" title="{exact} UTC">{text}</time>'


def escaped(text: str) -> str:
    """Text as HTML."""
    return html.escape(text)
