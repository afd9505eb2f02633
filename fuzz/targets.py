"""What must hold for any bytes at all, one function for each place where strangers' bytes enter.

A target returns if all is well and raises AssertionError, or whatever else goes wrong, if not.
The grammar of the tests is the oracle. Seeds are the tests' corpus.
"""

from __future__ import annotations

from collections.abc import Callable

from ipyproxy.errors import ProxyError
from ipyproxy.http.answers import response_fields
from ipyproxy.http.rewriting import Rewriting, request_fields
from ipyproxy.http1.framing import ChunkedDecoder, request_framing, response_framing
from ipyproxy.http1.head import (
    HeadLimits,
    parse_request,
    parse_response,
)
from ipyproxy.http1.lines import lines_of
from ipyproxy.routes.notebooks import parse_target
from tests.corpus.outcome import outcome_of
from tests.corpus.requests import REQUESTS
from tests.corpus.responses import RESPONSES
from tests.http1 import grammar

_LIMITS = HeadLimits()
_PUBLIC = b"https://localhost"
_REWRITING = Rewriting(b"127.0.0.1:10000", b"/ipython/10000/", 10000, (b"galaxysession",))


def request(data: bytes) -> None:
    """A head is taken only if the grammar has it, and what is made of it is one again."""
    try:
        head = parse_request(data, _LIMITS)
    except ProxyError:
        assert (
            not grammar.REQUEST_HEAD.fullmatch(data) or len(data) > 8192 or data.count(b"\n") > 100
        )
        return
    assert grammar.REQUEST_HEAD.fullmatch(data)
    try:
        request_framing(head)
    except ProxyError:
        return
    lines = lines_of(request_fields(head, _PUBLIC, frozenset(), _REWRITING))
    again = parse_request(
        b"\r\n".join([b"GET / HTTP/1.1", *lines]),
        HeadLimits(head_fields=200),
    )
    assert request_framing(again)[0] is None
    assert again.fields.values(b"host") == [b"127.0.0.1:10000"]
    assert not again.fields.values(b"connection")
    assert not again.fields.values(b"x-forwarded-for")


def response(data: bytes) -> None:
    """The same for a response; and no cookie leaves its prefix."""
    try:
        head = parse_response(data)
    except ProxyError:
        assert not grammar.RESPONSE_HEAD.fullmatch(data)
        return
    assert grammar.RESPONSE_HEAD.fullmatch(data)
    try:
        response_framing(head, b"GET")
    except ProxyError:
        return
    lines = lines_of(response_fields(head, _PUBLIC, _REWRITING))
    again = parse_response(b"\r\n".join([b"HTTP/1.1 200 OK", *lines]))
    for cookie in again.fields.values(b"set-cookie"):
        attributes = [part.partition(b"=") for part in cookie.split(b";")[1:]]
        paths = [value for name, _, value in attributes if name.strip(b" \t").lower() == b"path"]
        names = [name.strip(b" \t").lower() for name, _, _ in attributes]
        assert len(paths) == 1
        assert paths[0].startswith(b"/ipython/10000/")
        assert b"secure" in names
        assert b"domain" not in names


def chunked(data: bytes) -> None:
    """Chunks are what the grammar says, however they are cut; the first byte says how."""
    step, stream = (data[0] or 1 if data else 1), data[1:]
    decoder = ChunkedDecoder()
    body, rest = b"", b""
    try:
        for at in range(0, len(stream), step):
            piece = stream[at : at + step]
            if decoder.done:
                rest += piece
            else:
                payload, rest = decoder.feed(piece)
                body += payload
    except ProxyError:
        # Lines longer than the limits are refused although the grammar has them.
        assert len(stream) > 15 or grammar.chunked_body(stream) is None
        return
    assert ((body, rest) if decoder.done else None) == grammar.chunked_body(stream)


def target(data: bytes) -> None:
    """A target that passes does so byte for byte, and without a step up."""
    try:
        parsed = parse_target(b"GET", data)
    except ProxyError:
        return
    assert data.endswith((parsed.origin_form, parsed.origin_form[1:]))
    assert parsed.path.startswith(b"/")
    assert not parsed.path.startswith(b"//")
    lowered = parsed.path.lower().replace(b"%2e", b".").replace(b"%2f", b"/").replace(b"%5c", b"/")
    assert not {b".", b".."}.intersection(lowered.split(b"/"))


def connection(data: bytes) -> None:
    """Whatever a client sends, a notebook gets requests, and each has its answer."""
    outcome = outcome_of(data)
    assert outcome.statuses.count(200) >= len(outcome.received)
    for received in outcome.received:
        line = b"%b %b HTTP/1.1" % (received.method, received.target)
        assert grammar.REQUEST_HEAD.fullmatch(b"\r\n".join([line, *received.lines]))
        assert received.target.startswith(b"/ipython/10000")
        assert received.lines[0] == b"Host: 127.0.0.1:10000"


TARGETS: dict[str, Callable[[bytes], None]] = {
    function.__name__: function for function in (request, response, chunked, target, connection)
}


def seeds(name: str) -> list[bytes]:
    """What to begin with."""
    raws = [case.raw for case in REQUESTS]
    heads = [raw.partition(b"\r\n\r\n")[0] for raw in raws]
    if name == "request":
        return heads
    if name == "response":
        fields = [head.partition(b"\r\n")[2] for head in heads]
        cookies = b"Set-Cookie: a=b; Path=/; Domain=x; Secure\r\nLocation: //127.0.0.1:10000/\r\n"
        answers = [case.raw.partition(b"\r\n\r\n")[0] for case in RESPONSES]
        return [*answers, *[b"HTTP/1.1 200 OK\r\n" + cookies + field for field in fields]]
    if name == "chunked":
        bodies = [raw.partition(b"\r\n\r\n")[2] for raw in raws if b"chunked" in raw]
        return [b"\x00" + body for body in bodies] + [b"\xff" + body for body in bodies]
    if name == "target":
        return [words[1] for head in heads if len(words := head.split(b" ")) > 2]
    return raws
