"""How the daemon itself is: what it listens on, what it proves itself with, whether it is ending.

Told by the service, asked by whoever wants to see. Decides nothing but whether that is ready.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum

from ipyproxy.clock import Calendar
from ipyproxy.server.site import Handshakes
from ipyproxy.tls import Certificate


class Phase(Enum):
    """Where in its life the daemon is; the values are what people and scripts are told."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


class Condition:
    """The daemon, from now on.

    It has been up since ``started``, a time of the reactor's clock, whose dates ``calendar`` gives.
    ``listeners`` are where it listens, for people; ``reloads`` were done, ``refused_reloads`` left
    everything as it was. ``handshakes`` are those of HTTPS.
    """

    def __init__(self, calendar: Calendar) -> None:
        self.calendar = calendar
        self.started = calendar.seconds()
        self.phase = Phase.STARTING
        self.listeners: list[str] = []
        self.certificates: Sequence[Certificate] = ()
        self.handshakes = Handshakes()
        self.reloads = 0
        self.refused_reloads = 0

    def obstacle(self) -> str | None:
        """Why nobody should be sent here now; None if all is well."""
        if self.phase is not Phase.SERVING:
            return str(self.phase.value)
        today = datetime.fromtimestamp(self.calendar.now(), UTC)
        if any(certificate.is_expired(today) for certificate in self.certificates):
            return "certificate expired"
        return None
