"""Parses calls of the API: paths, bodies, targets and dates.

Pure: knows text and JSON. Knows nothing of requests, of existing routes, or of the time.
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
"""Most bytes of a UNIX socket's path (unix(7): sun_path has 108)."""
_SOCKET_SCHEMES = ("http+unix", "unix+http")


class MalformedError(ValueError):
    """A call is malformed; the message says why."""


def route_path(path: bytes) -> str | None:
    """The decoded path of the route that an API request names; None: it names none.

    It begins with one slash and, except for ``/`` itself, ends without one. A path that is not
    UTF-8 raises :class:`MalformedError`.
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
    """``path`` with one slash at its beginning and, except for ``/`` itself, none at its end."""
    return "/" + path.strip("/")


def place_of(path: str, *, host_routing: bool) -> tuple[bytes, bytes]:
    """The host and the path of a route's requests; the first segment may be the host.

    Two different clean paths give different places, unless only the case of the host differs.

    :param path: clean, see :func:`clean_path`; ``/`` is for every host.
    """
    host, below = "", path[1:]
    if host_routing:
        host, _, below = below.partition("/")
    return host.lower().encode(), b"/" + below.encode("utf-8", "surrogateescape")


def read_data(body: bytes) -> dict[str, Any]:
    """Parse the data of a route: an object with a string ``target``, and any other members.

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
    """Parse a target: the server, and the path that is put before those of requests.

    ``http://`` or ``https://`` with a host or an address; or ``http+unix://`` or ``unix+http://``
    with the escaped path of a socket in place of the host. Raises :class:`MalformedError`.
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
        # A lone surrogate, which JSON can spell, is refused too: no file name contains one.
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
    """The date since which routes must be idle, in seconds since the epoch; None: no such limit.

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
