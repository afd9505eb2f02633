"""Holds a page's head until the beginning of the page is here: the head then names its files.

Knows when enough of the page is here, and never waits for bytes that the notebook has not sent yet.
Knows nothing of what the head names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ipyproxy.gateway.preloads import LONGEST_PAGE

_TURNS = 2
"""Turns of the event loop to wait for bytes that the socket has already. One is not enough: calls
that are due may run before the socket is read."""


class Source(Protocol):
    """The connection that the page comes from."""

    @property
    def has_input(self) -> bool:
        """Whether bytes are there to be read at once."""


class HeldPage:
    """The body of a page until its answer begins.

    :param source: where the body comes from; None: nothing more comes.
    :param call_soon: calls something in the next turn of the event loop.
    :param begin: begins the answer; called once, with the part of the body that has come.
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
        """Take a piece of the body; begin unless more of it waits in the socket."""
        self._body += data
        if self._source is not None and self._source.has_input and len(self._body) < LONGEST_PAGE:
            self._look_again(len(self._body), _TURNS)
        else:
            self.begin()

    def begin(self) -> None:
        """Begin with the part that has come."""
        begin, self._begin = self._begin, None
        if begin is not None:
            begin(self._body)

    def forget(self) -> None:
        """Never begin the answer."""
        self._begin = None

    def _look_again(self, seen: int, turns: int) -> None:
        """Begin after so many turns, if no byte of the body has come in them."""
        if len(self._body) != seen:
            return
        if turns:
            self._call_soon(lambda: self._look_again(seen, turns - 1))
        else:
            self.begin()
