"""The requests that are sent to ipyproxy and to those beside it.

Names say what is asked: differences that are allowed go by them.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .asking import Ask

_WEBSOCKET = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(b"sixteen bytes...").decode(),
}


def to_application(base: str = "") -> list[Ask]:
    """Requests that an application answers, all below ``base``."""
    return [
        *_methods(base),
        *_targets(base),
        *_fields(base),
        *_answers(base),
    ]


def _methods(base: str) -> Iterable[Ask]:
    for method in "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
        for path in "/", "/api/histories", "/datasets/1/display?to_ext=data":
            has_body = method in ("POST", "PUT", "PATCH")
            yield Ask(
                f"application {method} {path}", method, base + path, body=b"a=1&b=2" * has_body
            )
    large = bytes(range(256)) * 4096
    yield Ask("application POST 1 MiB", "POST", f"{base}/api/tools", body=large)
    yield Ask("application POST chunked", "POST", f"{base}/api/tools", body=large, chunked=True)
    yield Ask("application POST nothing", "POST", f"{base}/api/tools")
    tus = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0"}
    kind = {"Content-Type": "application/offset+octet-stream"}
    yield Ask("application PATCH tus", "PATCH", f"{base}/api/upload/x", {**tus, **kind}, b"x" * 999)
    yield Ask("method TRACE", "TRACE", f"{base}/")
    yield Ask("method unheard of", "PURGE", f"{base}/")


def _targets(base: str) -> Iterable[Ask]:
    for path in (
        "/a%20b", "/a%2Fb", "/a%2fb/c", "/%E7%A7%80", "/a;v=1/b", "/a+b", "/a,b", "/~user", "/a//b",
        "/a/", "/?", "/?a=%2F&b=%26", "/?a=b?c", "/a:b@c", "/a%3Fb", "/a%23b", "/a'b(c)!*$",
        "/a%25b", "/a?x=[1]", "/api/%7Btool%7D",
    ):  # fmt: skip
        yield Ask(f"target {path}", target=base + path)
    yield Ask("target long", target=f"{base}/a?" + "q" * 4000)
    for path in "/../secret", "/a/../../secret", "/a/../b", "/a/./b", "/%2e%2e/secret", "/a%00b":
        yield Ask(f"odd {path}", target=base + path)
    for path in "/a%zzb", "/a%", "/a\\b":
        yield Ask(f"odd {path}", target=base + path)


def _fields(base: str) -> Iterable[Ask]:
    for name, fields in _FIELDS.items():
        yield Ask(f"fields {name}", target=f"{base}/api/x", fields=fields)
    yield Ask("fields HTTP/1.0", target=f"{base}/api/x", version="HTTP/1.0")
    yield Ask("host unknown", target=f"{base}/api/x", fields={"Host": "unknown.example"})
    expects = {"Expect": "100-continue"}
    yield Ask("fields expect", "POST", f"{base}/api/x", expects, b"waited for")


_FIELDS: Mapping[str, Mapping[str, str]] = {
    "cookies": {"Cookie": "galaxysession=c6ca; other=a%20b"},
    "own origin": {"Origin": "https://localhost", "Referer": "https://localhost/a?b"},
    "foreign origin": {"Origin": "https://genome.example.com"},
    "no origin": {"Origin": "null"},
    "basic": {"Authorization": "Basic YTpi"},
    "key": {"X-API-Key": "0123456789abcdef", "Accept": "application/json"},
    "script": {"X-Requested-With": "XMLHttpRequest", "User-Agent": "a browser/1.0 (b; c)"},
    "range": {"Range": "bytes=0-9"},
    "condition": {"If-None-Match": '"abc", W/"def"'},
    "lies": {"X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.example"},
    "long": {"X-Long": "x" * 4000},
}


def _answers(base: str) -> Iterable[Ask]:
    for code in 200, 201, 204, 304, 400, 401, 403, 404, 409, 418, 422, 429, 500, 503:
        yield Ask(f"answer {code}", target=f"{base}/status?code={code}")
    yield Ask("answer HEAD", "HEAD", f"{base}/page")
    for to in "/welcome", "https://login.example.org/?a=b", "relative", "//other.example/":
        yield Ask(f"answer to {to}", target=f"{base}/redirect?to={to}")
    for path in "/cookies", "/coded", "/pieces", "/page":
        yield Ask(f"answer {path}", target=base + path)
    for path in "/page", "/coded":
        fields = {"Accept-Encoding": "gzip", "Sec-Fetch-Site": "same-origin"}
        yield Ask(f"answer {path} gzip", target=base + path, fields=fields)
    yield Ask("answer page range", target=f"{base}/page", fields={"Range": "bytes=0-9"})


class Shelf(NamedTuple):
    """Where files are asked for: ``at`` is the path of the directory that :func:`fill` made."""

    at: str
    modified: str
    sizes: Mapping[str, int]


def to_files(shelf: Shelf, kind: str = "file") -> list[Ask]:
    """Requests for the files of a directory; all names begin with ``kind``."""
    at = shelf.at
    asks = [Ask(f"{kind} {name}", target=f"{at}/{name}") for name in shelf.sizes]
    for name in "style.css", "big.bin", "empty.txt":
        asks.append(Ask(f"{kind} HEAD {name}", "HEAD", f"{at}/{name}"))
        since = {"If-Modified-Since": shelf.modified}
        asks.append(Ask(f"{kind} since {name}", target=f"{at}/{name}", fields=since))
    asks += [
        Ask(f"{kind} {label}", target=f"{at}/big.bin", fields=fields)
        for label, fields in _CONDITIONS.items()
    ]
    asks += [
        Ask(f"{kind} range {wanted}", target=f"{at}/big.bin", fields={"Range": f"bytes={wanted}"})
        for wanted in _RANGES
    ]
    dated = {"Range": "bytes=0-9", "If-Range": shelf.modified}
    asks.append(Ask(f"{kind} if-range same", target=f"{at}/big.bin", fields=dated))
    gzipped = {"Accept-Encoding": "gzip"}
    asks += [
        Ask(f"{kind} gzip {name}", target=f"{at}/{name}", fields=gzipped)
        for name in ("style.css", "app.js", "index.html", "big.bin", "image.png")
    ]
    asks += [
        Ask(f"{kind} {method}", method, f"{at}/style.css", body=body)
        for method, body in (("POST", b"a"), ("PUT", b"a"), ("DELETE", b""), ("OPTIONS", b""))
    ]
    asks += [
        Ask(f"{kind} at {path}", target=at + path)
        for path in (
            "/nothing", "/docs/", "/docs/index.html", "/docs?a=b", "/docs", "/style.css/",
            "/style.css?v=2", "/a%20b.txt", "/%73tyle.css", "/docs/../style.css", "/../secret",
            "/..%2fsecret", "/%2e%2e/secret", "/docs//index.html", "/.hidden", "/out", "/inner",
        )
    ]  # fmt: skip
    return asks


_CONDITIONS: Mapping[str, Mapping[str, str]] = {
    "any": {"If-None-Match": "*"},
    "other tag": {"If-None-Match": '"other"'},
    "since long ago": {"If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"},
    "since nonsense": {"If-Modified-Since": "yesterday"},
    "unmodified since long ago": {"If-Unmodified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"},
    "match other": {"If-Match": '"other"'},
    "match any": {"If-Match": "*"},
    "if-range other": {"Range": "bytes=0-9", "If-Range": '"other"'},
    "if-range long ago": {"Range": "bytes=0-9", "If-Range": "Mon, 01 Jan 2001 00:00:00 GMT"},
}
_RANGES = (
    "0-9", "10-19", "0-0", "1000-", "-100", "0-", "0-99999999", "0-9,20-29", "0-9,5-14", "-1,0-0",
    "99999999-", "9-0", "a-b", "",
)  # fmt: skip


def to_named_files(shelf: Shelf, how: str) -> list[Ask]:
    """Requests for files that the application names, by ``/accel`` or ``/sendfile``."""
    at = f"/{how}?name="
    asks = [
        Ask(f"{how} {name}", target=f"{at}/{name}&type=a/b&as={name}")
        for name in ("big.bin", "style.css", "empty.txt", "docs/index.html")
    ]
    asks.append(Ask(f"{how} HEAD", "HEAD", f"{at}/big.bin&type=a/b"))
    for wanted in _RANGES:
        ranges = {"Range": f"bytes={wanted}"}
        asks.append(Ask(f"{how} range {wanted}", target=f"{at}/big.bin&type=a/b", fields=ranges))
    for label, fields in _CONDITIONS.items():
        asks.append(Ask(f"{how} {label}", target=f"{at}/big.bin&type=a/b", fields=fields))
    asks.append(Ask(f"{how} POST", "POST", f"{at}/big.bin&type=a/b", body=b"a"))
    asks.append(Ask(f"{how} nothing there", target=f"{at}/nothing"))
    asks.append(Ask(f"{how} a directory", target=f"{at}/docs"))
    asks.append(Ask(f"{how} space", target=f"{at}/a%2520b.txt&type=a/b"))
    return asks


def websocket(target: str) -> Ask:
    """A handshake, which is not gone on with."""
    return Ask("websocket", target=target, fields=_WEBSOCKET)
