"""Work that is done in a later turn of the test's loop, or when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Turns:
    """Stands in for a thread.

    :ivar loop: does the work in its next turn; None: it waits for :meth:`do`.
    """

    goes_on = True

    def __init__(self, loop: Any = None) -> None:
        self.loop = loop
        self.waiting: list[Callable[[], None]] = []

    def run(self, work: Callable[[], T], done: Callable[[T | None], None]) -> None:
        def do() -> None:
            try:
                result = work()
            except Exception:
                done(None)
            else:
                done(result)

        if self.loop is None:
            self.waiting.append(do)
        else:
            self.loop.callLater(0, do)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        self.waiting.append(call)

    def do(self) -> None:
        """Do what waits, and what that asks for."""
        while self.waiting:
            self.waiting.pop(0)()

    def close(self) -> None:
        self.goes_on = False
