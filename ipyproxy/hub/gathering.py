"""Joins a long text from pieces in several turns of the event loop, so that others get their turn.

Knows pieces and turns. Knows nothing of the text, or of who waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from ipyproxy.clock import Call, Clock

AT_ONCE = 500
"""Pieces in one turn; for routes that takes about three milliseconds."""


class Gathering:
    """Joins ``pieces``, the first ones at once.

    :param then: called with the text.
    """

    def __init__(self, reactor: Clock, pieces: Iterator[bytes], then: Callable[[bytes], None]):
        self._reactor = reactor
        self._pieces = pieces
        self._then = then
        self._gathered: list[bytes] = []
        self._call: Call | None = None
        self._go_on()

    def _go_on(self) -> None:
        self._call = None
        some = list(islice(self._pieces, AT_ONCE))
        self._gathered.append(b"".join(some))
        if len(some) == AT_ONCE:
            self._call = self._reactor.callLater(0, self._go_on)
        else:
            self._then(b"".join(self._gathered))

    def cancel(self) -> None:
        """Stop; the text is not needed any more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
