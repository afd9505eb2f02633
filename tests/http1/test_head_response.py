"""Heads of responses: status lines, and the fields that decide something."""

from __future__ import annotations

import pytest

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.head import parse_response
from ipyproxy.http1.lines import lines_of
from tests.http1.heads import response


def test_a_response_head_comes_apart() -> None:
    head = response(b"HTTP/1.1 404 Not  Found", b"Date: x", b"set-cookie: a", b"Set-Cookie: b")
    assert (head.status, head.reason, head.minor) == (404, b"Not  Found", 1)
    assert lines_of(head.fields.plain) == [b"Date: x"]
    assert head.fields.special == {b"set-cookie": [b"a", b"b"]}


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        (b"HTTP/1.1 200 ", 200, b""),
        (b"HTTP/1.1 200", 200, b""),
        (b"HTTP/1.0 999 \tgr\xfc\xdfe", 999, b"\tgr\xfc\xdfe"),
        (b"HTTP/1.1 100 Continue", 100, b"Continue"),
    ],
)
def test_a_status_line(line: bytes, status: int, reason: bytes) -> None:
    head = response(line)
    assert (head.status, head.reason) == (status, reason)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"HTTP/1.1",
        b"HTTP/1.1 ",
        b"HTTP/1.1 20",
        b"HTTP/1.1 2000",
        b"HTTP/1.1 099 x",
        b"HTTP/1.1 000 x",
        b"HTTP/1.1 +20 x",
        b"HTTP/1.1 2_0 x",
        b"HTTP/1.1 \xb200 x",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1\t200\tOK",
        b"HTTP/2.0 200 OK",
        b"HTTP/1.2 200 OK",
        b"http/1.1 200 OK",
        b"ICY 200 OK",
        b" HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r",
        b"HTTP/1.1 200 O\nK",
        b"HTTP/1.1 200 O\0K",
        b"HTTP/1.1 200 \x7f",
        b"<html>",
        b"SSH-2.0-OpenSSH_9.2p1",
        b"220 mail.example.org ESMTP",
        b"-ERR unknown command 'GET'",
    ],
)
def test_a_line_that_is_no_status_line(line: bytes) -> None:
    with pytest.raises(ProxyError) as caught:
        response(line)
    assert caught.value.problem is Problem.UPSTREAM_BROKEN


def test_what_decides_about_an_answer_is_read_and_passed_on() -> None:
    lines = (b"Content-Type: text/css", b"Cache-Control: no-cache", b"Vary: Cookie")
    fields = parse_response(b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b'ETag: "1"'])).fields
    assert fields.special.values_of(b"content-type") == [b"text/css"]
    assert fields.tokens(b"cache-control") == (b"no-cache",)
    assert fields.tokens(b"vary") == (b"cookie",)
    assert fields.special.verbatim == b"\r\n".join([*lines, b""])
    # What changes with every answer is not among what is remembered.
    assert fields.plain == b'ETag: "1"\r\n'
