"""TOML text and command line values -> a frozen :class:`Config`, or every problem with its line.

Knows keys, defaults, allowed values and how to word a refusal. Must not know files, the
environment or the reactor: it is handed text and gives back values.
"""

# No "from __future__ import annotations" here: cattrs reads the annotations at run time. They are
# the rules by which a value is taken or refused.

import json
import re
import tomllib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin

import attrs
from cattrs import BaseValidationError, Converter, ForbiddenExtraKeysError
from cattrs.cols import homogenous_tuple_structure_factory
from cattrs.gen import make_dict_structure_fn

FLAGS: Mapping[str, str] = {
    "listen.https": "--https",
    "listen.http": "--http",
    "tls.certificate": "--certificate",
    "tls.key": "--key",
    "notebooks.ports": "--ports",
    "site.trusted_origins": "--trusted-origin",
}
"""The keys that the command line sets too, and the option that does so."""


class ConfigError(Exception):
    """The configuration is refused; ``problems`` holds one line for each thing to mend."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class RefusedError(ValueError):
    """Why a value is refused; ``key`` names the one at fault among the keys of a table."""

    def __init__(self, why: str, key: str = "") -> None:
        super().__init__(why)
        self.key = key


def _refused(value: object, why: str) -> RefusedError:
    shown = json.dumps(value, ensure_ascii=False, default=str)
    return RefusedError(f"{shown if len(shown) <= 80 else shown[:77] + '...'} {why}")


# Readers: each takes what TOML or the command line holds and gives the checked value, or raises
# RefusedError. A TOML file cannot say "none": where a key may be unset, the empty string says so.


def _number(
    kind: type[int] | type[float], noun: str, low: float, high: float, zero: str = ""
) -> Callable[[Any], float]:
    """Read a number in a range; ``zero`` tells what 0 means where the range leaves it out."""
    why = f"is not {noun} from {low} to {high}" + (f", nor 0 ({zero})" if zero else "")

    def read(value: Any) -> float:
        # Not isinstance: to Python true and false are numbers.
        if type(value) in (int, kind) and (low <= value <= high or (zero and value == 0)):
            return kind(value)
        raise _refused(value, why)

    return read


_count = partial(_number, int, "a whole number")
_size = partial(_number, int, "a whole number of bytes")
_seconds = partial(_number, float, "a number of seconds")


def _matching(pattern: str, noun: str) -> Callable[[object], str]:
    """Read a string that matches ``pattern`` from end to end."""
    match = re.compile(pattern, re.ASCII).fullmatch

    def read(value: object) -> str:
        if isinstance(value, str) and match(value):
            return value
        raise _refused(value, f"is not {noun}")

    return read


# The kinds of endpoint that make sense here: TLS ("ssl:") and the PROXY protocol ("haproxy:") are
# ours to do. In a value, a backslash takes the meaning from the character behind it.
_TEXT = r"([^:=\\]|\\.)+"
_PORT = r"0|[1-9][0-9]{0,4}"
_LISTENER = re.compile(
    rf"(?P<port>{_PORT})"
    rf"|tcp6?:(port=)?(?P<tcp>{_PORT})(:(interface={_TEXT}|backlog=[0-9]{{1,5}}))*"
    rf"|unix:(address=)?{_TEXT}(:(mode=[0-7]{{3,4}}|backlog=[0-9]{{1,5}}|lockfile=[01]))*"
    rf"|systemd:domain=(INET6?|UNIX):(index=[0-9]{{1,3}}|name={_TEXT})"
)


def _read_listener(value: object) -> int | str:
    if type(value) is int and 0 <= value <= 65535:
        return value
    match = _LISTENER.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match["port"] or match["tcp"] or 0) > 65535:
        raise _refused(
            value,
            "is neither a port from 0 to 65535 nor an endpoint such as "
            '"tcp:443:interface=192.0.2.7" or "systemd:domain=INET:index=0"',
        )
    return int(match[0]) if match["port"] else match[0]


def _read_optional_listener(value: object) -> int | str | None:
    return None if value == "" else _read_listener(value)


def _read_optional_path(value: object) -> Path | None:
    if not isinstance(value, str) or "\0" in value:
        raise _refused(value, "is not the path of a file or directory")
    return Path(value) if value else None


def _read_network(value: object) -> IPv4Network | IPv6Network:
    try:
        # ip_network takes bare integers as addresses too.
        return ip_network(value if isinstance(value, str) else "")
    except ValueError:
        raise _refused(value, "is not a network such as 10.0.0.0/8 or ::1") from None


_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"({_LABEL}\.)*(?!\d+$){_LABEL}", re.ASCII)
_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(\[(?P<ip6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_.-]+))"
    r"(:(?P<port>[1-9][0-9]{0,4}))?"
)


def _canonical_host(text: str) -> str | None:
    """Give a DNS name or IP address in its one spelling, IPv6 without brackets; else None."""
    name = text.lower() if text.isascii() else ""  # the Kelvin sign's lower case is a plain k
    if len(name) <= 253 and _NAME.fullmatch(name):
        return name
    try:
        return None if "%" in name else str(ip_address(name))
    except ValueError:
        return None


def _read_host(value: object) -> str:
    if isinstance(value, str):
        star = "*." if value.startswith("*.") else ""
        host = _canonical_host(value.removeprefix(star))
        # A star stands for DNS labels: no address follows it.
        if host is not None and (not star or _NAME.fullmatch(host)):
            return star + host
    raise _refused(
        value, "is not a host such as hub.example.org, *.example.org or 192.0.2.7, without a port"
    )


def _read_origin(value: object) -> str:
    match = _ORIGIN.fullmatch(value.lower()) if isinstance(value, str) and value.isascii() else None
    host = _canonical_host(match["ip6"] or match["name"]) if match else None
    if match is None or host is None or int(match["port"] or 1) > 65535:
        raise _refused(
            value,
            "is not an origin such as https://galaxy.example.org or http://localhost:8080, "
            "without a path",
        )
    origin = f"{match['scheme']}://" + (f"[{host}]" if ":" in host else host)
    default = {"http": "80", "https": "443"}[match["scheme"]]
    return f"{origin}:{match['port']}" if match["port"] not in (None, default) else origin


def _merged(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Sort and join ranges; ports below 1024 stay single, so that each is seen to be named."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(set(ranges)):
        if merged and merged[-1][0] >= 1024 and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


@attrs.frozen
class Ports:
    """A set of TCP ports; ``ranges`` holds (first, last) pairs, sorted and apart."""

    ranges: tuple[tuple[int, int], ...] = attrs.field(converter=_merged)

    @classmethod
    def read(cls, value: object) -> Self:
        """Take "10000-14999,8888", a number, or a list of both; raise :class:`RefusedError`."""
        items = value if isinstance(value, list) else [value]
        texts = [item if type(item) in (int, str) else "" for item in items]
        ranges = []
        for text in ",".join(map(str, texts)).split(","):
            match = re.fullmatch(r"\s*([1-9][0-9]{0,4})(?:-([1-9][0-9]{0,4}))?\s*", text, re.ASCII)
            if match is None or max(int(port) for port in match.groups("0")) > 65535:
                raise _refused(value, "is not a list of ports such as 10000-14999,8888")
            low, high = int(match[1]), int(match[2] or match[1])
            if low > high:
                raise _refused(text.strip(), "ends before it begins")
            if low < 1024 and match[2]:
                raise _refused(text.strip(), "reaches below 1024: name such ports one by one")
            ranges.append((low, high))
        return cls(ranges)

    def __contains__(self, port: object) -> bool:
        """Whether ``port`` is one of the ports."""
        if not isinstance(port, int):
            return False
        at = bisect_right(self.ranges, (port, 65535)) - 1
        return at >= 0 and port <= self.ranges[at][1]

    def __str__(self) -> str:
        """The form that :meth:`read` takes."""
        return ",".join(f"{a}-{b}" if b > a else str(a) for a, b in self.ranges)


Host = Annotated[str, _read_host]
Origin = Annotated[str, _read_origin]
Network = Annotated[IPv4Network | IPv6Network, _read_network]
OptionalPath = Annotated[Path | None, _read_optional_path]
CookieName = Annotated[
    str, _matching(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", "a cookie name such as galaxysession")
]


@attrs.frozen
class Listen:
    """Where browsers connect. A listener is a port or a Twisted server endpoint string."""

    https: Annotated[int | str, _read_listener] = 8443
    http: Annotated[int | str | None, _read_optional_listener] = None
    trusted_proxies: tuple[Network, ...] = ()
    proxy_protocol: bool = False
    backlog: Annotated[int, _count(1, 65535)] = 1024

    def __attrs_post_init__(self) -> None:
        """Refuse one listener for both."""
        if self.http == self.https and self.http != 0:
            raise RefusedError(f"{self.http} is taken by listen.https", key="http")


@attrs.frozen
class Tls:
    """Certificate chain and key, PEM files; without them a certificate is made up."""

    certificate: OptionalPath = None
    key: OptionalPath = None

    def __attrs_post_init__(self) -> None:
        """Refuse one without the other."""
        if self.certificate and not self.key:
            raise RefusedError("needs tls.key beside it", key="certificate")
        if self.key and not self.certificate:
            raise RefusedError("needs tls.certificate beside it", key="key")


@attrs.frozen
class Site:
    """The names the proxy answers to, and the foreign pages that may send requests.

    Hosts are lower case, IPv6 addresses bare; origins are spelled as browsers spell them.
    """

    hosts: tuple[Host, ...] = ()
    trusted_origins: tuple[Origin, ...] = ()


@attrs.frozen
class Notebooks:
    """The public prefix, the ports behind it, and the cookies that are none of their business."""

    prefix: Annotated[
        str,
        _matching(
            r"(/(?!\.\.?(/|$))[A-Za-z0-9._~-]+)+",
            "a path such as /ipython: a slash first, none last, of letters, digits and -._~",
        ),
    ] = "/ipython"
    ports: Annotated[Ports, Ports.read] = Ports([(10000, 14999)])
    site_cookies: tuple[CookieName, ...] = ("galaxysession",)


@attrs.frozen
class Limits:
    """Counts, sizes in bytes, and one rate in bytes a second."""

    connections: Annotated[int, _count(1, 1_000_000)] = 4096
    connections_per_client: Annotated[int, _count(1, 1_000_000)] = 256
    connections_per_port: Annotated[int, _count(1, 1_000_000)] = 128
    head_bytes: Annotated[int, _size(1024, 2**20)] = 16384
    head_fields: Annotated[int, _count(10, 10_000)] = 100
    target_bytes: Annotated[int, _size(256, 2**20)] = 8192
    body_bytes: Annotated[int, _size(1, 2**40, "unlimited")] = 0
    response_head_bytes: Annotated[int, _size(1024, 2**24)] = 65536
    buffer_bytes: Annotated[int, _size(4096, 2**24)] = 65536
    body_rate: Annotated[int, _size(1, 2**30, "no floor")] = 512
    message_bytes: Annotated[int, _size(1, 2**40, "unlimited")] = 0


@attrs.frozen
class Timeouts:
    """Deadlines and idle times, in seconds."""

    handshake: Annotated[float, _seconds(0.1, 600)] = 10.0
    head: Annotated[float, _seconds(0.1, 600)] = 10.0
    body: Annotated[float, _seconds(0.1, 3600)] = 60.0
    keepalive: Annotated[float, _seconds(0.1, 3600)] = 75.0
    # Well under a minute: notebook containers that count connections would never stop.
    upstream_idle: Annotated[float, _seconds(0.1, 50)] = 15.0
    connect: Annotated[float, _seconds(0.1, 60)] = 2.0
    response: Annotated[float, _seconds(0.1, 86400, "never")] = 60.0
    drain: Annotated[float, _seconds(0, 3600)] = 30.0
    drain_websocket: Annotated[float, _seconds(0, 86400)] = 600.0


@attrs.frozen
class Health:
    """How ports are probed; intervals in seconds, ``fall`` and ``rise`` in probes."""

    mode: Literal["tcp", "http", "off"] = "tcp"
    path: Annotated[
        str,
        _matching(
            r"(?!/)(?!(.*/)?\.\.?([/?]|$))[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*",
            "a path below a notebook's prefix, such as api",
        ),
    ] = "api"
    interval: Annotated[float, _seconds(0.1, 3600)] = 2.0
    idle_interval: Annotated[float, _seconds(0.1, 3600)] = 10.0
    timeout: Annotated[float, _seconds(0.1, 60)] = 1.0
    fall: Annotated[int, _count(1, 100)] = 3
    rise: Annotated[int, _count(1, 100)] = 1
    backoff_max: Annotated[float, _seconds(0.1, 3600)] = 30.0


@attrs.frozen
class Log:
    """The access log: "-" is standard output, "" none, anything else a file's path."""

    access: Annotated[str, _matching(r"[^\0]*", 'a file\'s path, nor "-", nor ""')] = "-"
    format: Literal["combined", "json"] = "combined"


@attrs.frozen
class State:
    """Where the proxy keeps what outlives it; None leaves that to the system's custom."""

    directory: OptionalPath = None


@attrs.frozen
class Config:
    """The whole configuration, one field for each table of the file."""

    listen: Listen = attrs.field(factory=Listen)
    tls: Tls = attrs.field(factory=Tls)
    site: Site = attrs.field(factory=Site)
    notebooks: Notebooks = attrs.field(factory=Notebooks)
    limits: Limits = attrs.field(factory=Limits)
    timeouts: Timeouts = attrs.field(factory=Timeouts)
    health: Health = attrs.field(factory=Health)
    log: Log = attrs.field(factory=Log)
    state: State = attrs.field(factory=State)


# How cattrs reads the types used above. What is registered last is asked first.
_converter = Converter(detailed_validation=True, forbid_extra_keys=True)


def _is(origin: object) -> Callable[[Any], bool]:
    return lambda kind: get_origin(kind) is origin


@_converter.register_structure_hook
def _read_bool(value: object, _: object) -> bool:
    if isinstance(value, bool):
        return value
    raise _refused(value, "is neither true nor false")


@_converter.register_structure_hook_factory(attrs.has)
def _table_hook(table: type[Any], converter: Converter) -> Callable[[object, object], object]:
    structure = make_dict_structure_fn(table, converter)

    def read(value: object, _: object) -> object:
        if isinstance(value, dict):
            return structure(value, table)
        raise _refused(value, "is not a table")

    return read


@_converter.register_structure_hook_factory(_is(Literal))
def _choice_hook(kind: object) -> Callable[[object, object], object]:
    choices = get_args(kind)

    def read(value: object, _: object) -> object:
        if value in choices:
            return value
        raise _refused(value, "is not one of " + ", ".join(map(json.dumps, choices)))

    return read


@_converter.register_structure_hook_factory(_is(tuple))
def _list_hook(kind: type, converter: Converter) -> Callable[[object, object], object]:
    structure = homogenous_tuple_structure_factory(kind, converter)

    def read(value: object, _: object) -> object:
        # A string is iterable too, but not what is meant.
        if isinstance(value, list):
            return structure(value, kind)
        raise _refused(value, 'is not a list such as ["...", "..."]')

    return read


@_converter.register_structure_hook_factory(_is(Annotated))
def _reader_hook(kind: Any) -> Callable[[object, object], object]:
    reader = kind.__metadata__[0]
    return lambda value, _: reader(value)


def parse(toml_text: str, overrides: Mapping[str, object], source: str) -> Config:
    """Read a configuration file's text; ``overrides`` holds values by dotted key, which win.

    ``source`` is the file's name for people. Raises :class:`ConfigError` with every problem there
    is, each with the line or the command line option it comes from.
    """
    try:
        document = tomllib.loads(toml_text)
    except ValueError as error:
        raise ConfigError([_syntax_problem(str(error), toml_text, source)]) from None
    for dotted, value in overrides.items():
        table, key = dotted.split(".")
        content = document.setdefault(table, {})
        if isinstance(content, dict):
            content[key] = value
    try:
        return _converter.structure(document, Config)
    except BaseValidationError as error:
        lines = _locate(toml_text)
        findings = [
            (0 if ".".join(path) in overrides else lines.get(path, 0), path, why)
            for path, why in _findings(error, ())
        ]
    findings.sort(key=itemgetter(0))
    raise ConfigError(
        _problem(line, ".".join(path), why, source, overrides) for line, path, why in findings
    )


def _problem(line: int, dotted: str, why: str, source: str, overrides: Mapping[str, object]) -> str:
    if dotted in overrides:
        return f"{FLAGS.get(dotted, dotted)}: {why}"
    return f"{source}:{line}: {dotted}: {why}" if line else f"{source}: {dotted}: {why}"


def _syntax_problem(message: str, text: str, source: str) -> str:
    """Bring tomllib's "... (at line 3, column 7)" to the form of all other problems."""
    match = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", message)
    if match is None:
        return f"{source}: {message}"
    if match[2] is None:
        return f"{source}:{text.rstrip().count(chr(10)) + 1}: {match[1]}, at the end of the file"
    return f"{source}:{match[2]}: {match[1]}, at column {match[3]}"


def _findings(
    error: BaseValidationError, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Flatten cattrs' tree of errors to pairs of key path and sentence."""
    for inner in error.exceptions:
        # A field's name comes as a note on the error; a list's index is left out.
        names = [note.name for note in getattr(inner, "__notes__", ()) if hasattr(note, "name")]
        at = path + tuple(names[:1])
        if isinstance(inner, BaseValidationError):
            yield from _findings(inner, at)
        elif isinstance(inner, ForbiddenExtraKeysError):
            for key in sorted(inner.extra_fields):
                yield (*at, key), "unknown key" + _hint(inner.cl, key)
        elif isinstance(inner, RefusedError):
            yield (*at, inner.key) if inner.key else at, str(inner)
        else:
            raise inner  # a mistake of ours, not of the configuration


def _hint(table: type, key: str) -> str:
    """Say which key was meant: one spelled alike, or the same one in its own table."""
    alike = get_close_matches(key, attrs.fields_dict(table), n=1)
    elsewhere = [
        f"{field.name}.{key}"
        for field in attrs.fields(Config)
        if field.type and key in attrs.fields_dict(field.type)
    ]
    meant = (alike + elsewhere)[:1]
    return f'; did you mean "{meant[0]}"?' if meant else ""


def _locate(toml_text: str) -> dict[tuple[str, ...], int]:
    """Give the line on which each table and key of a valid TOML text is first set.

    A statement is what tomllib takes as whole, so quotes, comments and values of several lines
    are seen as TOML sees them.
    """
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    statement, first = "", 1
    for number, line in enumerate(toml_text.split("\n"), 1):
        statement += line + "\n"
        try:
            content = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        paths = list(_paths(content, ()))
        if statement.lstrip().startswith("["):
            table = paths[-1]
            paths = [table]
        else:
            paths = [table + path for path in paths]
        for path in paths:
            lines.setdefault(path, first)
        statement, first = "", number + 1
    return lines


def _paths(content: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if path:
        yield path
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _paths(value, (*path, key))


def anchored(config: Config, directory: Path) -> Config:
    """Give the same configuration with its relative paths starting from ``directory``."""

    def anchor(path: Path | None) -> Path | None:
        return path and directory / path

    access = config.log.access
    return attrs.evolve(
        config,
        tls=Tls(anchor(config.tls.certificate), anchor(config.tls.key)),
        log=attrs.evolve(
            config.log, access=access if access in ("", "-") else str(directory / access)
        ),
        state=State(anchor(config.state.directory)),
    )
