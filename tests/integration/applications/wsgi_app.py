"""An application as gunicorn runs it: an echo of what it was told, events, uploads, addresses."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """PEP 3333."""
    path = environ["PATH_INFO"]
    if path == "/events":
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return _events(float(environ["QUERY_STRING"] or 0))
    if path == "/upload":
        digest, size = hashlib.sha256(), 0
        while piece := environ["wsgi.input"].read(65536):
            digest.update(piece)
            size += len(piece)
        return _json(start_response, {"sha256": digest.hexdigest(), "size": size})
    if path == "/login":
        start_response("302 Found", [("Location", "/welcome"), ("Set-Cookie", "s=1; Path=/")])
        return []
    told = {name: text for name, text in environ.items() if isinstance(text, str)}
    return _json(start_response, told)


def _json(start_response: Callable[..., Any], document: dict[str, Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(document).encode()]


def _events(silence: float) -> Iterator[bytes]:
    for number in range(3):
        yield b"data: %d\n\n" % number
        time.sleep(silence)
