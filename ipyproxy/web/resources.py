"""The proxy's own pages as Resources, and how a page is put on the wire."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from twisted.web.resource import Resource

from ipyproxy.errors import Problem
from ipyproxy.http1.head import READING
from ipyproxy.server.request import Request
from ipyproxy.web.negotiation import wants_json
from ipyproxy.web.pages import WAITING, Page, busy_page, own_page, problem_page, waiting_page

NOT_DONE_YET = 1
"""The return value of ``render``: the answer is sent by other means.

It is Twisted's, defined here since ``twisted.web.server`` would load all of Perspective Broker.
"""


def send_page(request: Request, page: Page, more: Iterable[bytes] = ()) -> None:
    """Answer ``request`` with ``page``, and with ``more`` field lines."""
    lines = [b"%b: %b" % field for field in page.fields]
    lines += more
    lines.append(date())
    lines.append(b"Content-Type: " + page.content_type)
    reason = HTTPStatus(page.status).phrase.encode("ascii")
    request.respond(page.status, reason, lines, page.body)


def send_problem(
    request: Request,
    problem: Problem,
    retry_after: float | None = None,
    more: Iterable[bytes] = (),
    *,
    rule: str = "",
    busy_for: float | None = None,
    methods: tuple[str, ...] = (),
) -> None:
    """Answer ``request`` with the page for ``problem``, and with ``more`` field lines.

    :param retry_after: seconds until another try makes sense; None: unknown.
    :param rule: the rule of HTTP that a notebook's answer has broken.
    :param busy_for: seconds for which the notebook has been busy; None: it is not busy.
    :param methods: the authentication methods that would have let the request pass.
    """
    request.refused = problem.status < 500
    as_json = wants_json(request.head.fields.first(b"accept"))
    port = None if request.upstream is None else request.upstream.port
    of_application = request.upstream is not None and port is None
    if problem in WAITING and not as_json and port is not None:
        send_page(request, waiting_page(problem, port), more)
    elif busy_for is not None and not of_application:
        since = datetime.now(UTC) - timedelta(seconds=busy_for)
        send_page(request, busy_page(problem, since, busy_for, wants_json=as_json), more)
    else:
        seconds = None if retry_after is None else math.ceil(retry_after)
        page = problem_page(
            problem,
            wants_json=as_json,
            retry_after=seconds,
            rule=rule,
            methods=methods,
            of_application=of_application,
        )
        body = request.error_pages.get(problem.status)
        if body is not None and not as_json:
            page = own_page(page, body)
        send_page(request, page, more)


def send_redirect(request: Request, target: bytes, cookie: bytes | None) -> None:
    """Redirect a browser to ``target`` on this host, with a cookie if any (whole lines)."""
    lines = [b"Location: " + target, b"Cache-Control: no-store", b"Referrer-Policy: no-referrer"]
    if cookie is not None:
        lines.append(cookie)
    lines.append(date())
    request.respond(303, b"See Other", lines, b"")


def date() -> bytes:
    """The field line Date (RFC 9110 section 6.6.1)."""
    return _date_of(int(time.time()))


@lru_cache(2)
def _date_of(seconds: int) -> bytes:
    return b"Date: " + formatdate(seconds, usegmt=True).encode("ascii")


class Branch(Resource):
    """A path segment with children, but without content of its own."""

    def getChild(self, path: bytes, request: object) -> Resource:
        """Any other child is not found."""
        return ProblemResource(Problem.NOT_FOUND)

    def render(self, request: Request) -> int:
        """Answer 404."""
        send_problem(request, Problem.NOT_FOUND)
        return NOT_DONE_YET


class PageResource(Branch):
    """One page at one address, and nothing below it.

    :param make: makes the page for each request.
    """

    def __init__(self, make: Callable[[Request], Page]) -> None:
        super().__init__()
        self._make = make

    def render(self, request: Request) -> int:
        """Answer GET and HEAD with the page."""
        if request.method in READING:
            send_page(request, self._make(request))
        else:
            send_problem(request, Problem.METHOD_NOT_ALLOWED)
        return NOT_DONE_YET


class RedirectResource(Resource):
    """Redirects everything at a route to another address.

    :param to: the address to put before the target of a request, without a slash at its end.
    """

    isLeaf = True

    def __init__(self, to: bytes, status: int) -> None:
        super().__init__()
        self._to = to
        self._status = status
        self._reason = HTTPStatus(status).phrase.encode("ascii")

    def render(self, request: Request) -> int:
        """Redirect to the same path and query there."""
        # The target begins with exactly one slash, so it can't lead to another host.
        request.respond(
            self._status, self._reason, [b"Location: " + self._to + request.target, date()], b""
        )
        return NOT_DONE_YET


class ProblemResource(Resource):
    """An address that answers with a problem."""

    isLeaf = True

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self._problem = problem

    def render(self, request: Request) -> int:
        """Answer with the problem's page."""
        send_problem(request, self._problem)
        return NOT_DONE_YET
