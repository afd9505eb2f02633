"""A site that serves only ``/metrics``.

Knows a scraper's request. Knows nothing of the metrics.
"""

from __future__ import annotations

from collections.abc import Callable

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.head import READING
from ipyproxy.server.request import Request
from ipyproxy.web.resources import send_problem

_TYPE = b"Content-Type: text/plain; version=0.0.4; charset=utf-8"


class MetricsSite:
    """The site of the listener for scrapers.

    :param expose: returns the metrics in Prometheus' text format.
    """

    common_lines = b""

    def __init__(self, expose: Callable[[], bytes]) -> None:
        self._expose = expose

    def handle(self, request: Request) -> None:
        """Answer with the present metrics."""
        if request.target.partition(b"?")[0] != b"/metrics":
            raise ProxyError(Problem.NOT_FOUND)
        if request.method not in READING:
            raise ProxyError(Problem.METHOD_NOT_ALLOWED)
        request.respond(200, b"OK", [_TYPE], self._expose())

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Answer with the error's page."""
        send_problem(request, error.problem)
