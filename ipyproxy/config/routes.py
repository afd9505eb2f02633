"""The tables ``[[routes]]``: what is served at which host and path.

Each kind of destination has its own key, and further keys that belong to that kind. Knows nothing
of TOML or of how a route is served.
"""

# No "from __future__ import annotations" here: cattrs reads the annotations at run time.

import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import attrs

from ipyproxy.config.auth import read_field
from ipyproxy.config.values import (
    SHAPES,
    RefusedError,
    count,
    matching,
    read_network,
    read_optional_host,
    read_optional_path,
    refused,
    seconds,
)
from ipyproxy.http1.lines import TOKEN
from ipyproxy.net.address import LOOPBACK, NamedAddress, TCPAddress, UNIXPath
from ipyproxy.net.hosts import is_host_name, parse_address
from ipyproxy.routes.route import Application, Redirect, Route, Server, StaticFiles

OWN_PATH = "/_ipyproxy"
"""The path above the proxy's own pages, at every host."""

_UNIX_PATH = re.compile(r"/[^\0]{0,106}")  # unix(7): sun_path has 108 bytes
_FIELD_NAME = re.compile(TOKEN.decode("ascii"))
_FIELD_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?")
# Only the proxy may set fields that frame a message or concern the connection.
_NOT_TO_SET = frozenset(
    [
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
_REDIRECT = re.compile(r"https?://[0-9A-Za-z.:\[\]_-]+(/[!$-.0-;=@-Z_a-z~/]*)?")
_REDIRECTS = (301, 302, 303, 307, 308)


def _read_server(value: object) -> Server:
    """Read the address of an application: ``http://``, ``https://`` or ``unix:``."""
    if not isinstance(value, str):
        raise refused(value, "is no address such as http://127.0.0.1:8080 or unix:/run/app.sock")
    if value.startswith("unix:"):
        if not _UNIX_PATH.fullmatch(value[5:]):
            raise refused(value, "is not unix: and the whole path of a socket, up to 107 bytes")
        return Server(value, UNIXPath(value[5:]))
    try:
        url = urlsplit(value)
        host, port = url.hostname or "", url.port
    except ValueError:
        host, port, url = "", None, urlsplit("")
    if url.scheme not in ("http", "https") or not host or port == 0 or "@" in url.netloc:
        raise refused(value, "is no address such as http://127.0.0.1:8080 or unix:/run/app.sock")
    if url.path not in ("", "/") or url.query or url.fragment:
        raise refused(value, "has a path; a request's path goes on as it is, or without the prefix")
    secure = url.scheme == "https"
    port = port or (443 if secure else 80)
    literal = parse_address(LOOPBACK if host == "localhost" else host)
    # A name that ends in digits is a mistyped address.
    if literal is None and (host[-1:].isdigit() or not is_host_name(host)):
        raise refused(value, f"{host} is neither an IP address nor a name of a host")
    address = NamedAddress(host, port) if literal is None else TCPAddress(str(literal), port)
    return Server(value.rstrip("/"), address, host if secure else "")


def read_servers(value: object) -> tuple[Server, ...]:
    """Read the address of an application, or a list of addresses."""
    if value == "":
        return ()
    servers = tuple(_read_server(each) for each in (value if isinstance(value, list) else [value]))
    if not servers or len({server.address for server in servers}) < len(servers):
        raise refused(value, "lists no address, or one twice")
    return servers


def _read_redirect(value: object) -> str:
    if value == "":
        return ""
    if isinstance(value, str) and _REDIRECT.fullmatch(value):
        return value.rstrip("/")
    raise refused(value, "is no address such as https://example.org, to which the path is added")


def _read_directory(value: object) -> Path:
    """Read a directory to send files from; the root directory is refused."""
    path = read_optional_path(value)
    if path is None or not path.is_absolute() or len(path.parts) < 2 or ".." in path.parts:
        raise refused(value, "is no absolute path of a directory, or is all there is")
    return path


def _read_status(value: object) -> int:
    if type(value) is int and value in _REDIRECTS:
        return value
    raise refused(value, f"is none of {', '.join(map(str, _REDIRECTS))}")


def _read_lines(value: object) -> tuple[str, ...]:
    """Read a table of header fields."""
    if not isinstance(value, dict):
        raise refused(value, 'is not a table such as { X-Frame-Options = "DENY" }')
    for name, text in value.items():
        if not _FIELD_NAME.fullmatch(name) or name.lower() in _NOT_TO_SET:
            raise refused(name, "is not a header field that can be set here")
        if not isinstance(text, str) or not _FIELD_VALUE.fullmatch(text):
            raise refused(text, f"is not a value for {name}: printable ASCII on one line")
    return tuple(f"{name}: {text}" for name, text in value.items())


def _read_sent(value: object) -> tuple[str, ...]:
    """Read a table of header fields for the application."""
    for name in value if isinstance(value, dict) else ():
        read_field(name)
    return _read_lines(value)


def _read_tls_name(value: object) -> str:
    host = read_optional_host(value)
    if host.startswith("*"):
        raise refused(value, "names no single host")
    return host


_timeout = seconds(0.1, 86400)


def _read_timeout(value: object) -> float:
    return 0.0 if value == 0 and type(value) in (int, float) else _timeout(value)


SHAPES[read_servers] = {"type": ["string", "array"]}
SHAPES[_read_lines] = {"type": "object", "additionalProperties": {"type": "string"}}
SHAPES[_read_sent] = SHAPES[_read_lines]
SHAPES[_read_status] = {"enum": list(_REDIRECTS)}
SHAPES[_read_timeout] = {"type": "number", "minimum": 0, "maximum": 86400}

_KINDS = {
    "to": ("strip", "timeout", "connections", "send", "tls_name", "tls_ca", "sendfile"),
    "files": ("max_age", "immutable"),
    "redirect": ("status",),
}
"""The keys for destinations, each with the keys that are allowed only with it."""


@attrs.frozen
class RouteEntry:
    """One route: requests for ``path`` and everything below it, at ``host`` or at any.

    ``timeout`` and ``max_age`` are in seconds; with 0, timeouts.response is used for the one, and
    browsers choose the other. ``connections`` is the most exchanges and WebSockets at once for each
    server.
    """

    host: Annotated[str, read_optional_host] = ""
    path: Annotated[
        str,
        matching(
            r"/|(/(?!\.\.?(/|$))[A-Za-z0-9._~@!$&'()*+,=:-]+)+",
            "a path such as / or /galaxy: a slash first, none last",
        ),
    ] = "/"
    to: Annotated[tuple[Server, ...], read_servers] = ()
    strip: bool = False
    timeout: Annotated[float, _read_timeout] = 0.0
    connections: Annotated[int, count(1, 1_000_000)] = 1024
    send: Annotated[tuple[str, ...], _read_sent] = ()
    tls_name: Annotated[str, _read_tls_name] = ""
    tls_ca: Annotated[Path | None, read_optional_path] = None
    sendfile: tuple[Annotated[Path, _read_directory], ...] = ()
    files: Annotated[Path | None, read_optional_path] = None
    max_age: Annotated[int, count(1, 10**9, "browsers choose")] = 0
    immutable: tuple[str, ...] = ()
    redirect: Annotated[str, _read_redirect] = ""
    status: Annotated[int, _read_status] = 308
    allow: tuple[Annotated[IPv4Network | IPv6Network, read_network], ...] = ()
    headers: Annotated[tuple[str, ...], _read_lines] = ()

    def __attrs_post_init__(self) -> None:
        """Refuse a route without a destination, with two, or with keys that have no effect."""
        kinds = [kind for kind in _KINDS if getattr(self, kind)]
        if len(kinds) != 1:
            raise RefusedError(f"needs one of {', '.join(_KINDS)}, and no more than one")
        for kind, keys in _KINDS.items():
            for key in keys:
                default = attrs.fields_dict(RouteEntry)[key].default
                if kind != kinds[0] and getattr(self, key) != default:
                    raise RefusedError(f"means nothing without {kind}", key=key)
        if self.path == OWN_PATH or self.path.startswith(OWN_PATH + "/"):
            raise RefusedError(f"{OWN_PATH} is the proxy's own", key="path")
        if (self.tls_name or self.tls_ca) and not any(server.tls_name for server in self.to):
            raise RefusedError("needs an https:// address in to", key="tls_name")
        if self.redirect and self._leads_to_itself():
            raise RefusedError("leads to this very route, again and again", key="redirect")

    def _leads_to_itself(self) -> bool:
        url = urlsplit(self.redirect)
        return url.scheme == "https" and url.hostname == self.host and not url.path

    @property
    def name(self) -> str:
        """Host and path for people."""
        return self.host + self.path

    @property
    def servers(self) -> tuple[Server, ...]:
        """The servers of the application, each with the name that its certificate must contain."""
        if not self.tls_name:
            return self.to
        return tuple(
            server._replace(tls_name=self.tls_name) if server.tls_name else server
            for server in self.to
        )

    @property
    def _destination(self) -> Application | StaticFiles | Redirect:
        if self.to:
            return Application(self.servers, self.sendfile)
        if self.files is not None:
            return StaticFiles(self.files, self.max_age or None, self.immutable)
        return Redirect(self.redirect, self.status)

    @property
    def route(self) -> Route:
        """The route for the other components."""
        return Route(
            self._destination,
            self.host,
            self.path,
            strip=self.strip,
            timeout=self.timeout or None,
            allow=self.allow,
            lines=tuple(line.encode("ascii") for line in self.headers),
            sent=tuple(line.encode("ascii") for line in self.send),
        )
