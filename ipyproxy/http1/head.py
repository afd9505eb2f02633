"""Heads of HTTP/1.1 messages: bytes that match RFC 9112 become values; anything else is refused.

Knows the grammar and how each field is to be treated by a gateway. Knows nothing of sockets,
of routes, or of what a field's value means.

What deviates from RFC 9112, and why: a request target may hold bytes 0x80-0xFF and the
characters ``[ ] ^ ` { | }``, because browsers and curl send them raw (WHATWG URL) and notebooks
have such names; and one empty line before a request line is skipped (section 2.2). Bare CR or
LF, NUL, obs-fold, white space around a field name and every other leniency is refused, because
two parsers that repair differently are how requests get smuggled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ipyproxy.errors import Problem, ProxyError

_TCHAR = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_OBS_TEXT = bytes(range(0x80, 0x100))
_VALUE = b"\t " + bytes(range(0x21, 0x7F)) + _OBS_TEXT
_TARGET = bytes(set(range(0x21, 0x7F)) - set(b'"<>#')) + _OBS_TEXT

_LINE_REMEMBERED = 512
_LINES_REMEMBERED = 2048


class Field(NamedTuple):
    """One field line (RFC 9112 section 5).

    ``name`` is lower-case, ``value`` is trimmed of optional white space, and ``line`` is how it
    is sent on: the name as it came, a colon, one space, the value. ``plain`` means that a gateway
    passes it on untouched.
    """

    name: bytes
    value: bytes
    line: bytes
    plain: bool


class FieldMemory(dict[bytes, Field]):
    """Field lines seen lately, with their parsed form.

    Browsers repeat most of their field lines byte for byte, so looking a line up instead of
    parsing it is what makes a strict grammar cheap. Parsing depends on the line alone, so nothing
    of one request can show in another. Bounded to about 2 MiB: long lines are never kept, and a
    full memory starts anew.
    """

    def __init__(self, is_plain: Callable[[bytes], bool]) -> None:
        super().__init__()
        self._is_plain = is_plain

    def __missing__(self, line: bytes) -> Field:
        name, value = split_field_line(line)
        lower = name.lower()
        field = Field(lower, value, b"%b: %b" % (name, value), self._is_plain(lower))
        if len(line) <= _LINE_REMEMBERED:
            if len(self) >= _LINES_REMEMBERED:
                self.clear()
            self[line] = field
        return field


def split_field_line(line: bytes) -> tuple[bytes, bytes]:
    """Take one field line (without its CRLF) apart into name and value.

    Raises :class:`ProxyError` (``BAD_REQUEST``) where it does not match RFC 9112 section 5.
    """
    name, colon, value = line.partition(b":")
    if not colon or not name or name.translate(None, _TCHAR):
        raise ProxyError(Problem.BAD_REQUEST, "a field line is not 'name: value'")
    value = value.strip(b" \t")
    if value.translate(None, _VALUE):
        raise ProxyError(Problem.BAD_REQUEST, "a field value holds a control character")
    return name, value


class Fields:
    """The fields of one head, in their order, and the values of those that a gateway must read."""

    __slots__ = ("_special", "all")

    def __init__(self, lines: list[bytes], memory: FieldMemory) -> None:
        self.all: list[Field] = list(map(memory.__getitem__, lines))
        self._special: dict[bytes, list[bytes]] = {}
        for name, value, _, plain in self.all:
            if not plain:
                self._special.setdefault(name, []).append(value)

    def values(self, name: bytes) -> list[bytes]:
        """All values of the non-plain field ``name`` (lower-case), in order."""
        return self._special.get(name, [])

    def one(self, name: bytes) -> bytes | None:
        """The value of a non-plain field that may come at most once.

        Raises :class:`ProxyError` (``BAD_REQUEST``) if it comes twice.
        """
        values = self._special.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise ProxyError(Problem.BAD_REQUEST, f"more than one {name.decode()} field")
        return values[0]

    def tokens(self, name: bytes) -> list[bytes]:
        """The members of a comma-separated non-plain field, lower-case (RFC 9110 section 5.6.1)."""
        values = self._special.get(name)
        if values is None:
            return []
        members = b",".join(values).lower().split(b",")
        return [token for member in members if (token := member.strip(b" \t"))]

    def first(self, name: bytes) -> bytes | None:
        """The first value of any field, plain or not; for logs and pages, not for decisions."""
        for field in self.all:
            if field.name == name:
                return field.value
        return None

    def __iter__(self) -> Iterator[Field]:
        return iter(self.all)


@dataclass(slots=True)
class RequestHead:
    """A request's start line and fields. ``minor`` is the x of HTTP/1.x."""

    method: bytes
    target: bytes
    minor: int
    fields: Fields


@dataclass(slots=True)
class ResponseHead:
    """A response's start line and fields. ``minor`` is the x of HTTP/1.x."""

    status: int
    reason: bytes
    minor: int
    fields: Fields


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """How large a request head may be: bytes in all, number of fields, bytes of the target."""

    head_bytes: int = 16384
    head_fields: int = 100
    target_bytes: int = 8192


# Fields of a request that a gateway reads, rewrites or drops (never passes on as they came).
_REQUEST_SPECIAL = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade "
    b"proxy-authorization proxy-authenticate content-length host origin referer cookie expect "
    b"forwarded via x-real-ip remote-user x-remote-user "
    b"sec-fetch-site sec-websocket-extensions sec-websocket-key sec-websocket-version "
    b"sec-websocket-protocol".split()
)
# The same for a response. The last row would let one notebook speak for the whole origin.
_RESPONSE_SPECIAL = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade "
    b"proxy-authorization proxy-authenticate content-length location content-location "
    b"set-cookie access-control-allow-origin "
    b"sec-websocket-accept sec-websocket-extensions sec-websocket-protocol "
    b"clear-site-data service-worker-allowed strict-transport-security alt-svc nel report-to "
    b"reporting-endpoints".split()
)


def _request_plain(name: bytes) -> bool:
    # CGI-like servers read Remote_User and remote-user alike (CVE-2026-30851), so an underscore
    # counts as a hyphen when a field claims an identity.
    name = name.replace(b"_", b"-")
    return name not in _REQUEST_SPECIAL and not name.startswith(b"x-forwarded-")


def _response_plain(name: bytes) -> bool:
    return name not in _RESPONSE_SPECIAL


_request_memory = FieldMemory(_request_plain)
_response_memory = FieldMemory(_response_plain)

NO_FIELDS = Fields([], _request_memory)


def parse_request(block: bytes, limits: HeadLimits) -> RequestHead:
    """Take a request head apart.

    ``block`` is the whole head without the empty line that ends it. Raises :class:`ProxyError`
    with the :class:`Problem` to answer with.
    """
    lines = block.split(b"\r\n")
    method, target, minor = _request_line(lines[0], limits)
    del lines[0]
    if len(lines) > limits.head_fields:
        raise ProxyError(Problem.HEAD_TOO_LARGE, f"{len(lines)} fields")
    return RequestHead(method, target, minor, Fields(lines, _request_memory))


def _request_line(line: bytes, limits: HeadLimits) -> tuple[bytes, bytes, int]:
    try:
        method, target, version = line.split(b" ")
    except ValueError:
        raise ProxyError(Problem.BAD_REQUEST, "the request line is not three words") from None
    if not method or method.translate(None, _TCHAR):
        raise ProxyError(Problem.BAD_REQUEST, "the method is no token")
    if not target or target.translate(None, _TARGET):
        raise ProxyError(Problem.BAD_TARGET, "the target holds a forbidden character")
    if len(target) > limits.target_bytes:
        raise ProxyError(Problem.TARGET_TOO_LONG, f"{len(target)} bytes")
    return method, target, _minor(version)


def _minor(version: bytes) -> int:
    if version == b"HTTP/1.1":
        return 1
    if version == b"HTTP/1.0":
        return 0
    if len(version) == 8 and version[:5] == b"HTTP/" and version[6:7] == b".":
        digits = version[5:6] + version[7:]
        if not digits.translate(None, b"0123456789"):
            raise ProxyError(Problem.VERSION_NOT_SUPPORTED)
    raise ProxyError(Problem.BAD_REQUEST, "the request line does not end in HTTP/1.1")


def too_large(partial: bytes, limits: HeadLimits) -> ProxyError:
    """The error for a head that outgrew ``head_bytes`` before it ended."""
    line = partial.partition(b"\r\n")[0]
    target = line.partition(b" ")[2].partition(b" ")[0]
    if len(target) > limits.target_bytes:
        return ProxyError(Problem.TARGET_TOO_LONG, f"over {limits.target_bytes} bytes")
    return ProxyError(Problem.HEAD_TOO_LARGE, f"over {limits.head_bytes} bytes")


def parse_response(block: bytes) -> ResponseHead:
    """Take a response head apart; ``block`` as for :func:`parse_request`.

    Raises :class:`ProxyError` (``UPSTREAM_BROKEN``).
    """
    lines = block.split(b"\r\n")
    try:
        status, reason, minor = _status_line(lines[0])
        del lines[0]
        return ResponseHead(status, reason, minor, Fields(lines, _response_memory))
    except ProxyError as error:
        raise ProxyError(Problem.UPSTREAM_BROKEN, error.detail) from None


def _status_line(line: bytes) -> tuple[int, bytes, int]:
    version, _, rest = line.partition(b" ")
    code, _, reason = rest.partition(b" ")
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise ProxyError(Problem.UPSTREAM_BROKEN, "the status line is not HTTP/1.x")
    if len(code) != 3 or code.translate(None, b"0123456789") or code < b"100":
        raise ProxyError(Problem.UPSTREAM_BROKEN, "the status is not three digits")
    if reason.translate(None, _VALUE):
        raise ProxyError(Problem.UPSTREAM_BROKEN, "the reason holds a control character")
    return int(code), reason, int(version == b"HTTP/1.1")
