"""Why something failed, where Twisted wraps one reason into another."""

from __future__ import annotations

from typing import Any


def innermost(error: Any) -> Any:
    """The last of an error's ``reasons`` (Failures), and of that one's; an error without: itself.

    Of several, such as one for each connection tried, the last is as good as any.
    """
    while reasons := getattr(error, "reasons", None):
        error = reasons[-1].value
    return error
