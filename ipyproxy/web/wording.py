"""Texts of problems for applications, where the usual texts speak of a notebook.

Knows sentences. Knows nothing of pages or requests.
"""

from __future__ import annotations

from typing import NamedTuple

from ipyproxy.errors import Problem


class Words(NamedTuple):
    """A title, what has happened, and what to do next (empty: nothing)."""

    title: str
    advice: str
    next_step: str = ""


_LATER = "Try again in a moment. If this happens again, tell the administrator."
_NOT_RUNNING = Words(
    "The application is not running",
    "Nothing answers where the application should be. It has stopped, or is being started.",
    _LATER,
)

OF_APPLICATIONS = {
    Problem.UPSTREAM_BROKEN: Words(
        "The application's answer was broken",
        "The application answered with something that is not valid HTTP, or hung up before its "
        "answer was whole.",
        _LATER,
    ),
    Problem.UPSTREAM_DEAD: _NOT_RUNNING,
    Problem.UPSTREAM_STARTING: _NOT_RUNNING,
    Problem.CONNECT_TIMEOUT: Words(
        "The application does not answer",
        "It takes no connections. It may be overloaded or hanging.",
        _LATER,
    ),
    Problem.OVERLOADED: Words(
        "The application is busy",
        "All connections to the application are in use.",
        _LATER,
    ),
    Problem.DRAINING: Words(
        "The proxy is restarting",
        "The proxy is being restarted. The application itself is still running.",
        "Try again in a moment.",
    ),
    Problem.UPSTREAM_TIMEOUT: Words(
        "The application took too long",
        "It took the request but did not answer in time.",
        _LATER,
    ),
}
"""The texts by problem; problems that are missing here have the usual text."""
