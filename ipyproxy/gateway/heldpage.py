"""A page's answer that waits for what has come of the page, so that its head can tell of it.

Knows when there is enough to begin with, and that nobody waits for what is still to be sent. Knows
nothing of what the head tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ipyproxy.gateway.preloads import LONGEST_PAGE

_TURNS = 2
"""Turns of the event loop to wait for what the socket has. One is not enough, since calls that are
due may come before what is to be read."""


class Source(Protocol):
    """The connection that the page comes by."""

    @property
    def has_input(self) -> bool:
        """Whether there is something to be read at once."""


class HeldPage:
    """The body of a page until its answer begins.

    :param source: where the body comes from; None: nothing more comes.
    :param call_soon: calls something in the next turn of the event loop.
    :param begin: begins the answer, and is handed what there is of the body; called once.
    """

    def __init__(
        self,
        source: Source | None,
        call_soon: Callable[[Callable[[], None]], object],
        begin: Callable[[bytes], None],
    ) -> None:
        self._source = source
        self._call_soon = call_soon
        self._begin: Callable[[bytes], None] | None = begin
        self._body = b""

    def received(self, data: bytes) -> None:
        """Take a piece of the body, and begin unless more of it is there already."""
        self._body += data
        if self._source is not None and self._source.has_input and len(self._body) < LONGEST_PAGE:
            self._look_again(len(self._body), _TURNS)
        else:
            self.begin()

    def begin(self) -> None:
        """Begin with what there is."""
        begin, self._begin = self._begin, None
        if begin is not None:
            begin(self._body)

    def forget(self) -> None:
        """The answer is not to begin."""
        self._begin = None

    def _look_again(self, seen: int, turns: int) -> None:
        """Begin after so many turns if what was there has been no byte of the body."""
        if len(self._body) != seen:
            return
        if turns:
            self._call_soon(lambda: self._look_again(seen, turns - 1))
        else:
            self.begin()
