"""What stands where Galaxy's interactive tools are: the resource that carries requests to them.

Knows how a tool is named by an address, in its path or in its host, and which record it has among
the upstreams. Access has been decided before; that the address is a tool's, before that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from twisted.web.resource import Resource

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.galaxy.entries import Entry, Tools
from ipyproxy.gateway.exchange import Exchange, GatewayContext
from ipyproxy.gateway.websocket import BridgeExchange, is_websocket
from ipyproxy.http.rewriting import Rewriting
from ipyproxy.server.request import Request
from ipyproxy.upstream.upstream import Upstream, UpstreamTable
from ipyproxy.web.resources import NOT_DONE_YET

Rewrite = Callable[[Entry], Rewriting]
"""Gives the names of both sides of a tool."""
Split = Callable[[bytes, bytes], tuple[bytes, bytes]]
"""Takes the key and the token out of a host and a path; empty ones where there are none."""


def split_path(prefix: bytes) -> Split:
    """For ``<prefix><key>/<token>/...``."""
    start = len(prefix)

    def split(host: bytes, path: bytes) -> tuple[bytes, bytes]:
        key, _, rest = path[start:].partition(b"/")
        return key, rest.partition(b"/")[0]

    return split


def split_host(host: bytes, path: bytes) -> tuple[bytes, bytes]:
    """For ``<key>-<token>.<domain>``."""
    key, _, token = host.partition(b".")[0].partition(b"-")
    return key, token


class Used(NamedTuple):
    """A tool that somebody has asked for: its record, and its names where it was asked for."""

    upstream: Upstream
    rewritings: dict[Rewrite, Rewriting]


class UsedTools:
    """The tools that somebody has asked for; those that nobody has take nothing here.

    :param let_go: called with the record of a tool that is gone, to end what is open to it.
    """

    def __init__(self, upstreams: UpstreamTable, let_go: Callable[[Upstream], None]) -> None:
        self._upstreams = upstreams
        self._let_go = let_go
        self._used: dict[str, Used] = {}

    def of(self, entry: Entry) -> Used:
        """What there is for ``entry``, made at its first use."""
        used = self._used.get(entry.key)
        if used is None:
            upstream = self._upstreams.acquire(f"galaxy/{entry.key}", entry.address)
            used = self._used[entry.key] = Used(upstream, {})
        return used

    def end(self, keys: Iterable[str]) -> None:
        """The tools with these keys are gone."""
        for key in keys:
            used = self._used.pop(key, None)
            if used is not None:
                self._let_go(used.upstream)

    def refit(self) -> None:
        """The names may be others from now on."""
        for used in self._used.values():
            used.rewritings.clear()

    def __iter__(self) -> Iterator[str]:
        """The keys of all of them."""
        return iter(list(self._used))


class ToolsResource(Resource):
    """All tools, as far as they are named in one way.

    :param rewrite: gives the names of both sides of one that is named so.
    """

    isLeaf = True

    def __init__(
        self,
        tools: Tools,
        used: UsedTools,
        split: Split,
        rewrite: Rewrite,
        context: GatewayContext,
    ) -> None:
        super().__init__()
        self._tools = tools
        self._used = used
        self._split = split
        self._rewrite = rewrite
        self._context = context

    def find(self, host: bytes, path: bytes) -> Entry:
        """The tool that ``host`` and ``path`` name.

        :raises ProxyError: ``NO_SUCH_TOOL``, whether the key is unknown, the token is wrong, or the
            tool is not where it may be.
        """
        entry = self._tools.find(*self._split(host, path))
        if entry is None:
            raise ProxyError(Problem.NO_SUCH_TOOL)
        return entry

    def getChild(self, path: bytes, request: object) -> Resource:
        """Everything below is some tool's."""
        return self

    def render(self, request: Request) -> int:
        """Carry the request; a WebSocket is one by its Upgrade, never by its path.

        Raises :class:`ProxyError` as :meth:`find` and :meth:`.exchange.Exchange.start` do, and
        ``BAD_TARGET``.
        """
        # The map may have changed while somebody was asked who may.
        host = request.public.partition(b"://")[2].partition(b":")[0]
        path = request.target.partition(b"?")[0]
        entry = self.find(host, path)
        upstream, rewritings = self._used.of(entry)
        rewriting = rewritings.get(self._rewrite)
        if rewriting is None:
            rewriting = rewritings[self._rewrite] = self._rewrite(entry)
        if rewriting.stripped and path[len(rewriting.prefix) :].startswith(b"/"):
            raise ProxyError(Problem.BAD_TARGET, "two slashes behind the path, which is taken off")
        request.upstream = upstream
        kind = BridgeExchange if is_websocket(request.head) else Exchange
        kind(request, upstream, rewriting, self._context).start()
        return NOT_DONE_YET
