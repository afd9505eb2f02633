"""The condition of the daemon itself: listeners, certificates, and whether it is ready.

The service sets it, the status pages read it. It decides only whether the daemon is ready.
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
    """The phase of the daemon's life; people and scripts see the values."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


class Renewals(NamedTuple):
    """The state of certificates that the proxy gets by ACME.

    ``got`` counts new certificates, ``failed`` counts failed attempts. ``concerns`` are sentences
    about overdue certificates.
    """

    got: int
    failed: int
    concerns: tuple[str, ...]


class Condition:
    """The condition of the daemon.

    It has been up since ``started``, a time of the reactor's clock, which ``calendar`` turns into a
    date. ``listeners`` names its listeners for people; ``reloads`` and ``refused_reloads`` count
    reloads. ``handshakes`` are those of HTTPS. ``renewals`` returns the state of ACME's
    certificates; None: there are none. ``missing`` returns what must be read before requests can be
    served; empty: nothing.
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
        """Why load balancers should not send requests here; None if the daemon is ready."""
        if self.phase is not Phase.SERVING:
            return str(self.phase.value)
        if missing := self.missing():
            return missing
        if any(certificate.is_expired(self._today) for certificate in self.certificates):
            return "certificate expired"
        return None

    def ending(self) -> Sequence[Certificate]:
        """The certificates whose renewal is overdue."""
        return [each for each in self.certificates if each.ends_soon(self._today)]

    @property
    def _today(self) -> datetime:
        return datetime.fromtimestamp(self.calendar.now(), UTC)
