"""Decides when to ask for a certificate: at first, before it expires, and after a failure.

Pure. All times are the wall clock's, in seconds since the epoch, because they are compared with
dates in certificates and outlive the process. If the clock is set, that causes at most one more
attempt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

_DAY = 86400.0
_HOUR = 3600.0

SHORT_LIFE = 10 * _DAY
"""A certificate with a shorter lifetime is renewed after half of it, any other after two thirds."""
_JITTER = 0.02
"""Renewals are spread over this part of the lifetime, if the authority suggests no time."""

_WAITS = (60.0, 600.0, 1200.0, 3600.0, 7200.0, 14400.0, 21600.0)
"""Seconds to wait after the first failure, the second and so on; the last one also for all later
ones."""
_WAIT_SPREAD = 0.25
_LONGEST_WISH = 7 * _DAY
"""Longest Retry-After that is respected."""
MOST_FAILURES_AN_HOUR = 4
"""Most failures in an hour, also on request. Let's Encrypt locks a name out after five."""
_SET_BACK = 60.0


@dataclass(frozen=True, slots=True)
class Window:
    """The period in which an authority suggests to renew a certificate (RFC 9773)."""

    begins: float
    ends: float


@dataclass(frozen=True, slots=True)
class Attempts:
    """The failures for one name since its last success."""

    failures: int = 0
    last: float = 0.0
    not_before: float = 0.0
    recent: tuple[float, ...] = ()
    """The times of failures in the last hour."""
    why: str = ""


def renewal_time(begins: float, ends: float, window: Window | None, share: float) -> float:
    """When to renew a certificate that is valid from ``begins`` to ``ends``.

    :param window: the period that the authority suggests, if any.
    :param share: the position in a window, from 0 to 1; always the same for one certificate.
    """
    if window is not None:
        return window.begins + share * (window.ends - window.begins)
    life = ends - begins
    part = 1 / 2 if life < SHORT_LIFE else 2 / 3
    return begins + life * (part + share * _JITTER)


def may_try(attempts: Attempts, now: float, *, asked: bool = False) -> bool:
    """Whether to ask now for a certificate that is due.

    :param asked: whether a person has asked for it and does not want to wait.
    """
    if now < attempts.last - _SET_BACK:
        return True  # the last attempt lies in the future, so the clock was wrong then
    recent = [failed for failed in attempts.recent if failed > now - _HOUR]
    if len(recent) >= MOST_FAILURES_AN_HOUR:
        return False
    return asked or now >= attempts.not_before


def after_failure(
    attempts: Attempts, now: float, why: str, *, retry_after: float, left: float, share: float
) -> Attempts:
    """The record after one more failed attempt.

    :param retry_after: seconds to wait, as the authority asks for.
    :param left: seconds until the present certificate expires; 0 without one.
    :param share: a random number from 0 to 1, which spreads the next attempt.
    """
    failures = attempts.failures + 1
    wait = _WAITS[min(failures, len(_WAITS)) - 1]
    if left > 0:
        # More often towards the end, but at most once an hour.
        wait = min(wait, max(_HOUR, left / 8))
    wait = max(wait * (1 + share * _WAIT_SPREAD), min(retry_after, _LONGEST_WISH))
    recent = tuple(failed for failed in attempts.recent if now - _HOUR < failed <= now)
    return replace(
        attempts,
        failures=failures,
        last=now,
        not_before=now + wait,
        recent=(*recent, now),
        why=why,
    )
