"""Requests that must reach no notebook, by whatever way they come: ports, hosts, origins.

The same table is asked of the proxy in memory, of the live one, and of one that is broken on
purpose, each over HTTP and as a WebSocket.
"""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """A request: in its strings ``{port}`` is a served port, ``{host}`` the proxy's authority."""

    what: str
    target: str = "/ipython/{port}/api"
    lines: tuple[str, ...] = ("Host: {host}",)
    method: str = "GET"
    status: int = 403


_HOST = "Host: {host}"


def _port(spelled: str, status: int = 404) -> Case:
    return Case(f"port {spelled}", f"/ipython/{spelled}/api", status=status)


def _origin(*origins: str, **more: str) -> Case:
    return Case(f"origin {origins}", lines=(_HOST, *[f"Origin: {origin}" for origin in origins]))


def _host(*hosts: str, status: int) -> Case:
    return Case(f"host {hosts}", lines=tuple(f"Host: {host}" for host in hosts), status=status)


PORTS = [
    _port("22"), _port("80"), _port("2375"), _port("2376"), _port("5432"), _port("6379"),
    _port("10250"), _port("11211"), _port("{own}"), _port("{unserved}"),
    _port("0{port}"), _port("+{port}"), _port("-{port}"), _port("{port}.0"), _port("{port};x"),
    _port("{port}%00", 400), _port("%20{port}"), _port("{port}%20"), _port("{port}%0a"),
    _port("%3{port}"), _port("99999"), _port("0"), _port("65536"), _port("１００００"),
    _port("١٠٠٠٠"), _port("{port}_"), _port("0x2710"), _port("127.0.0.1:{port}"),
    _port("localhost"), _port(""),
    Case("climbing out", "/ipython/{port}/../{unserved}/", status=400),
    Case("climbing out, encoded", "/ipython/{port}/%2e%2e/{unserved}/", status=400),
    Case("climbing out, half encoded", "/ipython/{port}/.%2E/{unserved}/", status=400),
    Case("climbing out by a parameter", "/ipython/{port}/..;/{unserved}/", status=400),
    Case("climbing out by backslashes", "/ipython/{port}/..\\{unserved}\\", status=400),
    Case("two slashes", "//ipython/{port}/", status=400),
    Case("an encoded prefix", "/%69python/{port}/", status=404),
    Case("the prefix in capitals", "/IPYTHON/{port}/", status=404),
    Case("another host's URL", "http://evil.example/ipython/{port}/", status=421),
    Case("an authority", "127.0.0.1:{port}", status=400),
]  # fmt: skip

HOSTS = [
    _host(status=400),
    _host("{host}", "{host}", status=400),
    _host("{host}", "evil.example", status=400),
    _host("evil.example", status=421),
    _host("{name}.evil.example", status=421),
    _host("evil.{name}", status=421),
    _host("{name}.", status=421),
    _host("{name}@evil.example", status=400),
    _host("evil.example/{name}?", status=400),
    _host("127.0.0.2", status=421),
    _host("2130706433", status=421),
    _host("{name}:99999", status=400),
]

ORIGINS = [
    _origin("https://evil.example"), _origin("null"), _origin(""), _origin("https://{name}.evil"),
    _origin("https://evil.{host}"), _origin("http://{host}"), _origin("https://{name}:1"),
    _origin("https://{host}."), _origin("https://{name}."), _origin("https://{host}/"),
    _origin("https://x@{host}"), _origin("{host}"), _origin("*"), _origin("file://"),
    _origin("http://127.0.0.1:{port}"), _origin("https://{host}", "https://evil.example"),
    _origin("https://{host}", "https://{host}"), _origin("https://{host}, https://evil.example"),
    Case("cross-site", lines=(_HOST, "Sec-Fetch-Site: cross-site"), method="POST"),
    Case("same-site", lines=(_HOST, "Sec-Fetch-Site: same-site"), method="DELETE"),
    Case("a null origin that is cross-site",
         lines=(_HOST, "Origin: null", "Sec-Fetch-Site: cross-site"), method="POST"),
    Case("an origin that Connection names",
         lines=(_HOST, "Connection: Origin", "Origin: https://evil.example")),
]  # fmt: skip

ALL = [*PORTS, *HOSTS, *ORIGINS]
HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def spelled(case: Case, *, websocket: bool, **names: object) -> bytes:
    """The head of ``case``; a WebSocket's is a GET with a handshake."""
    method = "GET" if websocket else case.method
    lines = [line.format(**names) for line in case.lines]
    lines += HANDSHAKE if websocket else ()
    start = f"{method} {case.target.format(**names)} HTTP/1.1"
    return "\r\n".join([start, *lines, "", ""]).encode()
