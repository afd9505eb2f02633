"""The resource for Galaxy's interactive tools: it carries requests to them.

Knows how an address names a tool, in its path or in its host, and which upstream belongs to it.
Routing and access have been decided before.
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
"""Returns what is rewritten in requests to a tool and in its answers."""
Split = Callable[[bytes, bytes], tuple[bytes, bytes]]
"""Extracts the key and the token from a host and a path; both are empty if there are none."""


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
    """A tool that was asked for: its upstream, and its rewritings."""

    upstream: Upstream
    rewritings: dict[Rewrite, Rewriting]


class UsedTools:
    """The tools that were asked for; all others take no memory here.

    :param let_go: called with the upstream of a tool that is gone, to end what is open to it.
    """

    def __init__(self, upstreams: UpstreamTable, let_go: Callable[[Upstream], None]) -> None:
        self._upstreams = upstreams
        self._let_go = let_go
        self._used: dict[str, Used] = {}

    def of(self, entry: Entry) -> Used:
        """The record for ``entry``, made at its first use."""
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
        """The configuration has changed, so drop the rewritings made so far."""
        for used in self._used.values():
            used.rewritings.clear()

    def __iter__(self) -> Iterator[str]:
        """The keys of all tools here."""
        return iter(list(self._used))


class ToolsResource(Resource):
    """All tools that are named in one of the two ways.

    :param rewrite: makes the rewriting for a tool that is named in this way.
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

        :raises ProxyError: ``NO_SUCH_TOOL`` if the key is unknown, if the token is wrong, or if the
            tool's address is not allowed.
        """
        entry = self._tools.find(*self._split(host, path))
        if entry is None:
            raise ProxyError(Problem.NO_SUCH_TOOL)
        return entry

    def getChild(self, path: bytes, request: object) -> Resource:
        """Stay here: this resource serves everything below it."""
        return self

    def render(self, request: Request) -> int:
        """Carry the request. A WebSocket is recognized by its Upgrade field, never by its path.

        Raises :class:`ProxyError` as :meth:`find` and :meth:`.exchange.Exchange.start` do, and
        ``BAD_TARGET``.
        """
        # The map may have changed while the login server was asked.
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
