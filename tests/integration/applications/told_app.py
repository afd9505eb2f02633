"""An application behind two proxies: it says what it was told, and names files to be sent."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

# What a proxy has to pass on. How it describes itself is compared by who asks.
_TOLD = (
    "HTTP_ACCEPT", "HTTP_AUTHORIZATION", "HTTP_COOKIE", "HTTP_HOST", "HTTP_IF_NONE_MATCH",
    "HTTP_ORIGIN", "HTTP_RANGE", "HTTP_REFERER", "HTTP_TUS_RESUMABLE", "HTTP_USER_AGENT",
    "HTTP_X_API_KEY", "HTTP_X_FORWARDED_PROTO", "HTTP_X_REQUESTED_WITH", "CONTENT_TYPE",
    "PATH_INFO", "QUERY_STRING", "RAW_URI", "REQUEST_METHOD",
)  # fmt: skip
_ROOT = os.environ.get("TOLD_FILES", "/nowhere")


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """PEP 3333."""
    path, wanted = environ["PATH_INFO"], parse_qs(environ["QUERY_STRING"])

    def say(status: str, *fields: tuple[str, str]) -> None:
        start_response(status, [("X-Application", "yes"), *fields])

    for part, answer in _ANSWERS.items():
        if part in path:
            return answer(say, wanted)
    body = environ["wsgi.input"].read()
    told = {name: environ[name] for name in _TOLD if environ.get(name)}
    # Proxies listen on ports of their own.
    port = os.environ.get("TOLD_PORTS", "").split()
    text = json.dumps({**told, "body": [len(body), hashlib.sha256(body).hexdigest()]})
    for each in port:
        text = text.replace(f":{each}", "")
    say("200 OK", ("Content-Type", "application/json"), ("Content-Length", str(len(text))))
    return [text.encode()]


def _redirect(say: Any, wanted: Any) -> Iterable[bytes]:
    say("302 Found", ("Location", wanted["to"][0]), ("Content-Length", "0"))
    return []


def _status(say: Any, wanted: Any) -> Iterable[bytes]:
    code = wanted["code"][0]
    fields = [("Content-Type", "text/plain")]
    if code == "401":
        fields.append(("WWW-Authenticate", 'Basic realm="told"'))
    say(f"{code} Told", *fields)
    return [] if code in ("204", "304") else [f"the application's own {code}".encode()]


def _cookies(say: Any, wanted: Any) -> Iterable[bytes]:
    say(
        "200 OK",
        ("Content-Type", "text/plain"),
        ("Set-Cookie", "galaxysession=1; Path=/; HttpOnly; SameSite=Lax"),
        ("Set-Cookie", "other=2; Path=/elsewhere"),
    )
    return [b"two cookies"]


def _coded(say: Any, wanted: Any) -> Iterable[bytes]:
    say("200 OK", ("Content-Type", "text/plain"), ("Content-Encoding", "gzip"))
    return [gzip.compress(b"coded by the application " * 100, mtime=0)]


def _pieces(say: Any, wanted: Any) -> Iterable[bytes]:
    say("200 OK", ("Content-Type", "application/octet-stream"))
    return (b"%d" % (number % 10) * 10_000 for number in range(30))


def _page(say: Any, wanted: Any) -> Iterable[bytes]:
    say(
        "200 OK",
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", "default-src 'self'"),
        ("X-Frame-Options", "SAMEORIGIN"),
        ("ETag", '"page"'),
        ("Cache-Control", "private, max-age=0"),
    )
    return [b"<!doctype html><title>told</title>" + b"<p>some words" * 200]


def _named(field: str, base: str = "") -> Callable[[Any, Any], Iterable[bytes]]:
    def answer(say: Any, wanted: Any) -> Iterable[bytes]:
        fields = [(field, f"{base}{_ROOT}{wanted['name'][0]}")]
        if "type" in wanted:
            fields.append(("Content-Type", wanted["type"][0]))
        if "as" in wanted:
            fields.append(("Content-Disposition", f'attachment; filename="{wanted["as"][0]}"'))
        say(wanted.get("status", ["200 OK"])[0], ("Content-Length", "0"), *fields)
        return []

    return answer


_ANSWERS: dict[str, Callable[[Any, Any], Iterable[bytes]]] = {
    "/redirect": _redirect,
    "/status": _status,
    "/cookies": _cookies,
    "/coded": _coded,
    "/pieces": _pieces,
    "/page": _page,
    "/accel": _named("X-Accel-Redirect", "/_x_accel_redirect"),
    "/sendfile": _named("X-Sendfile"),
}
