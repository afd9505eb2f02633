"""The resource at a route to an application: it carries requests to the application's servers.

Knows which servers there are, and which one is asked first. Access has been decided before.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.web.resource import Resource

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.gateway.exchange import Exchange, GatewayContext, RouteWork
from ipyproxy.gateway.websocket import BridgeExchange, is_websocket
from ipyproxy.http.rewriting import Rewriting
from ipyproxy.server.request import Request
from ipyproxy.upstream.upstream import Upstream
from ipyproxy.web.resources import NOT_DONE_YET

_DOWN = (Problem.UPSTREAM_DEAD, Problem.UPSTREAM_STARTING)


class ApplicationResource(Resource):
    """One application, on one server or on several.

    A request goes to the server with the fewest open requests; servers with equally many take
    turns. If that one cannot be reached, the next one is tried. So it is if a server closes the
    connection on a request that may be sent twice.

    :param timeout: seconds to wait for an answer to begin; None: as for all upstreams.
    :param work: the route's open work, if the route can be removed; None: it can't.
    """

    isLeaf = True

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        rewriting: Rewriting,
        context: GatewayContext,
        timeout: float | None = None,
        work: RouteWork | None = None,
    ) -> None:
        super().__init__()
        self._upstreams = list(upstreams)
        self._rewriting = rewriting
        self._context = context
        self._timeout = timeout
        self._work = work
        self._turn = 0

    def getChild(self, path: bytes, request: object) -> Resource:
        """Stay here: this resource serves everything below it."""
        return self

    def render(self, request: Request) -> int:
        """Carry the request. A WebSocket is recognized by its Upgrade field, never by its path.

        Raises :class:`ProxyError` as :meth:`.exchange.Exchange.start` does for the last server.
        """
        kind = BridgeExchange if is_websocket(request.head) else Exchange
        waiting = self._in_order()
        while True:
            upstream, *waiting = waiting
            request.upstream = upstream
            exchange = kind(request, upstream, self._rewriting, self._context)
            exchange.work = self._work
            exchange.others = waiting
            exchange.timeout = self._timeout
            try:
                exchange.start()
            except ProxyError as error:
                if not waiting or error.problem not in _DOWN:
                    raise
            else:
                return NOT_DONE_YET

    def _in_order(self) -> list[Upstream]:
        upstreams = self._upstreams
        if len(upstreams) == 1:
            return upstreams
        turn = self._turn = (self._turn + 1) % len(upstreams)
        upstreams = upstreams[turn:] + upstreams[:turn]
        return sorted(upstreams, key=lambda upstream: (upstream.is_down, upstream.open_work))
