"""Fields as they come, and as the proxy passes them on: to a notebook, and to a browser."""

from __future__ import annotations

from ipyproxy.http.answers import response_fields
from ipyproxy.http.rewriting import Rewriting, request_fields
from ipyproxy.http1.head import HeadLimits, RequestHead, ResponseHead, parse_request, parse_response
from ipyproxy.http1.lines import lines_of

PUBLIC = b"https://hub.example.org"
TRUSTED = frozenset([b"https://galaxy.example.org"])
NOTEBOOK = Rewriting(b"127.0.0.1:10000", b"/ipython/10000/", 10000, (b"galaxysession", b"sso"))


def request(*fields: bytes, minor: int = 1) -> RequestHead:
    line = b"GET / HTTP/1.%d" % minor
    return parse_request(b"\r\n".join([line, b"Host: hub.example.org", *fields]), HeadLimits())


def sent_lines(
    head: RequestHead, public: bytes, trusted: frozenset[bytes], rewriting: Rewriting
) -> list[bytes]:
    return lines_of(request_fields(head, public, trusted, rewriting))


def answered_lines(head: ResponseHead, public: bytes, rewriting: Rewriting) -> list[bytes]:
    return lines_of(response_fields(head, public, rewriting))


def upstream_gets(*fields: bytes, public: bytes = PUBLIC) -> list[bytes]:
    lines = sent_lines(request(*fields), public, TRUSTED, NOTEBOOK)
    assert lines[0] == b"Host: 127.0.0.1:10000"
    return lines[1:]


def browser_gets(*fields: bytes, public: bytes = PUBLIC) -> list[bytes]:
    head = parse_response(b"\r\n".join([b"HTTP/1.1 200 OK", *fields]))
    return answered_lines(head, public, NOTEBOOK)
