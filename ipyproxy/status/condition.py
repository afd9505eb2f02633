"""How the daemon itself is: what it listens on, what it proves itself with, whether it is ending.

Told by the service, asked by whoever wants to see. Decides nothing but whether that is ready.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import NamedTuple

from ipyproxy.clock import Calendar
from ipyproxy.server.site import Handshakes
from ipyproxy.tls import Certificate


class Phase(Enum):
    """Where in its life the daemon is; the values are what people and scripts are told."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


class Renewals(NamedTuple):
    """How it goes with certificates that the proxy gets by itself.

    ``got`` were got, ``failed`` are attempts that brought none. ``concerns`` are sentences on those
    that are due and do not come.
    """

    got: int
    failed: int
    concerns: tuple[str, ...]


class Condition:
    """The daemon, from now on.

    It has been up since ``started``, a time of the reactor's clock, whose dates ``calendar`` gives.
    ``listeners`` are where it listens, for people; ``reloads`` were done, ``refused_reloads`` left
    everything as it was. ``handshakes`` are those of HTTPS. ``renewals`` tells of the certificates
    that are got by themselves; None: there are none. ``missing`` says what has to be read before
    visitors can be served; empty: nothing.
    """

    def __init__(self, calendar: Calendar) -> None:
        self.calendar = calendar
        self.started = calendar.seconds()
        self.phase = Phase.STARTING
        self.listeners: list[str] = []
        self.certificates: Sequence[Certificate] = ()
        self.handshakes = Handshakes()
        self.renewals: Callable[[], Renewals] | None = None
        self.missing: Callable[[], str] = lambda: ""
        self.reloads = 0
        self.refused_reloads = 0

    def obstacle(self) -> str | None:
        """Why nobody should be sent here now; None if all is well."""
        if self.phase is not Phase.SERVING:
            return str(self.phase.value)
        if missing := self.missing():
            return missing
        if any(certificate.is_expired(self._today) for certificate in self.certificates):
            return "certificate expired"
        return None

    def ending(self) -> Sequence[Certificate]:
        """The certificates that should have been renewed long ago."""
        return [each for each in self.certificates if each.ends_soon(self._today)]

    @property
    def _today(self) -> datetime:
        return datetime.fromtimestamp(self.calendar.now(), UTC)
