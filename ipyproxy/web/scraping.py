"""A site that has nothing but ``/metrics``.

Knows what a scraper asks for. Knows nothing of what is counted.
"""

from __future__ import annotations

from collections.abc import Callable

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.head import READING
from ipyproxy.server.request import Request
from ipyproxy.web.resources import send_problem

_TYPE = b"Content-Type: text/plain; version=0.0.4; charset=utf-8"


class MetricsSite:
    """What the listener for scrapers serves.

    :param expose: gives what there is to see, in the text format of Prometheus.
    """

    common_lines = b""

    def __init__(self, expose: Callable[[], bytes]) -> None:
        self._expose = expose

    def handle(self, request: Request) -> None:
        """Answer with what there is now."""
        if request.target.partition(b"?")[0] != b"/metrics":
            raise ProxyError(Problem.NOT_FOUND)
        if request.method not in READING:
            raise ProxyError(Problem.METHOD_NOT_ALLOWED)
        request.respond(200, b"OK", [_TYPE], self._expose())

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Answer with the page of the error."""
        send_problem(request, error.problem)
