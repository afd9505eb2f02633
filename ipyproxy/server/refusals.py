"""Logs refusals: who was refused what, and why, in a line whose form never changes.

Knows how a refusal is written down, and counts those that are not. Decides nothing. It is handed
only what may be logged of a request: no cookie, no credential and no query.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable

from twisted.logger import Logger, LogLevel

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.server.clients import Clients

_log = Logger(namespace="ipyproxy.audit")

# These are no refusals: there is no such page, the client was too slow, or a notebook is not there.
# The health checker logs that once; it isn't logged again for each tab that asks.
_NO_REFUSALS = frozenset(
    (
        Problem.NOT_FOUND,
        Problem.REQUEST_TIMEOUT,
        Problem.UPSTREAM_DEAD,
        Problem.UPSTREAM_STARTING,
    )
)
# These count towards a ban, unless a page may have made its visitor's browser send the request:
# some browsers log in if a page refers to https://name:password@host/. Any page can cause all other
# problems.
_ATTACKS = frozenset((Problem.BAD_REQUEST, Problem.LOGIN_FAILED, Problem.TOO_MANY_LOGINS))
_ADDRESS = re.compile(r"[0-9A-Za-z.:]{1,64}")
_TLS = "TLS: "
"""What precedes the reason why a transport gave up TLS."""
_DETAIL = 400
"""Characters of a detail that are logged at most."""


class Untold:
    """Counts the events of each client that are not logged, and reports the sums once a minute.

    :param tell: called with a client (or "others" for all beyond :data:`MOST`) and its count.
    """

    EVERY = 60.0
    MOST = 100

    def __init__(self, tell: Callable[[str, int], object]) -> None:
        self._tell = tell
        self._counts: Counter[str] = Counter()
        self._since: float | None = None

    def add(self, client: str) -> None:
        """One more event of ``client`` is not logged."""
        known = client in self._counts or len(self._counts) < self.MOST
        self._counts[client if known else "others"] += 1

    def sweep(self, now: float) -> None:
        """Report the counts that are due ``now``; to be called about once a second."""
        if not self._counts:
            return
        if self._since is None:
            self._since = now
        elif now - self._since >= self.EVERY:
            for client, count in self._counts.items():
                self._tell(client, count)
            self._counts.clear()
            self._since = None


class Audit:
    """Logs one event for each refusal, unless a client causes too many.

    The line is ``refused CLIENT: STATUS REASON "DETAIL"``, which etc/fail2ban/ reads. Its level is
    ``warn`` if it counts towards a ban, because no page can have had a visitor's browser send the
    request, and ``info`` for any other refusal. The event has the same as fields: ``client``,
    ``status``, ``reason`` (the name of a :class:`~ipyproxy.errors.Problem`, in lower case with
    hyphens), ``detail``, and besides ``port`` and ``user`` where they are known.

    :param clients: knows which clients have had enough lines.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._untold = Untold(_tell_more)

    def note(
        self,
        client: str,
        error: ProxyError,
        now: float,
        *,
        port: int | None = None,
        user: str | None = None,
        by_page: bool = False,
    ) -> None:
        """Log a request or connection that was not served, if that was a refusal.

        What the proxy or a notebook could not do (5xx) is logged too, in other words.

        :param by_page: whether a page may have made its visitor's browser send the request.
        """
        problem = error.problem
        if problem in _NO_REFUSALS:
            return
        if not self._may_tell(client, now):
            return
        counts = problem in _ATTACKS and not (by_page or error.by_page)
        detail = error.detail
        if len(detail) > _DETAIL:
            detail = f"{detail[:_DETAIL]}[cut:{len(detail) - _DETAIL}]"
        _log.emit(
            LogLevel.warn if counts else LogLevel.info,
            "{verb} {spelled}: {status} {reason} {quoted}",
            verb="refused" if problem.status < 500 else "not served",
            spelled=_spelled(client),
            client=client,
            status=problem.status,
            reason=problem.name.lower().replace("_", "-"),
            # What a client sends becomes one line of printable ASCII, between quotes.
            quoted=json.dumps(detail),
            detail=detail,
            port=port,
            user=user,
        )

    def _may_tell(self, client: str, now: float) -> bool:
        """Whether something of ``client`` is told by itself; else it is counted among others."""
        if self._clients.is_worth_telling(client, now):
            return True
        self._untold.add(client)
        return False

    def handshake_failed(self, client: str, why: str, now: float) -> None:
        """Log a TLS handshake that failed, if TLS was the reason.

        A client that connects and leaves has not failed.
        """
        if _TLS not in why:
            return
        if not self._may_tell(client, now):
            return
        _log.info(
            "no TLS with {spelled}: {why}",
            spelled=_spelled(client),
            client=client,
            why=json.dumps(why.partition(_TLS)[2].rstrip(".")),
        )

    def sweep(self, now: float) -> None:
        """Report how many events were not logged; to be called about once a second."""
        self._untold.sweep(now)


def _spelled(client: str) -> str:
    """``client`` as it may stand in a line: quoted, unless it is an address or a word of ours."""
    return client if _ADDRESS.fullmatch(client) else json.dumps(client)


def _tell_more(client: str, count: int) -> None:
    _log.info(
        "{count} more requests and connections of {client} were refused or not served",
        client=_spelled(client),
        count=count,
    )
