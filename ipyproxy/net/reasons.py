"""Unwraps errors: Twisted wraps the cause of a failure into others."""

from __future__ import annotations

from typing import Any


def innermost(error: Any) -> Any:
    """Follow the last of an error's ``reasons`` (Failures) down to an error that has none.

    If there are several, such as one for each connection tried, any of them will do.
    """
    while reasons := getattr(error, "reasons", None):
        error = reasons[-1].value
    return error
