"""What is kept of a request that has ended: a line in the access log, and a few counts.

Knows where in a request the facts stand, and how much of the log one client may fill. Knows nothing
of how they are written down or shown.
"""

from __future__ import annotations

from twisted.logger import Logger

from ipyproxy.records.accesslog import SHORT_FIELD_BYTES, AccessLog, Entry
from ipyproxy.records.statistics import Statistics
from ipyproxy.server.clients import Clients
from ipyproxy.server.refusals import Untold
from ipyproxy.server.request import Request

_VERSIONS = (b"HTTP/1.0", b"HTTP/1.1")

_log = Logger(namespace="ipyproxy.recording")


class Recorder:
    """Keeps what is to be kept.

    Every request that is served has its line. Of those that are refused a client has twenty at
    once, and then one a second: the others are only counted, and how many they were is told to
    Twisted's log, since what reads access logs knows lines of requests only.

    :param clients: knows how much each client has filled of the log.
    :ivar access_log: may be replaced at any time.
    """

    def __init__(self, statistics: Statistics, access_log: AccessLog, clients: Clients) -> None:
        self.access_log = access_log
        self._statistics = statistics
        self._clients = clients
        self._untold = Untold(_tell_more)

    def record(self, request: Request, duration: float) -> None:
        """Keep what became of ``request``, which took so many seconds."""
        head = request.head
        special = head.fields.special
        upstream = request.upstream
        self._statistics.add(
            upstream,
            request.status,
            duration,
            request.body_bytes_received,
            request.body_bytes_sent,
        )
        clients, client, now = self._clients, request.client, request.started + duration
        if request.refused and not clients.may_log_refusal(client, now):
            self._untold.add(client)
            return
        entry = Entry(
            client,
            request.user,
            head.method,
            head.target,
            _VERSIONS[head.minor],
            request.status,
            request.body_bytes_sent,
            head.fields.loose[0] if head.fields.loose else None,
            special.first(b"user-agent"),
            duration,
            None if upstream is None else upstream.port,
            request.note,
            request.bridge,
            upstream.name if upstream is not None and upstream.port is None else "",
            request.public.partition(b"://")[2],
        )
        spender = clients.may_log_at_length(client, now)
        if spender is None:
            self.access_log.record(entry, SHORT_FIELD_BYTES)
        else:
            clients.has_logged(spender, self.access_log.record(entry), now)

    def sweep(self, now: float) -> None:
        """Tell what was only counted; to be called about once a second."""
        self._untold.sweep(now)


def _tell_more(client: str, count: int) -> None:
    _log.warn(
        "{count} more requests of {client} were refused; the access log has no line of these",
        client=client,
        count=count,
    )
