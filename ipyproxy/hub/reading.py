"""What a hub says to the API: paths, bodies, targets and dates, taken apart.

Pure: knows text and JSON. Knows nothing of requests, of routes that there are, or of the time.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, unquote, unquote_to_bytes, urlsplit

from ipyproxy.net.address import Address, NamedAddress, TCPAddress, UNIXPath
from ipyproxy.net.hosts import is_host_name, parse_address
from ipyproxy.routes.route import Application, Server

ROUTES = "/api/routes"
LONGEST_SOCKET_PATH = 107
"""Bytes of a UNIX socket's path (unix(7): sun_path has 108)."""
_SOCKET_SCHEMES = ("http+unix", "unix+http")


class MalformedError(ValueError):
    """What was said makes no sense; the sentence says why."""


def route_path(path: bytes) -> str | None:
    """The path of the route that a request to the API is about, decoded; None: it is about none.

    It has one slash first and, but for ``/`` itself, none last. A path that is not UTF-8 raises
    :class:`MalformedError`.
    """
    stem = ROUTES.encode("ascii")
    if path != stem and not path.startswith(stem + b"/"):
        return None
    try:
        rest = unquote_to_bytes(path[len(stem) :]).decode()
    except UnicodeDecodeError:
        raise MalformedError("the path is not UTF-8") from None
    return clean_path(rest)


def clean_path(path: str) -> str:
    """``path`` with one slash first and, but for ``/`` itself, none last."""
    return "/" + path.strip("/")


def place_of(path: str, *, host_routing: bool) -> tuple[bytes, bytes]:
    """The host and the path that requests of a route have: the first segment may be the host.

    No two paths that are clean give the same place, but where only the case of the host differs.

    :param path: clean, see :func:`clean_path`; ``/`` is every host's.
    """
    host, below = "", path[1:]
    if host_routing:
        host, _, below = below.partition("/")
    return host.lower().encode(), b"/" + below.encode("utf-8", "surrogateescape")


def read_data(body: bytes) -> dict[str, Any]:
    """The data of a route: an object with a ``target``, which is text, and whatever else there is.

    Raises :class:`MalformedError`.
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"Body not valid JSON: {error}") from None
    if not isinstance(data, dict) or not isinstance(data.get("target"), str):
        raise MalformedError("Must specify 'target' as string")
    return data


def read_target(target: str) -> Application:
    """The server that a target names, and the path below it that all requests go to.

    ``http://`` and ``https://`` with a host or an address; ``http+unix://`` or ``unix+http://``
    with the escaped path of a socket in the place of the host. Raises :class:`MalformedError`.
    """
    try:
        url = urlsplit(target)
        host, port = url.hostname or "", url.port
    except ValueError as error:
        raise MalformedError(f"'target' is no URL: {error}") from None
    below = url.path.rstrip("/")
    if not below.isascii() or any(ord(each) < 0x21 or each in '"<>\\^`{|}' for each in below):
        raise MalformedError("the path of 'target' has to be percent-encoded")
    if url.scheme in _SOCKET_SCHEMES:
        path = unquote(url.netloc)
        # Not so is a lone surrogate either, as JSON may spell one, which no file's name holds.
        is_text = path.isprintable()
        if not path.startswith("/") or not is_text or len(path.encode()) > LONGEST_SOCKET_PATH:
            raise MalformedError("'target' names no socket: its whole path, with %2F for /")
        return Application((Server(f"unix:{path}", UNIXPath(path)),), below=below.encode())
    if url.scheme not in ("http", "https"):
        raise MalformedError("'target' is no address such as http://127.0.0.1:8888")
    if not host or port == 0 or "@" in url.netloc:
        raise MalformedError("'target' names no host")
    secure = url.scheme == "https"
    address = _address(host, port or (443 if secure else 80))
    server = Server(f"{url.scheme}://{address}", address, host if secure else "")
    return Application((server,), below=below.encode())


def _address(host: str, port: int) -> Address:
    literal = parse_address(host)
    if literal is not None:
        return TCPAddress(str(literal), port)
    if not is_host_name(host):
        raise MalformedError("'target' names no host")
    return NamedAddress(host, port)


def read_inactive_since(query: str) -> float | None:
    """The date that routes have to be idle since, in seconds since the epoch; None: any will do.

    Raises :class:`MalformedError`.
    """
    said = parse_qs(query)
    values = said.get("inactiveSince") or said.get("inactive_since")
    if not values:
        return None
    try:
        return datetime.fromisoformat(values[0]).timestamp()
    except (ValueError, OverflowError):
        raise MalformedError("Invalid datestamp: it must be ISO 8601") from None
