"""Answers as the site of these tests gives them, and as a browser sees them."""

from __future__ import annotations

from ipyproxy.server.request import Request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"
OK_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes"


def refusal(status: int) -> bytes:
    return b"HTTP/1.1 %d Refused\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n" % status


def say_yes(request: Request) -> None:
    request.respond(200, b"OK", [], b"yes")
