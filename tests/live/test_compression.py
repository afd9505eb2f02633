"""Compression by the running proxy: threads, libraries and all."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator

import pytest

from tests.encoding.bodies import decoded, script
from tests.integration.processes import poll
from tests.integration.proxy import Proxy

from .streams import Notebook, answer

pytestmark = pytest.mark.integration

SCRIPT = script(300_000)
FIELDS = (b"Content-Type: text/javascript", b'ETag: "1"')


@pytest.fixture
def client(front: Proxy, tls: ssl.SSLContext) -> Iterator[http.client.HTTPSConnection]:
    connection = http.client.HTTPSConnection("localhost", front.port, context=tls, timeout=20)
    yield connection
    connection.close()


@pytest.mark.parametrize("accepts", ["zstd, br, gzip", "gzip"])
def test_a_script_is_compressed_kept_and_compressed_better(
    client: http.client.HTTPSConnection, notebook: Notebook, accepts: str
) -> None:
    def ask() -> None:
        path = notebook.path.decode() + "app.js"
        client.request("GET", path, headers={"Accept-Encoding": accepts})

    def heard() -> bytes:
        response = client.getresponse()
        assert response.status == 200
        body = response.read()
        assert decoded((response.headers["Content-Encoding"] or "").encode(), body) == SCRIPT
        return body

    ask()
    upstream = notebook.take()
    assert b"If-None-Match" not in upstream.hear_head()
    length = b"Content-Length: %d" % len(SCRIPT)
    upstream.say(answer(*FIELDS, length, body=SCRIPT))
    first = heard()
    assert len(first) < len(SCRIPT) / 2

    def again() -> bytes | None:
        ask()
        assert b'\r\nIf-None-Match: "1"\r\n' in upstream.hear_head()
        upstream.say(b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n')
        body = heard()
        return body if len(body) < len(first) else None

    poll(again, seconds=30, waiting_for="a better compression")
