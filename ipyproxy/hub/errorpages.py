"""Error pages for clients: the hub's own page, a file, or one of the proxy's pages.

Knows how configurable-http-proxy requests a page from the hub. Knows nothing of routes.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Protocol
from urllib.parse import quote_from_bytes

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.framing import Decoder, stated_length
from ipyproxy.http1.head import ResponseHead
from ipyproxy.http1.lines import block_of
from ipyproxy.net.sockets import Attempt
from ipyproxy.server.request import NO_PAGES, Request
from ipyproxy.upstream.connection import UpstreamConnection
from ipyproxy.upstream.pool import Pool
from ipyproxy.upstream.upstream import Upstream
from ipyproxy.web.resources import send_problem

WAIT = 10.0
"""Seconds to wait for a page to begin."""
OTHERS = 0
"""Stands for all statuses without a page of their own."""

_NO_SERVER = frozenset(
    (
        Problem.UPSTREAM_BROKEN,
        Problem.UPSTREAM_DEAD,
        Problem.UPSTREAM_STARTING,
        Problem.UPSTREAM_TIMEOUT,
        Problem.CONNECT_TIMEOUT,
    )
)


class Asked(Protocol):
    """A server of error pages."""

    def begin(self, request: Request, status: int) -> None:
        """Answer ``request`` with the page for ``status``."""


class ErrorPages:
    """Answers requests that cannot be carried.

    :param files: pages by status; the one for :data:`OTHERS` is for all other statuses.
    :param target: the server of pages; None: there is none.
    """

    def __init__(self, files: Mapping[int, bytes] = NO_PAGES, target: Asked | None = None) -> None:
        self._files = files
        self._target = target

    def answer(self, request: Request, error: ProxyError) -> None:
        """Answer with the page for an error: 404 without a route, 503 without an answer.

        For errors of the client, and of the proxy itself, the proxy's own pages are used. A
        WebSocket gets no page, since nobody would see it.
        """
        status = 503 if error.problem in _NO_SERVER else error.problem.status
        request.refused = status < 500
        if b"upgrade" in request.head.fields.special:
            # The bytes behind the request are another protocol's, and no request.
            request.connection.persistent = False
            request.respond(status, _phrase(status), [], b"")
        elif error.problem is not Problem.NOT_FOUND and error.problem not in _NO_SERVER:
            send_problem(request, error.problem, error.retry_after)
        elif self._target is not None:
            self._target.begin(request, status)
        else:
            page = self._files.get(status, self._files.get(OTHERS))
            if page is None:
                send_plain(request, status)
            else:
                request.respond(status, _phrase(status), [b"Content-Type: text/html"], page)


def send_plain(request: Request, status: int) -> None:
    """Answer with the proxy's own page."""
    send_problem(request, Problem.NOT_FOUND if status == 404 else Problem.UPSTREAM_DEAD)


def _phrase(status: int) -> bytes:
    return HTTPStatus(status).phrase.encode("ascii")


class ErrorTarget:
    """A server of pages: ``GET <base>/<status>?url=<the requested URL, escaped>``.

    :param upstream: the server.
    :param base: the path above its pages, without a slash at its end.
    """

    def __init__(self, pool: Pool, upstream: Upstream, base: bytes) -> None:
        self.pool = pool
        self.upstream = upstream
        self._base = base

    def begin(self, request: Request, status: int) -> None:
        """See :class:`Asked`."""
        url = quote_from_bytes(request.target, safe="").encode("ascii")
        target = b"%b/%d?url=%b" % (self._base, status, url)
        _Fetch(self, request, status, target).start()


class _Fetch:
    """Fetches one page from the server for the client.

    See :class:`ipyproxy.upstream.connection.Receiver`, and for the client's side
    :class:`ipyproxy.server.request.BodyConsumer`.
    """

    def __init__(self, source: ErrorTarget, request: Request, status: int, target: bytes) -> None:
        self._source = source
        self._request = request
        self._status = status
        self._target = target
        self._dial: Attempt | None = None
        self._connection: UpstreamConnection | None = None

    def start(self) -> None:
        self._request.consumer = self
        self._source.upstream.exchanges += 1
        self._dial = self._source.pool.connect(self._source.upstream, self, once=False)

    def connected(self, connection: UpstreamConnection) -> None:
        self._dial = None
        self._connection = connection
        host = str(self._source.upstream.address).encode("ascii", "replace")
        if host.startswith(b"unix:"):
            host = b"localhost"
        lines = [b"Host: " + host, b"Accept: */*"]
        head = b"GET %b HTTP/1.1\r\n%b\r\n" % (self._target, block_of(lines))
        connection.send(b"GET", head, self, ended=True, timeout=WAIT)

    def interim(self, head: ResponseHead) -> None:
        """Ignored."""

    def response_begun(self, head: ResponseHead, body: Decoder | None) -> None:
        lines = [
            b"%b: %b" % (label, value)
            for name, label in _PASSED
            for value in head.fields.values(name)
        ]
        length = stated_length(head) if body is None else body.length
        self._request.begin(self._status, _phrase(self._status), block_of(lines), length)

    def response_received(self, data: bytes) -> None:
        self._request.write(data)

    def response_waiting(self) -> None:
        self._request.flush()
        if self._connection is not None:
            self._request.transport.registerProducer(self._connection.transport, True)

    def response_ended(self) -> None:
        self._part()
        self._request.finish()

    def stale(self) -> None:
        self._connection = None
        self._dial = self._source.pool.dial(self._source.upstream, self)

    def failed(self, error: ProxyError) -> None:
        self._part()
        request = self._request
        if request.begun:
            request.cut()
        else:
            send_plain(request, self._status)

    def body_received(self, data: bytes) -> None:
        """Ignore the request's body: it is meant for a server that does not answer."""

    def body_ended(self) -> None:
        """Likewise."""

    def client_lost(self) -> None:
        connection, dial = self._connection, self._dial
        self._part()
        if dial is not None:
            dial.cancel()
        if connection is not None:
            connection.abandon()

    def _part(self) -> None:
        self._connection = None
        self._dial = None
        self._request.consumer = None
        self._source.upstream.exchanges -= 1
        self._request.transport.unregisterProducer()


_PASSED = ((b"content-type", b"Content-Type"), (b"content-encoding", b"Content-Encoding"))
