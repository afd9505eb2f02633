"""The REST API, with configurable-http-proxy's answers.

Knows methods, statuses and the token. Knows nothing of how a route is served.

Without the right token nothing is read, answered or changed. The sizes of a body and of all routes
together are bounded.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipyproxy.clock import Clock
from ipyproxy.database.watch import AwayError
from ipyproxy.errors import ProxyError
from ipyproxy.hub.figures import Figures
from ipyproxy.hub.gathering import Gathering
from ipyproxy.hub.reading import MalformedError, read_data, read_inactive_since, route_path
from ipyproxy.hub.store import MOST_ROUTES, TooManyError
from ipyproxy.server.request import Request
from ipyproxy.web.forms import read_body

LONGEST_BODY = 65536
"""Most bytes of the data of one route."""
_TOKEN = re.compile(rb"token\s+(\S+)")
_JSON = b"Content-Type: application/json"
_TEXT = b"Content-Type: text/plain; charset=utf-8"

_log = Logger(namespace="ipyproxy.hub")


class Routes(Protocol):
    """The interface of the routes; see :class:`ipyproxy.hub.store.HubRoutes`.

    Routes that are stored on another machine return a Deferred, which may fail with
    :class:`AwayError`.
    """

    def add(self, path: str, data: dict[str, Any]) -> Deferred[None] | None:
        """Set the route at ``path``; raises :class:`MalformedError`, :class:`TooManyError`."""

    def remove(self, path: str) -> Deferred[bool] | bool:
        """Remove the route. Returns whether there was one."""

    def refresh(self) -> Deferred[None] | None:
        """Update what the next two methods return."""

    def get(self, path: str) -> Mapping[str, Any] | None:
        """What the API shows of a route; None: there is none."""

    def all(
        self, inactive_since: float | None = None
    ) -> Iterator[tuple[str, Mapping[str, Any]] | None]:
        """What the API shows of each route, with its path; None for one that was used since."""


class ApiSite:
    """The site that the API's listener serves.

    :param token: the token that the hub must send; empty: none.
    """

    common_lines = b""

    def __init__(self, reactor: Clock, routes: Routes, token: bytes, figures: Figures) -> None:
        self._reactor = reactor
        self._routes = routes
        self._token = token
        self._figures = figures

    def handle(self, request: Request) -> None:
        """Answer a request of the hub."""
        raw, _, query = request.target.partition(b"?")
        try:
            path = route_path(raw)
        except MalformedError as error:
            self._answer(request, 400, str(error))
            return
        if path is None:
            self._answer(request, 404, "Not Found")
            return
        if request.method not in (b"GET", b"HEAD", b"POST", b"DELETE"):
            self._answer(request, 405, "Method not supported")
            return
        if not self._is_authorized(request):
            self._answer(request, 403)
            return
        try:
            if request.method == b"POST":
                read_body(request, LONGEST_BODY, lambda body: self._post(request, path, body))
            elif request.method == b"DELETE":
                self._figures.deletes += 1
                removed = partial(self._removed, request)
                self._after(request, lambda: self._routes.remove(path), removed)
            elif path != "/" or not raw.rstrip(b"/").endswith(b"/api/routes"):
                self._after(request, self._routes.refresh, lambda _: self._get(request, path))
            else:
                since = read_inactive_since(query.decode("latin-1"))
                self._figures.gets += 1
                self._after(request, self._routes.refresh, lambda _: self._list(request, since))
        except MalformedError as error:
            self._answer(request, 400, str(error))

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Answer a request that could not be read."""
        self._answer(request, error.problem.status, error.problem.title)

    def _is_authorized(self, request: Request) -> bool:
        if not self._token:
            return True
        said = request.head.fields.first(b"authorization") or b""
        match = _TOKEN.search(said)
        # Always compared, and in constant time, so that the time reveals nothing.
        return hmac.compare_digest(match[1] if match else b"", self._token)

    def _after(
        self, request: Request, call: Callable[[], Any], then: Callable[[Any], None]
    ) -> None:
        """Go on with the result of ``call``, now or later; answer its failure."""
        waiting = request.consumer = _Waiting()

        def answer(result: object) -> None:
            if waiting.is_over:
                return
            request.consumer = None
            if isinstance(result, Failure):
                self._failed(request, result)
            else:
                then(result)

        maybeDeferred(call).addBoth(answer).addErrback(self._broken)

    def _failed(self, request: Request, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, MalformedError):
            self._answer(request, 400, str(error))
        elif isinstance(error, TooManyError):
            self._answer(request, 507, f"there are {MOST_ROUTES} routes, and may be no more")
        elif isinstance(error, AwayError):
            self._answer(request, 503, f"the database of routes is away: {error}; try again")
        else:
            self._broken(failure)
            self._answer(request, 500)

    def _broken(self, failure: Failure) -> None:
        _log.failure("a call of the hub's failed; please report this", failure)

    def _get(self, request: Request, path: str) -> None:
        told = self._routes.get(path)
        if told is None:
            self._answer(request, 404)
        else:
            self._respond(request, 200, _JSON, json.dumps(told).encode())

    def _list(self, request: Request, since: float | None) -> None:
        answer = partial(self._respond, request, 200, _JSON)
        _Listing(self._reactor, request, spelled(self._routes.all(since)), answer)

    def _post(self, request: Request, path: str, body: bytes) -> None:
        self._after(
            request,
            lambda: self._routes.add(path, read_data(body)),
            lambda _: self._added(request),
        )

    def _added(self, request: Request) -> None:
        self._figures.adds += 1
        self._answer(request, 201)

    def _removed(self, request: Request, was_there: bool) -> None:
        self._answer(request, 204 if was_there else 404)

    def _answer(self, request: Request, status: int, text: str = "") -> None:
        request.refused = status in (400, 403, 404, 405)
        self._respond(request, status, _TEXT if text else None, text.encode())

    def _respond(self, request: Request, status: int, kind: bytes | None, body: bytes) -> None:
        self._figures.api[status] += 1
        path = request.target.partition(b"?")[0].decode("ascii", "backslashreplace")
        emit = _log.info if status < 400 else _log.warn
        emit(
            "{status} {method} {path}",
            status=status,
            method=request.method.decode("ascii", "backslashreplace"),
            path=path,
        )
        reason = HTTPStatus(status).phrase.encode("ascii")
        request.respond(status, reason, [kind] if kind else [], body)


class _Waiting:
    """Waits for the Deferred of a call; see :class:`ipyproxy.server.request.BodyConsumer`.

    :ivar is_over: whether the client is gone.
    """

    is_over = False

    def body_received(self, data: bytes) -> None:
        """Ignore the body."""

    def body_ended(self) -> None:
        """Ignore its end."""

    def client_lost(self) -> None:
        """The call goes on; only its answer is dropped."""
        self.is_over = True


class _Listing:
    """Sends all routes to the hub; see :class:`ipyproxy.server.request.BodyConsumer`."""

    def __init__(
        self,
        reactor: Clock,
        request: Request,
        pieces: Iterator[bytes],
        answer: Callable[[bytes], None],
    ) -> None:
        self._request = request
        self._answer = answer
        request.consumer = self
        self._gathering = Gathering(reactor, pieces, self._gathered)

    def _gathered(self, text: bytes) -> None:
        self._request.consumer = None
        self._answer(text)

    def body_received(self, data: bytes) -> None:
        """Ignore the body."""

    def body_ended(self) -> None:
        """Ignore its end."""

    def client_lost(self) -> None:
        """Stop: the client is gone."""
        self._gathering.cancel()


def spelled(routes: Iterator[tuple[str, Any] | None]) -> Iterator[bytes]:
    """A JSON object of all routes, in pieces; the piece of a route that is left out is empty."""
    before = "{"
    for route in routes:
        if route is None:
            yield b""
            continue
        path, told = route
        yield f"{before}{json.dumps(path)}: {json.dumps(told)}".encode()
        before = ", "
    yield b"{}" if before == "{" else b"}"
