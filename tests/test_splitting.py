"""The whole corpus, cut at every place: what TCP does to a request changes nothing about it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from ipyproxy.access import Policy
from ipyproxy.errors import Problem
from ipyproxy.http1.fields import Rewriting, request_lines
from ipyproxy.request import Request
from ipyproxy.routes import ServedPorts, parse_port
from ipyproxy.web.resources import ProblemResource
from ipyproxy.web.root import PublicSite, Root

from .corpus.requests import REQUESTS, SMUGGLED, Case
from .front import Body, House

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
        lines = tuple(request_lines(request.head, request.public, (), REWRITING))
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


NOTEBOOK = Notebook()
SITE = PublicSite(Root("/ipython", Ports(NOTEBOOK)), Policy(["localhost"], []))


def outcome_of(*pieces: bytes) -> Outcome:
    NOTEBOOK.received = []
    house = House(site=SITE)
    browser = house.connect()
    answers = b""
    for piece in pieces:
        answers += browser.say(piece)
    assert not house.loop.failures
    return Outcome(tuple(NOTEBOOK.received), _DATE.sub(b"", answers), browser.wire.is_shut)


def cases(*failing: str, longest: int = 100_000) -> list[Any]:
    """The corpus; what is known to fail is named."""
    reason = "skips one empty line, but another at each cut; counts the end of a head as its body"
    marks = [pytest.mark.xfail(reason=reason)]
    return [
        pytest.param(case, id=case.name, marks=marks if case.name in failing else [])
        for case in REQUESTS
        if len(case.raw) <= longest
    ]


def places(raw: bytes) -> range | list[int]:
    """Where to cut: everywhere, but only near both ends and the limits of what is very long."""
    if len(raw) < 1000:
        return range(1, len(raw.removesuffix(SMUGGLED)) + 2)
    limits = (256, 8192, 16384, 16388, 16448, len(raw))
    near = {at + step for at in limits for step in range(-4, 5)}
    return sorted(at for at in {*range(1, 90), *near} if 0 < at < len(raw))


@pytest.mark.parametrize("case", cases())
def test_a_request_is_taken_or_refused_and_nothing_is_smuggled(case: Case) -> None:
    outcome = outcome_of(case.raw)
    assert tuple(map(int, _STATUS.findall(outcome.answers))) == case.answers
    assert len(outcome.received) == case.answers.count(200)
    assert not [got for got in outcome.received if b"smuggled" in got.target]
    if {400, 414, 431, 501, 505}.intersection(case.answers):
        assert outcome.closed


@pytest.mark.parametrize("case", cases("first line: two empty lines first", "field: at the limit"))
def test_it_does_not_matter_where_a_request_is_cut(case: Case) -> None:
    whole = outcome_of(case.raw)
    for at in places(case.raw):
        assert outcome_of(case.raw[:at], case.raw[at:]) == whole, f"cut at {at}"


@pytest.mark.parametrize("case", cases("first line: two empty lines first", longest=1000))
def test_a_request_may_come_byte_by_byte(case: Case) -> None:
    pieces = [case.raw[at : at + 1] for at in range(len(case.raw))]
    assert outcome_of(*pieces) == outcome_of(case.raw)
