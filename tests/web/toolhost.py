"""A host with Galaxy and a map of its tools, whose rows the test writes."""

from __future__ import annotations

from typing import Any

from ipyproxy.galaxy.entries import KEY_TYPE, Reader, Row
from tests.front import Browser
from tests.galaxy.writing import info
from tests.web.gate import message
from tests.web.routed import Routed

HOST = """
    health.mode = "off"
    site.hosts = ["galaxy.example.org"]

    [galaxy]
    map = "/srv/galaxy/map.sqlite"
    host = "galaxy.example.org"
    networks = ["127.0.0.0/8", "10.1.0.0/16"]

    [[routes]]
    host = "galaxy.example.org"
    to = "unix:/srv/gunicorn.sock"
"""
GALAXY = b"Host: galaxy.example.org"
OWN = b"Host: abc-t0k3n.ep.interactivetool.galaxy.example.org"
PATH = b"/interactivetool/ep/abc/t0k3n"


def row(key: str = "abc", token: str = "t0k3n", host: str = "10.1.0.22", **told: Any) -> Row:
    return Row(key, KEY_TYPE, token, host, told.pop("port", 8888), info(**told))


def hold(host: Routed, *rows: Row) -> None:
    """The map holds these rows now."""
    host.components.galaxy.take(Reader().read(rows))
    host.loop.settle()


def ask(host: Routed, start: bytes, *lines: bytes) -> Browser:
    browser = host.connect()
    browser.wire.say(message(start + b" HTTP/1.1", *lines))
    host.loop.settle()
    return browser


def reached(host: Routed, start: bytes, *lines: bytes) -> tuple[Any, bytes]:
    """Where a request arrives, and as what."""
    ask(host, start, *lines)
    address, wire = host.accept()
    return address, wire.hear()


def refused(host: Routed, start: bytes, *lines: bytes) -> int:
    """The status of a request for which nothing is dialled."""
    browser = ask(host, start, *lines)
    assert not host.dialler.attempts
    return int(browser.hear().split(b" ")[1])
