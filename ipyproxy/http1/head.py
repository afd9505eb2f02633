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

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ipyproxy.errors import Problem, ProxyError

_TCHAR = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_OBS_TEXT = bytes(range(0x80, 0x100))
_VALUE = b"\t " + bytes(range(0x21, 0x7F)) + _OBS_TEXT
_TARGET = bytes(set(range(0x21, 0x7F)) - set(b'"<>#')) + _OBS_TEXT

_LINE_REMEMBERED = 512
_LINES_REMEMBERED = 2048


class Special(NamedTuple):
    """A field line (RFC 9112 section 5) that a gateway must read, rewrite or drop.

    ``name`` is lower-case and ``value`` trimmed of optional white space.
    """

    name: bytes
    value: bytes


class FieldMemory(dict[bytes, bytes | Special]):
    """Field lines seen lately, with what they come to: the line to pass on, or a special field.

    Browsers repeat most of their field lines byte for byte, so looking a line up instead of
    parsing it is what makes a strict grammar cheap. Parsing depends on the line alone, so nothing
    of one request can show in another. Bounded to about 2 MiB: long lines are never kept, and a
    full memory starts anew.

    :param is_special: tells by a field's name, in lower case.
    """

    def __init__(self, is_special: Callable[[bytes], bool]) -> None:
        super().__init__()
        self._is_special = is_special

    def __missing__(self, line: bytes) -> bytes | Special:
        name, value = split_field_line(line)
        lower = name.lower()
        # What is passed on is spelled anew: the name as it came, a colon, one space, the value.
        parsed = Special(lower, value) if self._is_special(lower) else b"%b: %b" % (name, value)
        if len(line) <= _LINE_REMEMBERED:
            if len(self) >= _LINES_REMEMBERED:
                self.clear()
            self[line] = parsed
        return parsed


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
    """The fields of one head: ``plain`` lines to pass on in their order, and the special ones."""

    __slots__ = ("_special", "plain")

    def __init__(self, lines: list[bytes], memory: FieldMemory) -> None:
        parsed = list(map(memory.__getitem__, lines))
        self.plain: list[bytes] = [field for field in parsed if field.__class__ is bytes]
        self._special: dict[bytes, list[bytes]] = {}
        for field in parsed:
            if field.__class__ is Special:
                name, value = field
                if name in self._special:
                    self._special[name].append(value)
                else:
                    self._special[name] = [value]

    @property
    def special(self) -> dict[bytes, list[bytes]]:
        """The special fields: values in their order, by name (lower-case)."""
        return self._special

    def values(self, name: bytes) -> list[bytes]:
        """All values of the special field ``name`` (lower-case), in order."""
        return self._special.get(name, _NONE)

    def one(self, name: bytes) -> bytes | None:
        """The value of a special field that may come at most once.

        Raises :class:`ProxyError` (``BAD_REQUEST``) if it comes twice.
        """
        values = self._special.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise ProxyError(Problem.BAD_REQUEST, f"more than one {name.decode()} field")
        return values[0]

    def first(self, name: bytes) -> bytes | None:
        """The first value of a special field; for logs and pages, not for decisions."""
        values = self._special.get(name)
        return values[0] if values else None

    def tokens(self, name: bytes) -> tuple[bytes, ...]:
        """The members of a comma-separated special field, lower-case (RFC 9110 section 5.6.1)."""
        values = self._special.get(name)
        return split_tokens(b",".join(values)) if values else ()


_NONE: list[bytes] = []


@lru_cache(maxsize=256)
def split_tokens(value: bytes) -> tuple[bytes, ...]:
    """The members of a comma-separated list, lower-case, empty ones left out."""
    members = value.lower().split(b",")
    return tuple(token for member in members if (token := member.strip(b" \t")))


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


# Fields of a request that a gateway reads, rewrites or drops.
_REQUEST_SPECIAL = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade "
    b"proxy-authorization proxy-authenticate content-length host origin referer cookie expect "
    b"forwarded via x-real-ip remote-user x-remote-user "
    b"sec-fetch-site sec-websocket-extensions sec-websocket-key sec-websocket-version "
    b"sec-websocket-protocol accept user-agent".split()
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


def _is_special_in_request(name: bytes) -> bool:
    # CGI-like servers read Remote_User and remote-user alike (CVE-2026-30851), so an underscore
    # counts as a hyphen when a field claims an identity.
    name = name.replace(b"_", b"-")
    return name in _REQUEST_SPECIAL or name.startswith(b"x-forwarded-")


_request_memory = FieldMemory(_is_special_in_request)
_response_memory = FieldMemory(_RESPONSE_SPECIAL.__contains__)

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
