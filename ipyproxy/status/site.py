"""Where things are to be seen: the resources below ``/_ipyproxy/``, and the site that bears them.

Knows paths and forms. What is shown is gathered in ``facts.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from twisted.web.resource import Resource

from ipyproxy.access.origins import Policy
from ipyproxy.clock import Clock
from ipyproxy.errors import Problem, ProxyError
from ipyproxy.routes.notebooks import parse_target
from ipyproxy.server.request import Request
from ipyproxy.status.condition import Condition
from ipyproxy.status.facts import Sources, document, gather
from ipyproxy.status.live import Board, Live
from ipyproxy.status.metrics import Metrics
from ipyproxy.web.frame import Field
from ipyproxy.web.pages import Page
from ipyproxy.web.resources import NOT_DONE_YET, Branch, send_page, send_problem, send_redirect

PREFIX = "/_ipyproxy"
"""The path that everything of the proxy's own stands below."""

_FRONT = (b"/", PREFIX.encode("ascii"))
PLAIN: tuple[Field, ...] = (
    (b"Content-Security-Policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Cache-Control", b"no-store"),
)


class Shown(Branch):
    """Something that is made anew each time that it is read."""

    def __init__(self, make: Callable[[Request], Page]) -> None:
        super().__init__()
        self._make = make

    def render(self, request: Any) -> int:
        """Answer with what there is now, for reading only."""
        if request.method in (b"GET", b"HEAD"):
            send_page(request, self._make(request))
        else:
            send_problem(request, Problem.METHOD_NOT_ALLOWED)
        return NOT_DONE_YET


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
        f"{PREFIX}/healthz": Shown(lambda _: _text(200, "alive")),
        f"{PREFIX}/readyz": Shown(ready),
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
        f"{PREFIX}/": Shown(lambda _: board.page()),
        f"{PREFIX}/live": live,
        f"{PREFIX}/status.json": Shown(status),
        f"{PREFIX}/metrics": Shown(scrape),
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
            send_redirect(request, PREFIX.encode("ascii") + b"/", None)
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
