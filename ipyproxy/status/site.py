"""The resources of the status pages below ``/_ipyproxy/``, and the site of the status listener.

Knows paths and formats; ``facts.py`` gathers the content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from twisted.web.resource import Resource

from ipyproxy.access.origins import Policy
from ipyproxy.clock import Clock
from ipyproxy.config.routes import OWN_PATH
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.routes.notebooks import parse_target
from ipyproxy.server.request import Request
from ipyproxy.status.condition import Condition
from ipyproxy.status.facts import Sources, document, gather
from ipyproxy.status.live import Board, Live
from ipyproxy.status.metrics import Metrics
from ipyproxy.web.frame import Field
from ipyproxy.web.pages import Page
from ipyproxy.web.resources import PageResource, send_problem, send_redirect

_FRONT = (b"/", OWN_PATH.encode("ascii"))
PLAIN: tuple[Field, ...] = (
    (b"Content-Security-Policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Cache-Control", b"no-store"),
)


def health_resources(condition: Condition) -> Mapping[str, Resource]:
    """The health endpoints for load balancers, by path.

    They reveal no more than connecting does.
    """

    def ready(_: Request) -> Page:
        obstacle = condition.obstacle()
        if obstacle is not None:
            return _text(503, obstacle)
        ending = (
            f"the certificate for {each.names[0]} ends on {each.not_after:%Y-%m-%d}"
            for each in condition.ending()
        )
        return _text(200, "; ".join(("ready", *ending)))

    return {
        f"{OWN_PATH}/healthz": PageResource(lambda _: _text(200, "alive")),
        f"{OWN_PATH}/readyz": PageResource(ready),
    }


class Sights(NamedTuple):
    """The status pages for the administrator: ``resources`` by path, and the viewers."""

    resources: Mapping[str, Resource]
    live: Live


def make_sights(sources: Sources, reactor: Clock) -> Sights:
    """Make the status pages for ``sources``."""
    metrics = Metrics(sources)
    board = Board(lambda: gather(sources))
    live = Live(reactor, board)

    def status(_: Request) -> Page:
        body = json.dumps(document(gather(sources))).encode() + b"\n"
        return Page(200, b"application/json", body, PLAIN)

    def scrape(request: Request) -> Page:
        content_type, body = metrics.exposed(request.head.fields.first(b"accept") or b"")
        return Page(200, content_type, body, PLAIN)

    resources = {
        f"{OWN_PATH}/": PageResource(lambda _: board.page()),
        f"{OWN_PATH}/live": live,
        f"{OWN_PATH}/status.json": PageResource(status),
        f"{OWN_PATH}/metrics": PageResource(scrape),
    }
    return Sights(resources, live)


class StatusSite:
    """The site of the status listener. Everybody who can connect to it may read everything.

    A page whose host name resolves to this machine can connect to a port (DNS rebinding), so the
    Host must be one of the proxy's, as on the public site.
    """

    common_lines = b""

    def __init__(self, resources: Mapping[str, Resource], policy: Policy) -> None:
        self._resources = {path.encode("ascii"): one for path, one in resources.items()}
        self._policy = policy

    def handle(self, request: Request) -> None:
        """Check the host; the resource answers."""
        target = parse_target(request.head.method, request.head.target)
        self._policy.served_host(request.head, target.authority)
        if target.path in _FRONT:
            send_redirect(request, OWN_PATH.encode("ascii") + b"/", None)
            return
        resource = self._resources.get(target.path)
        if resource is None:
            raise ProxyError(Problem.NOT_FOUND)
        resource.render(request)

    def refuse(self, request: Request, error: ProxyError) -> None:
        """Answer with the error's page."""
        send_problem(request, error.problem)


def _text(status: int, text: str) -> Page:
    return Page(status, b"text/plain; charset=utf-8", text.encode() + b"\n", PLAIN)
