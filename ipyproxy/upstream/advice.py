"""Logs what is wrong with a notebook's answers, and what to do about it.

Knows common errors in the setup of notebooks. Decides nothing: the notebook's answer goes to the
browser unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from twisted.logger import Logger

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.upstream.upstream import Upstream

PAUSE: Final = 300.0
"""Seconds within which the same advice is not logged again for one notebook."""
STATUSES: Final = (403, 404)
"""The statuses that may have advice."""


class Advice(Enum):
    """What is wrong, and what to do; ``{port}`` and ``{path}`` stand for the notebook's."""

    FORBIDDEN = (
        "403 from the notebook on {port}: it refuses the login, the XSRF token, or the Host and "
        "Origin that it sees (127.0.0.1:{port}, unless it is one of notebooks.applications)"
    )
    OTHER_BASE_URL = (
        "404 from the notebook on {port} for {path}, where it should be at home: start it with "
        "--ServerApp.base_url={path}"
    )
    NOT_HTTP = "what listens on {port} does not speak proper HTTP ({detail})"
    SLOW = (
        "the notebook on {port} took a request and did not answer within timeouts.response: it is "
        "busy, or stuck"
    )


_FAILURES: Final = {
    Problem.UPSTREAM_BROKEN: Advice.NOT_HTTP,
    Problem.UPSTREAM_TIMEOUT: Advice.SLOW,
}


class Adviser:
    """Logs one event for each problem, with the port as a field.

    :param now: seconds of the reactor's clock.
    """

    _log = Logger(namespace="ipyproxy.advice")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        # At most one entry for each port and piece of advice.
        self._said: dict[tuple[str, Advice], float] = {}

    def answered(
        self, upstream: Upstream, status: int, *, safe: bool, path: str, home: str
    ) -> None:
        """Check an answer with one of the :data:`STATUSES`.

        :param safe: whether the request's method is safe, and it opens no WebSocket.
        :param path: the requested path.
        :param home: the notebook's own path, such as ``/ipython/10000/``.
        """
        if status == 403 and not safe:
            self._say(Advice.FORBIDDEN, upstream)
        elif status == 404 and path == home:
            self._say(Advice.OTHER_BASE_URL, upstream, path=home)

    def failed(self, upstream: Upstream, error: ProxyError) -> None:
        """Check why there was no answer."""
        advice = _FAILURES.get(error.problem)
        if advice is not None:
            self._say(advice, upstream, detail=error.detail)

    def _say(self, advice: Advice, upstream: Upstream, **facts: str) -> None:
        if upstream.port is None:
            return  # all advice is about notebooks
        now = self._now()
        said = self._said.get((upstream.name, advice))
        if said is not None and now - said < PAUSE:
            return
        self._said[upstream.name, advice] = now
        self._log.warn(
            advice.value + "; `ipyproxy doctor {port}` looks closer, see docs/troubleshooting.md",
            advice=advice.name.lower().replace("_", "-"),
            port=upstream.port,
            **facts,
        )
