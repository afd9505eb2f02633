r"""Heads of HTTP/1.1 messages: bytes that match RFC 9112 become values; anything else is refused.

Knows the grammar and how each field is to be treated by a gateway. Knows nothing of sockets,
of routes, or of what a field's value means.

Taken beyond RFC 9112: a request target may hold bytes 0x80-0xFF, the characters
``[ \ ] ^ ` { | }`` and a ``%`` that encodes nothing, because browsers and curl send them raw
(WHATWG URL) and notebooks have such names (``routes.py`` asks more of a path); and a status line
may lack the space before a reason that is not there.

Refused although a recipient may take it: bare LF, obs-fold, HTTP/1.2 and above. Bare CR, NUL,
white space around a field name and every other leniency are refused as well, because two parsers
that repair differently are how requests get smuggled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from ipyproxy.errors import Problem, ProxyError

_TCHAR = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_OBS_TEXT = bytes(range(0x80, 0x100))
_VALUE = b"\t " + bytes(range(0x21, 0x7F)) + _OBS_TEXT
_TARGET = bytes(set(range(0x21, 0x7F)) - set(b'"<>#')) + _OBS_TEXT

_LINE_REMEMBERED = 2048
_LINES_REMEMBERED = 1024
_GROUP_REMEMBERED = 4096
_GROUPS_REMEMBERED = 512


@dataclass(frozen=True, eq=False, slots=True)
class Special:
    """A field (RFC 9112 section 5) that a gateway must read, rewrite or drop.

    ``name`` is lower-case and ``value`` trimmed of optional white space; ``line`` is what to pass
    on of a field that is only read, empty for all others.
    """

    name: bytes
    value: bytes
    line: bytes


class SpecialFields(dict[bytes, list[bytes]]):
    """The values of a head's special fields in their order, by name (lower-case).

    Heads whose special fields are alike share one, which is never changed and is hashed by its
    identity: so ``lru_cache`` remembers what follows from special fields alone, at the price of a
    look-up. That is all of framing, access, and what is rewritten.
    """

    __slots__ = ("passed",)
    passed: list[bytes]
    """The lines of those that are only read, to be passed on."""
    __hash__ = object.__hash__  # type: ignore[assignment]

    def values_of(self, name: bytes) -> list[bytes]:
        """All values of the field ``name`` (lower-case), in order."""
        return self.get(name, _NONE)

    def one(self, name: bytes) -> bytes | None:
        """The value of a field that may come at most once.

        Raises :class:`ProxyError` (``BAD_REQUEST``) if it comes twice.
        """
        values = self.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise ProxyError(Problem.BAD_REQUEST, f"more than one {name.decode()} field")
        return values[0]

    def first(self, name: bytes) -> bytes | None:
        """The first value of a field; for logs and pages, not for decisions."""
        values = self.get(name)
        return values[0] if values else None

    def tokens(self, name: bytes) -> tuple[bytes, ...]:
        """The members of a comma-separated field, lower-case (RFC 9110 section 5.6.1)."""
        values = self.get(name)
        return split_tokens(b",".join(values)) if values else ()


_NONE: list[bytes] = []


class FieldMemory(dict[bytes, bytes | Special]):
    """Field lines seen lately, with what they come to: the line to pass on, or a special field.

    Browsers repeat most of their field lines byte for byte, so looking a line up instead of
    parsing it is what makes a strict grammar cheap. Parsing depends on the line alone, so nothing
    of one request can show in another. Bounded to a few MiB: long lines are never kept, and a
    full memory starts anew.

    :param read: names (lower-case) of fields that are read, and passed on as they came.
    :param is_taken: tells by a name (lower-case) which fields are rewritten or dropped.
    """

    def __init__(self, read: frozenset[bytes], is_taken: Callable[[bytes], bool]) -> None:
        super().__init__()
        self._read = read
        self._is_taken = is_taken
        self._groups: dict[tuple[Special, ...], SpecialFields] = {}

    def __missing__(self, line: bytes) -> bytes | Special:
        name, value = split_field_line(line)
        lower = name.lower()
        # What is passed on is spelled anew: the name as it came, a colon, one space, the value.
        spelled = b"%b: %b" % (name, value)
        parsed: bytes | Special = spelled
        if lower in self._read:
            parsed = Special(lower, value, spelled)
        elif self._is_taken(lower):
            parsed = Special(lower, value, b"")
        if len(line) <= _LINE_REMEMBERED:
            if len(self) >= _LINES_REMEMBERED:
                self.clear()
            self[line] = parsed
        return parsed

    def group(self, special: tuple[Special, ...]) -> SpecialFields:
        """The fields of one head together; the same object for the same fields, if seen lately."""
        group = self._groups.get(special)
        if group is None:
            group = SpecialFields()
            group.passed = [field.line for field in special if field.line]
            for field in special:
                group.setdefault(field.name, []).append(field.value)
            if sum(len(field.value) for field in special) <= _GROUP_REMEMBERED:
                if len(self._groups) >= _GROUPS_REMEMBERED:
                    self._groups.clear()
                self._groups[special] = group
        return group


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
    """The fields of one head.

    ``plain`` has the lines to pass on that nobody looks at, in their order; ``special`` has what
    must be looked at. (The order of fields of different names means nothing, RFC 9110 section 5.3.)
    """

    __slots__ = ("plain", "special")

    def __init__(self, lines: list[bytes], memory: FieldMemory) -> None:
        fields = list(map(memory.__getitem__, lines))
        self.plain = [field for field in fields if type(field) is bytes]
        self.special = memory.group(tuple([field for field in fields if type(field) is Special]))

    def values(self, name: bytes) -> list[bytes]:
        """See :meth:`SpecialFields.values_of`."""
        return self.special.get(name, _NONE)

    def first(self, name: bytes) -> bytes | None:
        """See :meth:`SpecialFields.first`."""
        return self.special.first(name)

    def tokens(self, name: bytes) -> tuple[bytes, ...]:
        """See :meth:`SpecialFields.tokens`."""
        return self.special.tokens(name)


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


_KNOWN_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
# Fields of a request that are read and passed on as they came.
_REQUEST_READ = frozenset(
    b"accept authorization expect sec-fetch-site sec-websocket-protocol user-agent".split()
)
# Those that are rewritten, made anew for the next hop, or dropped. The last two rows say who the
# client is and what it asked for, which is for us to say; Proxy is there for CVE-2016-5385.
_REQUEST_TAKEN = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings "
    b"proxy-authorization proxy-authenticate content-length host origin referer cookie "
    b"sec-websocket-extensions sec-websocket-key sec-websocket-version "
    b"forwarded via x-real-ip x-client-ip x-cluster-client-ip true-client-ip "
    b"x-scheme proxy".split()
)
_CLAIMS = (b"x-forwarded", b"remote-", b"x-remote-", b"x-auth-request-")
# Fields of a response that are rewritten, made anew or dropped. The last three rows would let one
# notebook speak for the whole origin.
_RESPONSE_TAKEN = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade "
    b"proxy-authorization proxy-authenticate content-length location content-location "
    b"set-cookie access-control-allow-origin "
    b"sec-websocket-accept sec-websocket-extensions sec-websocket-protocol "
    b"clear-site-data service-worker-allowed strict-transport-security alt-svc nel report-to "
    b"reporting-endpoints accept-ch origin-agent-cluster set-login "
    b"use-as-dictionary".split()
)
# CGI-like servers read Remote_User and remote-user alike (CVE-2026-30851), some remote.user too.
_ALIKE = bytes.maketrans(b"!#$%&'*+.^_`|~", b"-" * 14)


def _is_taken_from_request(name: bytes) -> bool:
    name = name.translate(_ALIKE)
    return name in _REQUEST_TAKEN or name.startswith(_CLAIMS)


_request_memory = FieldMemory(_REQUEST_READ, _is_taken_from_request)
_response_memory = FieldMemory(frozenset(), _RESPONSE_TAKEN.__contains__)

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
    if method not in _KNOWN_METHODS and (not method or method.translate(None, _TCHAR)):
        raise ProxyError(Problem.BAD_REQUEST, "the method is no token")
    if not target or target.translate(None, _TARGET):
        raise ProxyError(Problem.BAD_TARGET, "the target holds a forbidden character")
    if len(target) > limits.target_bytes:
        raise ProxyError(Problem.TARGET_TOO_LONG, f"{len(target)} bytes")
    return method, target, 1 if version == b"HTTP/1.1" else _minor(version)


def _minor(version: bytes) -> int:
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


@lru_cache(maxsize=64)
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
