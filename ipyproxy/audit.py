"""Tells the log of refusals: who was refused what, and why, in a line that never changes its form.

Knows how a refusal is written down. Decides nothing, and is handed no more of a request than may
stand in a log: no cookie, no credential and no query.
"""

from __future__ import annotations

import json

from twisted.logger import Logger

from ipyproxy.crowd import Crowd
from ipyproxy.errors import Problem, ProxyError

_log = Logger(namespace="ipyproxy.audit")

# Nobody was refused anything: there is no such page, the client was too slow, or a notebook is not
# there, which is told once (by the health checker) and not to each tab that asks.
_NO_REFUSALS = frozenset(
    (
        Problem.NOT_FOUND,
        Problem.REQUEST_TIMEOUT,
        Problem.UPSTREAM_DEAD,
        Problem.UPSTREAM_STARTING,
    )
)


class Audit:
    """Writes one event for each refusal, unless somebody asks for too many.

    The line is ``refused CLIENT: STATUS REASON "DETAIL"``, which etc/fail2ban/ reads. The event
    has the same as fields: ``client``, ``status``, ``reason`` (the name of a
    :class:`~ipyproxy.errors.Problem`, in lower case with hyphens), ``detail``, and besides ``port``
    and ``user`` where they are known.

    :param crowd: knows of whom enough was told.
    """

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._untold = 0

    def note(
        self,
        client: str,
        error: ProxyError,
        now: float,
        *,
        port: int | None = None,
        user: str | None = None,
    ) -> None:
        """Tell of a request or connection that was not served, if that was a refusal.

        What the proxy or a notebook could not do (5xx) is told too, in other words.
        """
        problem = error.problem
        if problem in _NO_REFUSALS:
            return
        if not self._crowd.is_worth_telling(client, now):
            self._untold += 1
            return
        _log.info(
            "{verb} {client}: {status} {reason} {quoted}",
            verb="refused" if problem.status < 500 else "not served",
            client=client,
            status=problem.status,
            reason=problem.name.lower().replace("_", "-"),
            # Whatever a client sends stays one line of printable ASCII, between quotes.
            quoted=json.dumps(error.detail),
            detail=error.detail,
            port=port,
            user=user,
        )

    def sweep(self) -> None:
        """Tell how much was not told; to be called about once a second."""
        if self._untold:
            _log.warn("{count} more were refused or not served", count=self._untold)
            self._untold = 0
