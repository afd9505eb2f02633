"""The resource at ``/ipython/<port>/``: it carries requests to that notebook.

Knows which ports are served, and whether a request is for HTTP or for a WebSocket. Access has
been decided before.
"""

from __future__ import annotations

from collections.abc import Container

from twisted.web.resource import Resource

from ipyproxy.access.reserved import ReservedFields
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.gateway.exchange import Exchange, GatewayContext
from ipyproxy.gateway.websocket import BridgeExchange, is_websocket
from ipyproxy.http.rewriting import Manners, Rewriting
from ipyproxy.routes.notebooks import parse_port
from ipyproxy.server.request import Request
from ipyproxy.upstream.upstream import Upstream, UpstreamTable
from ipyproxy.web.admission import Admission
from ipyproxy.web.resources import NOT_DONE_YET, Branch


class ReverseProxyResource(Resource):
    """One notebook.

    It replaces Twisted's resource of the same name, which speaks HTTP/1.0, buffers whole bodies and
    loses repeated fields. Nothing of Twisted's is used or loaded.
    """

    isLeaf = True

    def __init__(self, upstream: Upstream, rewriting: Rewriting, context: GatewayContext) -> None:
        super().__init__()
        self._upstream = upstream
        self._rewriting = rewriting
        self._context = context

    def getChild(self, path: bytes, request: object) -> Resource:
        """Stay here: this resource serves everything below it."""
        return self

    def render(self, request: Request) -> int:
        """Carry the request. A WebSocket is recognized by its Upgrade field, never by its path."""
        request.upstream = self._upstream
        tenants = self._context.tenants
        unknown = None
        if tenants.owners is not None:
            unknown = tenants.find_owner(self._upstream, request.started)
        if unknown is None:
            self._carry(request)
        else:
            Admission(request, lambda _: self._carry(request)).wait(unknown)
        return NOT_DONE_YET

    def _carry(self, request: Request) -> None:
        kind = BridgeExchange if is_websocket(request.head) else Exchange
        kind(request, self._upstream, self._rewriting, self._context).start()


class Notebooks(Branch):
    """All notebooks: the children are ports.

    :param ports: the ports that may be reached.
    :param prefix: the public path that this resource stands at, such as ``/ipython``.
    :param reserved: fields that a client may not send to a notebook.
    :param applications: the ports whose programs are treated as applications.
    """

    def __init__(
        self,
        ports: Container[int],
        prefix: str,
        site_cookies: tuple[bytes, ...],
        table: UpstreamTable,
        context: GatewayContext,
        reserved: ReservedFields | None = None,
        applications: Container[int] = (),
    ) -> None:
        super().__init__()
        self.drop_reserved = None if reserved is None else reserved.kept
        self._ports = ports
        self._prefix = prefix.encode("ascii")
        self._site_cookies = site_cookies
        self._table = table
        self.context = context
        self._applications = applications

    def getChild(self, path: bytes, request: object) -> Resource:
        """The notebook on port ``path``: made at a request, and kept once it has answered.

        Nothing is kept of ports where nobody listens, because a client could ask for all ports.
        """
        port = parse_port(path)
        if port is None or port not in self._ports:
            raise ProxyError(Problem.NO_SUCH_PORT, path[:20].decode("ascii", "backslashreplace"))
        upstream = self._table.notebook(port)
        rewriting = Rewriting(
            authority=str(upstream.address).encode("ascii"),
            prefix=b"%b/%d/" % (self._prefix, port),
            port=port,
            site_cookies=self._site_cookies,
            drop_reserved=self.drop_reserved,
            scheme=b"http" if upstream.tls is None else b"https",
            manners=Manners.APPLICATION if port in self._applications else Manners.NOTEBOOK,
        )
        resource = ReverseProxyResource(upstream, rewriting, self.context)
        if upstream.is_known:
            self.putChild(path, resource)
        return resource
