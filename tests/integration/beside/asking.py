"""Requests as bytes, and their answers taken apart, so that two servers' can be compared.

Knows HTTP/1.1 as a client speaks it. Knows nothing of who is asked.
"""

from __future__ import annotations

import gzip
import http.client
import re
import socket
import ssl
from collections.abc import Mapping
from typing import NamedTuple

SECONDS = 20
FIELDS = (
    "accept-ranges", "access-control-allow-origin", "allow", "cache-control",
    "content-disposition", "content-encoding", "content-length", "content-range", "content-type",
    "etag", "last-modified", "link", "location", "sec-websocket-accept",
    "set-cookie", "strict-transport-security", "upgrade", "www-authenticate", "x-accel-redirect",
    "x-application", "x-frame-options", "x-sendfile",
)  # fmt: skip
"""The fields that matter to a browser. Left out are those about the connection and the server
(Connection, Date, Keep-Alive, Server, Transfer-Encoding, Via), Vary, and Expires, which says what
Cache-Control does."""
BY_APPLICATION = "x-application"
"""A field that every answer of the application bears, and of nobody else."""


class Ask(NamedTuple):
    """One request. ``target`` goes on the wire as it is; ``name`` tells it from others."""

    name: str
    method: str = "GET"
    target: str = "/"
    fields: Mapping[str, str] = {}
    body: bytes = b""
    chunked: bool = False
    version: str = "HTTP/1.1"


class Answer(NamedTuple):
    """What came: the status, the fields that matter, and the body without its coding."""

    status: int
    fields: dict[str, str]
    body: bytes


def ask(where: tuple[str, int], tls: ssl.SSLContext | None, host: str, asked: Ask) -> Answer:
    """Send a request on a connection of its own, and read the answer.

    :param host: the name for TLS and Host, unless the request has a Host of its own.
    """
    fields = {"Host": host, **asked.fields}
    body = asked.body
    if asked.chunked:
        fields["Transfer-Encoding"] = "chunked"
        halves = body[: len(body) // 2], body[len(body) // 2 :]
        body = b"".join(b"%x\r\n%b\r\n" % (len(half), half) for half in halves) + b"0\r\n\r\n"
    elif body or asked.method in ("POST", "PUT", "PATCH"):
        fields["Content-Length"] = str(len(body))
    head = f"{asked.method} {asked.target} {asked.version}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    with socket.create_connection(where, SECONDS) as plain:
        sock = plain if tls is None else tls.wrap_socket(plain, server_hostname=host)
        with sock:
            sock.sendall(head.encode("latin-1") + b"\r\n" + body)
            response = http.client.HTTPResponse(sock, method=asked.method)
            response.begin()
            upgraded = response.status == 101
            got = b"" if upgraded else response.read()
    return _taken_apart(response, got, f"{host}:{where[1]}", host)


def _taken_apart(
    response: http.client.HTTPResponse, body: bytes, at_port: str, host: str
) -> Answer:
    found: dict[str, str] = {}
    for name in FIELDS:
        values = response.headers.get_all(name)
        if values:
            found[name] = ", ".join(values).replace(at_port, host)
    coding = found.get("content-encoding")
    if coding is not None:
        # How long a compressed body is, is the compressor's matter.
        found.pop("content-length", None)
        if coding == "gzip" and body:
            body = gzip.decompress(body)
    boundary = re.fullmatch(r'multipart/byteranges; boundary="?([^"]+)"?', _type(found))
    if boundary:
        body = body.replace(boundary[1].encode(), b"boundary")
        body = body.lstrip(b"\r\n")  # RFC 2046 lets an empty preamble go
        for field in b"Content-Type", b"Content-Range":
            body = re.sub(field, field, body, flags=re.IGNORECASE)
        found["content-type"] = "multipart/byteranges"
        found.pop("content-length", None)
    if "etag" in found:
        # Each makes its own of the same facts; whether it is weak is for everybody.
        found["etag"] = "weak" if found["etag"].startswith("W/") else "strong"
    return Answer(response.status, found, body)


def _type(fields: Mapping[str, str]) -> str:
    return fields.get("content-type", "")
