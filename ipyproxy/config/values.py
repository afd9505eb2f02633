"""Checks and converts single values from TOML or the command line.

Knows ports, hosts, origins, numbers and how to word a refusal. Knows nothing of keys or tables.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Self

import attrs


class RefusedError(ValueError):
    """A value is refused; the message says why, and ``key`` names the wrong key of a table."""

    def __init__(self, why: str, key: str = "") -> None:
        super().__init__(why)
        self.key = key


def refused(value: object, why: str) -> RefusedError:
    """Make the error: the value in TOML's spelling, then the reason."""
    shown = json.dumps(value, ensure_ascii=False, default=str)
    return RefusedError(f"{shown if len(shown) <= 80 else shown[:77] + '...'} {why}")


SHAPES: dict[Callable[..., Any], dict[str, Any]] = {}
"""The JSON Schema of the values that a reader accepts; readers that are not listed accept
strings."""

# Readers: each takes a value from TOML or the command line and returns the checked value, or raises
# RefusedError. TOML has no "none": if a key may be unset, the empty string stands for that.


def _number(
    kind: type[int | float], noun: str, low: float, high: float, zero: str = ""
) -> Callable[[Any], float]:
    """Read a number in a range; ``zero`` explains what 0 means if it is not in the range."""
    why = f"is not {noun} from {low} to {high}" + (f", nor 0 ({zero})" if zero else "")

    def read(value: Any) -> float:
        # Not isinstance: in Python, True and False are numbers.
        if type(value) in (int, kind) and (low <= value <= high or (zero and value == 0)):
            return kind(value)
        raise refused(value, why)

    within = {
        "type": "integer" if kind is int else "number", "minimum": low, "maximum": high
    }  # fmt: skip
    SHAPES[read] = {"anyOf": [{"const": 0}, within]} if zero else within
    return read


count = partial(_number, int, "a whole number")
size = partial(_number, int, "a whole number of bytes")
seconds = partial(_number, float, "a number of seconds")
rate = partial(_number, float, "a number a second", zero="as many as come")


def matching(pattern: str, noun: str) -> Callable[[object], str]:
    """Read a string that matches all of ``pattern``."""
    match = re.compile(pattern, re.ASCII).fullmatch

    def read(value: object) -> str:
        if isinstance(value, str) and match(value):
            return value
        raise refused(value, f"is not {noun}")

    SHAPES[read] = {"type": "string", "pattern": f"^(?:{pattern})$"}
    return read


# The allowed kinds of endpoint: the proxy itself does TLS ("ssl:") and the PROXY protocol
# ("haproxy:"). In a value, a backslash escapes the next character.
_TEXT = r"([^:=\\]|\\.)+"
_PORT = r"0|[1-9][0-9]{0,4}"
_LISTENER = re.compile(
    rf"(?P<port>{_PORT})"
    rf"|tcp6?:(port=)?(?P<tcp>{_PORT})(:(interface={_TEXT}|backlog=[0-9]{{1,5}}))*"
    rf"|unix:(address=)?{_TEXT}(:(mode=[0-7]{{3,4}}|backlog=[0-9]{{1,5}}|lockfile=[01]))*"
    rf"|systemd:domain=(INET6?|UNIX):(index=[0-9]{{1,3}}|name={_TEXT})"
)


def read_listener(value: object) -> int | str:
    """Read a port or an endpoint string."""
    if type(value) is int and 0 <= value <= 65535:
        return value
    match = _LISTENER.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match["port"] or match["tcp"] or 0) > 65535:
        raise refused(
            value,
            "is neither a port from 0 to 65535 nor an endpoint such as "
            '"tcp:443:interface=192.0.2.7" or "systemd:domain=INET:index=0"',
        )
    return int(match[0]) if match["port"] else match[0]


def read_optional_listener(value: object) -> int | str | None:
    """Read a listener, or the empty string for none."""
    return None if value == "" else read_listener(value)


def read_status_listener(value: object) -> int | str | None:
    """Read a listener, "unix" for the usual socket, or the empty string for none."""
    return "unix" if value == "unix" else read_optional_listener(value)


def read_optional_path(value: object) -> Path | None:
    """Read a path, or the empty string for none."""
    if not isinstance(value, str) or "\0" in value:
        raise refused(value, "is not the path of a file or directory")
    return Path(value) if value else None


def read_network(value: object) -> IPv4Network | IPv6Network:
    """Read a network in CIDR form."""
    try:
        # ip_network takes bare integers as addresses too.
        return ip_network(value if isinstance(value, str) else "")
    except ValueError:
        raise refused(value, "is not a network such as 10.0.0.0/8 or ::1") from None


def read_proxy(value: object) -> IPv4Network | IPv6Network | Literal["unix"]:
    """Read a network, or "unix" for clients that connect by a UNIX socket."""
    if value == "unix":
        return "unix"
    try:
        return read_network(value)
    except RefusedError:
        raise refused(value, 'is neither a network such as 10.0.0.0/8 or ::1 nor "unix"') from None


_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"({_LABEL}\.)*(?!\d+$){_LABEL}", re.ASCII)
_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(\[(?P<ip6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_.-]+))"
    r"(:(?P<port>[1-9][0-9]{0,4}))?"
)


def _canonical_host(text: str) -> str | None:
    """The canonical spelling of a DNS name or IP address, IPv6 without brackets; else None."""
    name = text.lower() if text.isascii() else ""  # the Kelvin sign's lower case is a plain k
    if len(name) <= 253 and _NAME.fullmatch(name):
        return name
    try:
        return None if "%" in name else str(ip_address(name))
    except ValueError:
        return None


def read_host(value: object) -> str:
    """Read a host name or address; the first label may be a star."""
    if isinstance(value, str):
        star = "*." if value.startswith("*.") else ""
        host = _canonical_host(value.removeprefix(star))
        # A star stands for a DNS label, so no address may follow it.
        if host is not None and (not star or _NAME.fullmatch(host)):
            return star + host
    raise refused(
        value, "is not a host such as hub.example.org, *.example.org or 192.0.2.7, without a port"
    )


def read_optional_host(value: object) -> str:
    """Read a host, or the empty string for any."""
    return "" if value == "" else read_host(value)


def read_domain(value: object) -> str:
    """Read the DNS name of a domain, or the empty string for none."""
    if value == "":
        return ""
    # There must be room for a port and a dot before it.
    domain = _canonical_host(value) if isinstance(value, str) and len(value) <= 247 else None
    if domain is None or not _NAME.fullmatch(domain):
        raise refused(value, "is not a domain such as notebooks.example.org")
    return domain


def read_origin(value: object) -> str:
    """Read an origin and spell it as browsers do."""
    match = _ORIGIN.fullmatch(value.lower()) if isinstance(value, str) and value.isascii() else None
    host = _canonical_host(match["ip6"] or match["name"]) if match else None
    if match is None or host is None or int(match["port"] or 1) > 65535:
        raise refused(
            value,
            "is not an origin such as https://galaxy.example.org or http://localhost:8080, "
            "without a path",
        )
    origin = f"{match['scheme']}://" + (f"[{host}]" if ":" in host else host)
    default = {"http": "80", "https": "443"}[match["scheme"]]
    return f"{origin}:{match['port']}" if match["port"] not in (None, default) else origin


SERVICE_PORTS = (
    1433,  # Microsoft SQL Server
    1521,  # Oracle
    2049,  # NFS
    2375, 2376,  # Docker: root on the host
    2379, 2380,  # etcd
    3128,  # Squid: a way to everywhere
    3306,  # MySQL
    3389,  # RDP
    5432,  # PostgreSQL
    5672,  # AMQP
    5900,  # VNC
    5984,  # CouchDB
    6379,  # Redis
    6443,  # Kubernetes
    9042,  # Cassandra
    9092,  # Kafka
    9200, 9300,  # Elasticsearch
    10250,  # Kubernetes' kubelet: root on the host
    11211,  # memcached
    27017,  # MongoDB
)  # fmt: skip
"""Ports of well-known services: like ports below 1024, no range covers them."""


def _is_single(port: int) -> bool:
    """Whether ``port`` must be listed by itself."""
    return port < 1024 or port in SERVICE_PORTS


def _between_services(low: int, high: int) -> Iterator[tuple[int, int]]:
    """The ports that a range covers: all except those of well-known services."""
    if low == high:
        yield low, high
        return
    for service in SERVICE_PORTS:
        if low <= service <= high:
            if low < service:
                yield low, service - 1
            low = service + 1
    if low <= high:
        yield low, high


def _merged(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Sort and join ranges; ports that must be listed by themselves stay single."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted({piece for pair in ranges for piece in _between_services(*pair)}):
        joins = merged and low <= merged[-1][1] + 1
        if joins and not _is_single(low) and not _is_single(merged[-1][0]):
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


@attrs.frozen
class Ports:
    """A set of TCP ports; ``ranges`` has (first, last) pairs, sorted and disjoint.

    A range covers no port of :data:`SERVICE_PORTS`: list one by itself to serve it.
    """

    ranges: tuple[tuple[int, int], ...] = attrs.field(converter=_merged)

    @classmethod
    def read(cls, value: object) -> Self:
        """Read "10000-14999,8888", a number, or a list of both; raise :class:`RefusedError`."""
        items = value if isinstance(value, list) else [value]
        texts = [item if type(item) in (int, str) else "" for item in items]
        ranges = []
        for text in ",".join(map(str, texts)).split(","):
            match = re.fullmatch(r"\s*([1-9][0-9]{0,4})(?:-([1-9][0-9]{0,4}))?\s*", text, re.ASCII)
            if match is None or max(int(port) for port in match.groups("0")) > 65535:
                raise refused(value, "is not a list of ports such as 10000-14999,8888")
            low, high = int(match[1]), int(match[2] or match[1])
            if low > high:
                raise refused(text.strip(), "ends before it begins")
            if low < 1024 and match[2]:
                raise refused(text.strip(), "reaches below 1024: name such ports one by one")
            if not any(_between_services(low, high)):
                raise refused(text.strip(), "covers ports of well-known services only: name them")
            ranges.append((low, high))
        return cls(ranges)

    def __contains__(self, port: object) -> bool:
        """Whether ``port`` is in the set."""
        if not isinstance(port, int):
            return False
        at = bisect_right(self.ranges, (port, 65535)) - 1
        return at >= 0 and port <= self.ranges[at][1]

    def __iter__(self) -> Iterator[int]:
        """Every port, in order."""
        return chain.from_iterable(range(low, high + 1) for low, high in self.ranges)

    def __str__(self) -> str:
        """The form that :meth:`read` takes."""
        return ",".join(f"{a}-{b}" if b > a else str(a) for a, b in self.ranges)


NO_PORTS = Ports(())
"""None."""


def read_optional_ports(value: object) -> Ports:
    """Read a list of ports, or that there are none."""
    return Ports(()) if value in ("", []) else Ports.read(value)


for _read in (read_listener, read_optional_listener, read_status_listener):
    SHAPES[_read] = {"type": ["integer", "string"]}
for _read_ports in (Ports.read, read_optional_ports):
    SHAPES[_read_ports] = {"type": ["string", "integer", "array"]}


def is_within(path: str, above: str) -> bool:
    """Whether ``path`` is ``above`` or below it; neither ends with a slash, except ``/``."""
    return above == "/" or f"{path}/".startswith(f"{above}/")
