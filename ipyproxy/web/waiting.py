"""The state of a notebook, for the page that waits for it.

Knows which ports are served. Sends nothing to a notebook: whether it is there is for the health
checker to find out, which is told that somebody waits.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from twisted.web.resource import Resource

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.routes.notebooks import parse_port
from ipyproxy.upstream.health import HealthChecker
from ipyproxy.upstream.upstream import UpstreamTable
from ipyproxy.web.pages import state_page
from ipyproxy.web.resources import NOT_DONE_YET, Branch, send_page, send_problem


class States(Branch):
    """All states: the children are ports.

    :param ports: the ports that may be asked for.
    """

    def __init__(self, ports: Container[int], table: UpstreamTable, health: HealthChecker) -> None:
        super().__init__()
        self._ports = ports
        self._table = table
        self._health = health

    def getChild(self, path: bytes, request: Any) -> Resource:
        """The state of port ``path``."""
        port = parse_port(path)
        if port is None or port not in self._ports:
            raise ProxyError(Problem.NO_SUCH_PORT, path[:20].decode("ascii", "backslashreplace"))
        return _State(self._table, self._health, port)


class _State(Branch):
    """The state of one port."""

    def __init__(self, table: UpstreamTable, health: HealthChecker, port: int) -> None:
        super().__init__()
        self._table = table
        self._health = health
        self._port = port

    def render(self, request: Any) -> int:
        """Answer with the state as JSON, for reading only."""
        if request.method in (b"GET", b"HEAD"):
            send_page(request, state_page(self._health.ask(self._table.notebook(self._port))))
        else:
            send_problem(request, Problem.METHOD_NOT_ALLOWED)
        return NOT_DONE_YET
