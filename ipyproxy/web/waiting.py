"""The state of a notebook, for the page that waits for it.

Knows which ports are served. Sends nothing to a notebook; it tells the health checker that a client
waits, and the health checker finds out the state.
"""

from __future__ import annotations

from collections.abc import Container

from twisted.web.resource import Resource

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.routes.notebooks import parse_port
from ipyproxy.upstream.health import HealthChecker
from ipyproxy.upstream.upstream import UpstreamTable
from ipyproxy.web.pages import state_page
from ipyproxy.web.resources import Branch, PageResource


class States(Branch):
    """All states: the children are ports.

    :param ports: the served ports.
    """

    def __init__(self, ports: Container[int], table: UpstreamTable, health: HealthChecker) -> None:
        super().__init__()
        self._ports = ports
        self._table = table
        self._health = health

    def getChild(self, path: bytes, request: object) -> Resource:
        """The state of port ``path``."""
        port = parse_port(path)
        if port is None or port not in self._ports:
            raise ProxyError(Problem.NO_SUCH_PORT, path[:20].decode("ascii", "backslashreplace"))
        return PageResource(lambda _: state_page(self._health.ask(self._table.notebook(port))))
