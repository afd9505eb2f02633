"""The corpus of answers, whole and cut at every place: what TCP does to one changes nothing."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest

from tests.corpus.responses import EVIL, RESPONSES, Answer
from tests.http1 import grammar
from tests.web.gate import HOST, Gate, message

_PAGE = re.compile(rb"<!doctype html>.*", re.DOTALL | re.IGNORECASE)
_DATE = re.compile(rb"\r\nDate: [^\r]*")


class Taken(NamedTuple):
    """What a client makes of all that it gets."""

    heads: tuple[bytes, ...]
    body: bytes
    whole: bool

    @property
    def statuses(self) -> tuple[int, ...]:
        return tuple(int(head[9:12]) for head in self.heads)


def taken(method: bytes, stream: bytes, ended: bool) -> Taken:
    """Read *stream* as a strict client does; *ended* says whether it closed without a reset."""
    heads: list[bytes] = []
    while not heads or heads[-1].startswith(b"HTTP/1.1 1"):
        head, _, stream = stream.partition(b"\r\n\r\n")
        assert grammar.RESPONSE_HEAD.fullmatch(head), head
        heads.append(_DATE.sub(b"", head))
    last = heads[-1].lower()
    bodyless = method == b"HEAD" or last[9:12] in (b"204", b"304")
    if bodyless:
        body, whole = stream, True
    elif b"\r\ntransfer-encoding: chunked" in last:
        decoded = grammar.chunked_body(stream)
        body, whole = (decoded[0], True) if decoded else (_begun(stream), False)
        assert not decoded or not decoded[1]
    else:
        length = int(last.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
        body, whole = stream, len(stream) == length
        assert len(stream) <= length
    assert whole or not ended
    return Taken(tuple(heads), _PAGE.sub(b"", body), whole)


def _begun(stream: bytes) -> bytes:
    """The bytes of all chunks in a stream that has no last one."""
    body = b""
    while line := stream.partition(b"\r\n")[0]:
        size = int(line, 16)
        body += stream[len(line) + 2 :][:size]
        stream = stream[len(line) + 4 + size :]
    return body


def outcome_of(case: Answer, *pieces: bytes) -> Taken:
    """Let a notebook send *pieces* and close; a second request must find a new connection."""
    gate = Gate()
    browser = gate.connect()
    browser.say(message(case.method + b" /ipython/10000/ HTTP/1.1", HOST))
    notebook = gate.notebook()
    for piece in pieces:
        if not notebook.is_closed:
            gate.tell(notebook, piece)
    if EVIL in case.raw:
        assert notebook.is_closed
    elif not notebook.is_closed:
        gate.end(notebook)
    assert not gate.loop.failures
    assert gate.is_at_rest
    return taken(case.method, browser.hear(), not browser.wire.was_reset)


def cases() -> list[Any]:
    return [pytest.param(case, id=case.name) for case in RESPONSES]


def places(raw: bytes) -> range | list[int]:
    """Where to cut: everywhere, but only near the ends and the limit of what is very long."""
    if len(raw) < 1000:
        return range(1, len(raw))
    near = {at + step for at in (65536, len(raw)) for step in range(-4, 5)}
    return sorted(at for at in {*range(1, 90), *near} if 0 < at < len(raw))


def bytewise(raw: bytes) -> tuple[bytes, ...]:
    """Every byte by itself, but not those of what is very long."""
    if len(raw) > 1000:
        return (raw[:-1], raw[-1:])
    return tuple(raw[at : at + 1] for at in range(len(raw)))


@pytest.mark.parametrize("case", cases())
def test_an_answer_is_passed_on_refused_or_cut_short(case: Answer) -> None:
    outcome = outcome_of(case, case.raw)
    if case.whole:
        assert outcome.statuses == case.statuses
        assert (outcome.body, outcome.whole) == (case.body, True)
    else:
        assert outcome.whole is (outcome.statuses == (502,))


@pytest.mark.parametrize("case", cases())
def test_it_does_not_matter_where_an_answer_is_cut(case: Answer) -> None:
    raw = case.raw
    whole = outcome = outcome_of(case, raw)
    for pieces in [*[(raw[:at], raw[at:]) for at in places(raw)], bytewise(raw)]:
        outcome = outcome_of(case, *pieces)
        if case.whole:
            assert outcome == whole, pieces
        elif outcome.statuses != (502,):
            # What was sent before it broke stays, and is never taken for all of it.
            assert outcome.statuses == case.statuses
            assert not outcome.whole
            assert case.body.startswith(outcome.body)
    if not case.whole:
        # The last way was byte by byte, so all of it went on.
        assert (outcome.statuses, outcome.body) == (case.statuses, case.body)
