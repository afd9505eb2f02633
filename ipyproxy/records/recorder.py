"""Records a request that has ended: a line in the access log, and statistics.

Knows what is counted of a request, and how much one client may log. Knows nothing of how it is
formatted or shown.
"""

from __future__ import annotations

from typing import Final

from twisted.logger import Logger

from ipyproxy.records.accesslog import SHORT_FIELD_BYTES, SHORT_LINE_BYTES, AccessLog
from ipyproxy.records.statistics import Statistics
from ipyproxy.server.clients import Clients
from ipyproxy.server.refusals import Untold
from ipyproxy.server.request import Request

_log: Final = Logger(namespace="ipyproxy.recording")


class Recorder:
    """Records requests.

    Every served request gets its line. For refused requests a client gets twenty lines at once, and
    then one a second; the others are only counted. Their number goes to Twisted's log, since tools
    for access logs expect lines of requests only.

    :param clients: knows how much each client has logged.
    :ivar access_log: may be replaced at any time.
    """

    def __init__(self, statistics: Statistics, access_log: AccessLog, clients: Clients) -> None:
        self.access_log = access_log
        self._statistics = statistics
        self._clients = clients
        self._untold = Untold(_tell_more)

    def record(self, request: Request, duration: float) -> None:
        """Record ``request``, which took ``duration`` seconds."""
        self._statistics.add(
            request.upstream,
            request.status,
            duration,
            request.body_bytes_received,
            request.body_bytes_sent,
        )
        clients, client, now = self._clients, request.client, request.started + duration
        if request.refused and not clients.may_log_refusal(client, now):
            self._untold.add(client)
        elif not clients.may_log_at_length(client, now):
            self.access_log.record(request, duration, SHORT_FIELD_BYTES)
        else:
            size = self.access_log.record(request, duration)
            # In a short line, cutting the fields would save nothing.
            if size > SHORT_LINE_BYTES:
                clients.has_logged(client, size, now)

    def sweep(self, now: float) -> None:
        """Log how many were only counted; to be called about once a second."""
        self._untold.sweep(now)


def _tell_more(client: str, count: int) -> None:
    _log.warn(
        "{count} more requests of {client} were refused; the access log has no line of these",
        client=client,
        count=count,
    )
