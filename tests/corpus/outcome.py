"""The server in memory with the real site and one notebook, and what comes of bytes sent to it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from ipyproxy.access.origins import Policy
from ipyproxy.errors import Problem
from ipyproxy.http.rewriting import Rewriting, request_fields
from ipyproxy.http1.lines import lines_of
from ipyproxy.routes.notebooks import ServedPorts, parse_port
from ipyproxy.server.request import Request
from ipyproxy.web.resources import Branch, ProblemResource
from ipyproxy.web.site import PublicSite
from tests.front import Body, House, mounts_of

_DATE = re.compile(rb"\r\nDate: [^\r]*")
_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
REWRITING = Rewriting(b"127.0.0.1:10000", b"/ipython/10000/", 10000)


class Received(NamedTuple):
    """A request that a notebook got whole."""

    method: bytes
    target: bytes
    lines: tuple[bytes, ...]
    body: bytes


class Ending(Body):
    """Takes a body, and says when it is whole."""

    def __init__(self, notebook: Notebook, request: Request) -> None:
        super().__init__(request)
        self._notebook = notebook
        self._request = request

    def body_ended(self) -> None:
        super().body_ended()
        self._notebook.answer(self._request, self.data)


class Notebook(Resource):
    """A notebook that only takes notes."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.received: list[Received] = []

    def render(self, request: Any) -> int:
        if request.body is None:
            self.answer(request, b"")
        else:
            Ending(self, request)
        return NOT_DONE_YET

    def answer(self, request: Request, body: bytes) -> None:
        lines = tuple(
            lines_of(request_fields(request.head, request.public, frozenset(), REWRITING))
        )
        self.received.append(Received(request.method, request.target, lines, body))
        request.consumer = None
        request.respond(200, b"OK", [], b"")


class Ports(Resource):
    """Stands where the notebooks stand, with one of them."""

    def __init__(self, notebook: Notebook) -> None:
        super().__init__()
        self._notebook = notebook
        self._served = ServedPorts([10000])

    def getChild(self, path: bytes, request: Any) -> Resource:
        if parse_port(path) in self._served:
            return self._notebook
        return ProblemResource(Problem.NO_SUCH_PORT)


class Outcome(NamedTuple):
    """Everything that came of what a client sent."""

    received: tuple[Received, ...]
    answers: bytes
    closed: bool

    @property
    def statuses(self) -> tuple[int, ...]:
        return tuple(map(int, _STATUS.findall(self.answers)))


NOTEBOOK = Notebook()
ROOT = Branch()
ROOT.putChild(b"ipython", Ports(NOTEBOOK))
SITE = PublicSite(mounts_of(ROOT), Policy(["localhost"], []))


def outcome_of(*pieces: bytes) -> Outcome:
    NOTEBOOK.received = []
    house = House(site=SITE)
    browser = house.connect()
    answers = b""
    for piece in pieces:
        answers += browser.say(piece)
    assert not house.loop.failures
    return Outcome(tuple(NOTEBOOK.received), _DATE.sub(b"", answers), browser.wire.is_shut)
