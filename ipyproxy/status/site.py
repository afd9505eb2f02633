"""Where things are to be seen: the resources below ``/_ipyproxy/``, and the site that bears them.

Knows paths and forms. What is shown is gathered in ``facts.py``.
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
    """What load balancers ask, by path. It says nothing that connecting does not tell."""

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
    """What is for the administrator's eyes only: ``resources`` by path, and who looks."""

    resources: Mapping[str, Resource]
    live: Live


def make_sights(sources: Sources, reactor: Clock) -> Sights:
    """Everything there is to see of ``sources``."""
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
    """What the status listener serves. Who gets as far as to its socket may read it all.

    A page that resolves its own name to this machine can get as far as a port of it (DNS
    rebinding), so the host must be one of this proxy's, as on the public site.
    """

    common_lines = b""

    def __init__(self, resources: Mapping[str, Resource], policy: Policy) -> None:
        self._resources = {path.encode("ascii"): one for path, one in resources.items()}
        self._policy = policy

    def handle(self, request: Request) -> None:
        """Check the host, and let the resource answer."""
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
        """Answer with the page of the error."""
        send_problem(request, error.problem)


def _text(status: int, text: str) -> Page:
    return Page(status, b"text/plain; charset=utf-8", text.encode() + b"\n", PLAIN)
