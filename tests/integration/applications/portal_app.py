"""A site as gunicorn runs it: a form with its own check, events, and a file that it names."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs

_PAGE = """<!doctype html><title>portal</title>
<link rel="stylesheet" href="/static/style.css">
<h1>Portal</h1>
<form method="post" action="/taken">
<input type="hidden" name="token" value="{token}"><input name="said"><button>Send</button>
</form>
"""


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """PEP 3333."""
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    html = ("Content-Type", "text/html; charset=utf-8")
    if path == "/events":
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return _events(float(query))
    if path == "/reads.bam":
        name = ("X-Accel-Redirect", "/_x_accel_redirect" + os.environ["PORTAL_READS"])
        start_response("200 OK", [name, ("Content-Type", "application/octet-stream")])
        return []
    if path == "/taken":
        form = parse_qs(environ["wsgi.input"].read().decode())
        cookies = SimpleCookie(environ.get("HTTP_COOKIE", ""))
        # As Django does: the page's own origin, and what only a page of ours can know.
        own = f"{environ['wsgi.url_scheme']}://{environ['HTTP_HOST']}"
        good = environ.get("HTTP_ORIGIN") == own and form["token"] == [cookies["token"].value]
        start_response("200 OK" if good else "403 Forbidden", [html])
        return [f"<p id=said>{form['said'][0] if good else 'forged'}".encode()]
    if path != "/":
        start_response("404 Not Found", [html])
        return []
    token = os.urandom(8).hex()
    start_response("200 OK", [html, ("Set-Cookie", f"token={token}; Path=/; Secure; HttpOnly")])
    return [_PAGE.format(token=token).encode()]


def _events(silence: float) -> Iterator[bytes]:
    yield b"data: begun\n\n"
    time.sleep(silence)
    yield b"data: ended\n\n"
