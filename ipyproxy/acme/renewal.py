"""When to ask for a certificate: the first time, again before it ends, and again after a failure.

Pure. All times are the wall clock's, in seconds since the epoch, for they are compared with dates
in certificates and outlive the process. A clock that is set costs no more than one attempt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

_DAY = 86400.0
_HOUR = 3600.0

SHORT_LIFE = 10 * _DAY
"""A certificate that lasts for less is renewed after half its life, any other after two thirds."""
_JITTER = 0.02
"""The part of a life by which renewals are spread, where the authority suggests no time."""

_WAITS = (60.0, 600.0, 1200.0, 3600.0, 7200.0, 14400.0, 21600.0)
"""Seconds after the first failure, the second and so on; the last counts for all that follow."""
_WAIT_SPREAD = 0.25
_LONGEST_WISH = 7 * _DAY
"""Of what an authority asks for with Retry-After, no more is believed."""
MOST_FAILURES_AN_HOUR = 4
"""Whoever asks. Let's Encrypt locks a name out after five."""
_SET_BACK = 60.0


@dataclass(frozen=True, slots=True)
class Window:
    """Within which an authority would like a certificate to be renewed (RFC 9773)."""

    begins: float
    ends: float


@dataclass(frozen=True, slots=True)
class Attempts:
    """What came of asking for one name, since it last went well."""

    failures: int = 0
    last: float = 0.0
    not_before: float = 0.0
    recent: tuple[float, ...] = ()
    """The failures of the last hour."""
    why: str = ""


def renewal_time(begins: float, ends: float, window: Window | None, share: float) -> float:
    """When a certificate that is valid from ``begins`` to ``ends`` is to be renewed.

    :param window: what the authority suggests, if it does.
    :param share: from 0 to 1, always the same for one certificate: where in a window.
    """
    if window is not None:
        return window.begins + share * (window.ends - window.begins)
    life = ends - begins
    part = 1 / 2 if life < SHORT_LIFE else 2 / 3
    return begins + life * (part + share * _JITTER)


def may_try(attempts: Attempts, now: float, *, asked: bool = False) -> bool:
    """Whether to ask for a certificate that is due.

    :param asked: by a person, who does not want to wait for the next turn.
    """
    if now < attempts.last - _SET_BACK:
        return True  # what was noted has yet to happen: the clock was wrong then
    recent = [failed for failed in attempts.recent if failed > now - _HOUR]
    if len(recent) >= MOST_FAILURES_AN_HOUR:
        return False
    return asked or now >= attempts.not_before


def after_failure(
    attempts: Attempts, now: float, why: str, *, retry_after: float, left: float, share: float
) -> Attempts:
    """What to note after an attempt has failed.

    :param retry_after: seconds for which the authority wants to be left alone.
    :param left: seconds until browsers refuse the certificate that there is; 0 without one.
    :param share: from 0 to 1, another one each time: where in the time after the least wait.
    """
    failures = attempts.failures + 1
    wait = _WAITS[min(failures, len(_WAITS)) - 1]
    if left > 0:
        # The nearer the end, the more often, but never more than once an hour.
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
