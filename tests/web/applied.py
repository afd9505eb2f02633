"""A host with applications at routes, asked by browsers that the test plays."""

from __future__ import annotations

from tests.front import Browser
from tests.web.gate import message
from tests.web.routed import Routed
from tests.wires import Wire

SMALL_HOST = """
    health.mode = "off"
    site.hosts = ["example.org"]

    [[routes]]
    host = "galaxy.example.org"
    to = "unix:/srv/gunicorn.sock"
    timeout = 180

    [[routes]]
    path = "/reports"
    to = "http://127.0.0.1:9001"
    strip = true

    [[routes]]
    host = "*.wiki.example.org"
    to = "http://10.0.0.5:8080"
    allow = ["192.0.2.0/28"]
    headers = { X-Frame-Options = "DENY", X-Robots-Tag = "none" }

    [[routes]]
    host = "www.example.org"
    redirect = "https://example.org"

    [[routes]]
    host = "old.example.org"
    path = "/a"
    redirect = "https://new.example.org/b"
    status = 301
"""
GALAXY = b"Host: galaxy.example.org"
HERE = b"Host: example.org"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def ask(host: Routed, start: bytes, *lines: bytes, body: bytes = b"") -> Browser:
    browser = host.connect()
    browser.say(message(start + b" HTTP/1.1", *lines, body=body))
    return browser


def asked(host: Routed, start: bytes, *lines: bytes, body: bytes = b"") -> tuple[Browser, Wire]:
    """A request, and the application that it has reached."""
    browser = ask(host, start, *lines, body=body)
    return browser, host.accept()[1]


SEVERAL = """
    site.hosts = ["example.org"]
    [[routes]]
    to = ["unix:/a", "unix:/b"]
"""
