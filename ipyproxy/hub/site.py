"""The site for browsers if only a JupyterHub's routes are served.

Knows the order of steps: target, host, route. The hub decides about access, so the proxy asks for
no login, and serves any host.
"""

from __future__ import annotations

import time
from typing import Protocol

from ipyproxy.access.origins import Policy
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.hub.errorpages import ErrorPages
from ipyproxy.hub.figures import Figures
from ipyproxy.routes.notebooks import parse_target
from ipyproxy.routes.readings import decoded
from ipyproxy.server.request import Request
from ipyproxy.web.resources import date, send_problem
from ipyproxy.web.site import Mount

HEALTH = b"/_chp_healthz"
_REFUSED_METHODS = (b"CONNECT", b"TRACE")
_CONTINUE = ((), (b"100-continue",))
_SCHEMES = (b"http", b"https")


class Routes(Protocol):
    """The interface for finding routes; see :class:`ipyproxy.daemon.live.LiveRoutes`."""

    def match(self, host: bytes, path: bytes) -> Mount | None:
        """The mount at ``host`` and the decoded ``path``, or the nearest one above."""


class HubSite:
    """The site of a hub.

    :param secure: whether browsers use HTTPS; behind a trusted proxy, that proxy's word counts.
    """

    common_lines = b""

    def __init__(
        self,
        routes: Routes,
        pages: ErrorPages,
        figures: Figures,
        *,
        host_routing: bool,
        secure: bool,
    ) -> None:
        self._routes = routes
        self._pages = pages
        self._figures = figures
        self._host_routing = host_routing
        self._policy = Policy(None, (), secure=secure)

    def handle(self, request: Request) -> None:
        """Find the route; its resource answers."""
        head, figures = request.head, self._figures
        if head.method in _REFUSED_METHODS:
            raise ProxyError(Problem.METHOD_NOT_ALLOWED, "a method that this proxy never takes")
        target = parse_target(head.method, head.target)
        special = head.fields.special
        if target.origin_form == HEALTH:
            body = b'{"status":"OK"}'
            request.respond(200, b"OK", [b"Content-Type: application/json", date()], body)
            return
        host, request.public = self._policy.addressed(head, target.authority)
        if request.connection.trusted:
            request.public = _as_said(request.public, head.fields.values(b"x-forwarded-proto"))
        if b"upgrade" in special:
            figures.websocket += 1
        else:
            figures.web += 1
        if b"expect" in special and special.tokens(b"expect") not in _CONTINUE:
            raise ProxyError(Problem.EXPECTATION_FAILED)
        request.target = target.origin_form
        began = time.perf_counter()
        path = decoded(target.path)
        mount = self._routes.match(host if self._host_routing else b"", path)
        figures.found += 1
        figures.finding += time.perf_counter() - began
        if mount is None:
            raise ProxyError(Problem.NOT_FOUND, "no route")
        mount.check_rest(path)
        mount.resource.render(request)

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Answer with the error's page."""
        self._pages.answer(request, error)


def _as_said(public: bytes, said: list[bytes]) -> bytes:
    """``public`` with the scheme that a trusted proxy has named."""
    scheme = b",".join(said).partition(b",")[0].strip(b" \t").lower()
    if scheme not in _SCHEMES:
        return public
    before, _, authority = public.partition(b"://")
    if scheme == before:
        return public
    usual = b":443" if scheme == b"https" else b":80"
    return scheme + b"://" + authority.removesuffix(usual)


class MovedSite:
    """The site on plain HTTP that redirects browsers to the same address by HTTPS.

    :param port: the port of HTTPS.
    """

    common_lines = b""

    def __init__(self, port: int) -> None:
        self._policy = Policy(None, ())
        self._suffix = b"" if port == 443 else b":%d" % port

    def handle(self, request: Request) -> None:
        """Answer 301."""
        target = parse_target(request.head.method, request.head.target)
        host = self._policy.served_host(request.head, target.authority)
        location = b"Location: https://" + host + self._suffix + target.origin_form
        request.respond(301, b"Moved Permanently", [location, date()], b"")

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Answer with the error's page."""
        send_problem(request, error.problem)
