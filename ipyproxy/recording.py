"""What is kept of a request that has ended: a line in the access log, and a few counts.

Knows where in a request the facts stand. Knows nothing of how they are written down or shown.
"""

from __future__ import annotations

from ipyproxy.logs import AccessLog, Entry
from ipyproxy.request import Request
from ipyproxy.statistics import Statistics

_VERSIONS = (b"HTTP/1.0", b"HTTP/1.1")


class Recorder:
    """Keeps what is to be kept.

    :ivar access_log: may be replaced at any time.
    """

    def __init__(self, statistics: Statistics, access_log: AccessLog) -> None:
        self.access_log = access_log
        self._statistics = statistics

    def record(self, request: Request, duration: float) -> None:
        """Keep what became of ``request``, which took so many seconds."""
        head = request.head
        special = head.fields.special
        self._statistics.add(
            request.port,
            request.status,
            duration,
            request.body_bytes_received,
            request.body_bytes_sent,
        )
        self.access_log.record(
            Entry(
                request.client,
                request.user,
                head.method,
                head.target,
                _VERSIONS[head.minor],
                request.status,
                request.body_bytes_sent,
                special.first(b"referer"),
                special.first(b"user-agent"),
                duration,
                request.port,
                request.note,
                request.bridge,
            )
        )
