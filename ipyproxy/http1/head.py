r"""Parses heads of HTTP/1.1 messages. What does not match RFC 9112 is refused.

Knows the grammar, and how a gateway has to treat each field. Knows nothing of sockets, of routes,
or of what a field's value means.

Accepted beyond RFC 9112: a request target may contain bytes 0x80-0xFF, the characters ``[ \ ] ^ ` {
| }`` and a ``%`` that encodes nothing, because browsers and curl send them raw (WHATWG URL) and
notebooks have such names (``routes/notebooks.py`` is stricter with paths). A status line without a
reason may lack the space before it.

Refused although a recipient may accept it: bare LF, obs-fold, HTTP/1.2 and above. Bare CR, NUL,
white space around a field name and every other deviation are refused as well: request smuggling
works where two parsers repair a request differently.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from ipyproxy.errors import BrokenAnswerError, Problem, ProxyError
from ipyproxy.http1.lines import ALIKE, TCHAR, VALUE, Fields, SpecialFields
from ipyproxy.http1.memory import FieldMemory, FieldReader

_OBS_TEXT: Final = bytes(range(0x80, 0x100))
_TARGET: Final = bytes(set(range(0x21, 0x7F)) - set(b'"<>#')) + _OBS_TEXT


RESPONSE_FIELDS: Final = 1000
"""Most fields of a response. Browsers keep some 180 cookies of a site; curl accepts 5000 fields,
Node 2000, Envoy 100."""
_SHORT_STATUS: Final = 64


class RequestHead:
    """A request's start line and fields. ``minor`` is the x of HTTP/1.x."""

    __slots__ = ("fields", "method", "minor", "target")

    def __init__(self, method: bytes, target: bytes, minor: int, fields: Fields) -> None:
        self.method = method
        self.target = target
        self.minor = minor
        self.fields = fields


class ResponseHead:
    """A response's start line and fields. ``minor`` is the x of HTTP/1.x."""

    __slots__ = ("fields", "minor", "reason", "status")

    def __init__(self, status: int, reason: bytes, minor: int, fields: Fields) -> None:
        self.status = status
        self.reason = reason
        self.minor = minor
        self.fields = fields


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Limits of a request head: bytes in all, number of fields, bytes of the target."""

    head_bytes: int = 32768
    head_fields: int = 100
    target_bytes: int = 8192


READING: Final = (b"GET", b"HEAD")
"""The methods that only read (RFC 9110 section 9.3)."""
SAFE: Final = frozenset((*READING, b"OPTIONS"))
"""The safe methods (RFC 9110 section 9.2.1), except TRACE."""
_KNOWN_METHODS: Final = frozenset(
    (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")
)
# Fields of a request that are read and passed on unchanged.
_REQUEST_READ: Final = frozenset(
    b"accept accept-encoding authorization expect sec-fetch-site sec-websocket-protocol "
    b"user-agent".split()
)
# Fields that are rewritten, made anew for the next hop, or dropped. The last two rows name the
# client and what it asked for, which only the proxy may do; Proxy is dropped because of
# CVE-2016-5385.
_REQUEST_TAKEN: Final = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings "
    b"proxy-authorization proxy-authenticate content-length host origin cookie "
    b"sec-websocket-extensions sec-websocket-key sec-websocket-version "
    b"forwarded via x-real-ip x-client-ip x-cluster-client-ip true-client-ip "
    b"x-scheme x-url-scheme proxy".split()
)
_CLAIMS: Final = (b"x-forwarded", b"remote-", b"x-remote-", b"x-auth-request-")
# Fields of a response that are read and passed on unchanged: they decide whether it may be
# transformed. ETag is not among them: it differs in every answer, so nothing that is remembered
# with a head's special fields could be used again.
_RESPONSE_READ: Final = frozenset(
    b"cache-control content-encoding content-range content-type vary".split()
)
# Fields of a response that are rewritten, made anew or dropped. Those in the last three rows would
# let one notebook decide for the whole origin.
_RESPONSE_TAKEN: Final = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade "
    b"proxy-authorization proxy-authenticate content-length location content-location "
    b"set-cookie access-control-allow-origin service-worker-allowed "
    b"sec-websocket-accept sec-websocket-extensions sec-websocket-protocol "
    b"clear-site-data strict-transport-security alt-svc nel report-to reporting-endpoints "
    b"accept-ch origin-agent-cluster set-login secure-session-registration "
    b"use-as-dictionary x-accel-redirect x-sendfile".split()
)


def _is_taken_from_request(name: bytes) -> bool:
    name = name.translate(ALIKE)
    return name in _REQUEST_TAKEN or name.startswith(_CLAIMS)


# Fields that many clients send alike and that are no secret, so their lines may be remembered
# longer than the connection. Not among them: Referer and Location (tokens in addresses),
# Sec-WebSocket-Protocol (some put their token there), and all unknown names (X-Api-Key,
# X-XSRFToken).
_REQUEST_SHARED: Final = frozenset(
    b"accept accept-charset accept-encoding accept-language cache-control connection "
    b"content-length content-type dnt expect host keep-alive origin pragma priority range "
    b"sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site "
    b"sec-fetch-user sec-gpc sec-websocket-extensions sec-websocket-version te transfer-encoding "
    b"upgrade upgrade-insecure-requests user-agent x-requested-with".split()
)
_RESPONSE_SHARED: Final = frozenset(
    b"accept-ranges access-control-allow-credentials access-control-allow-headers "
    b"access-control-allow-methods access-control-allow-origin age allow cache-control connection "
    b"content-encoding content-language content-length content-security-policy content-type "
    b"cross-origin-embedder-policy cross-origin-opener-policy cross-origin-resource-policy date "
    b"expires keep-alive last-modified pragma referrer-policy sec-websocket-extensions server "
    b"transfer-encoding upgrade vary x-content-type-options x-frame-options "
    b"x-xss-protection".split()
)

_request_memory: Final = FieldMemory(
    _REQUEST_SHARED, _REQUEST_READ, _is_taken_from_request, b"referer"
)
_response_memory: Final = FieldMemory(
    _RESPONSE_SHARED, _RESPONSE_READ, _RESPONSE_TAKEN.__contains__
)

NO_FIELDS: Final = Fields(b"", SpecialFields())


def request_fields_reader() -> FieldReader:
    """The reader that each client's connection needs for :func:`parse_request`."""
    return FieldReader(_request_memory)


def response_fields_reader() -> FieldReader:
    """The reader that each connection to an upstream needs for :func:`parse_response`."""
    return FieldReader(_response_memory)


def parse_request(
    block: bytes, limits: HeadLimits, fields: FieldReader | None = None
) -> RequestHead:
    """Parse a request head.

    :param block: the whole head without the empty line that ends it.
    :param fields: the reader of this connection.
    :raises ProxyError: with the :class:`Problem` to answer with.
    """
    line, end, lines = block.partition(b"\r\n")
    method, target, minor = _request_line(line, limits)
    reader = fields or request_fields_reader()
    return RequestHead(method, target, minor, reader.read(lines + end, limits.head_fields))


def _request_line(line: bytes, limits: HeadLimits) -> tuple[bytes, bytes, int]:
    try:
        method, target, version = line.split(b" ")
    except ValueError:
        raise ProxyError(Problem.BAD_REQUEST, "the request line is not three words") from None
    if method not in _KNOWN_METHODS and (not method or method.translate(None, TCHAR)):
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
    """The error for an incomplete head that exceeds ``head_bytes``."""
    line = partial.partition(b"\r\n")[0]
    target = line.partition(b" ")[2].partition(b" ")[0]
    if len(target) > limits.target_bytes:
        return ProxyError(Problem.TARGET_TOO_LONG, f"over {limits.target_bytes} bytes")
    detail = f"over {limits.head_bytes} bytes{_largest_field(partial)}"
    return ProxyError(Problem.HEAD_TOO_LARGE, detail)


def _largest_field(partial: bytes) -> str:
    """The largest field of a head, for the log: its name and size, never its value."""
    head = partial.partition(b"\r\n\r\n")[0]
    line = max(head.split(b"\r\n")[1:], key=len, default=b"")
    name, colon, _ = line.partition(b":")
    if not colon or not name or name.translate(None, TCHAR):
        return ""
    # The head may end within the line, or the client goes on sending this field for ever.
    return f", of which {name[:64].decode('ascii')} has at least {len(line)}"


NOT_HTTP: Final = "the status line does not begin with HTTP/1.1 or HTTP/1.0"
BARE_LF: Final = "a bare LF ends a line of the head"


def has_bare_lf(part: bytes) -> bool:
    """Whether a head, complete or not, contains a LF without CR before it."""
    return part.count(b"\n") > part.count(b"\r\n")


def parse_response(block: bytes, fields: FieldReader | None = None) -> ResponseHead:
    """Parse a response head; the parameters are as for :func:`parse_request`.

    Raises :class:`BrokenAnswerError`.
    """
    line, end, lines = block.partition(b"\r\n")
    try:
        # A server with long reasons sends a different one each time.
        parse_line = _short_status_line if len(line) <= _SHORT_STATUS else _parse_status
        status, reason, minor = parse_line(line)
        reader = fields or response_fields_reader()
        return ResponseHead(status, reason, minor, reader.read(lines + end, RESPONSE_FIELDS))
    except ProxyError as error:
        # The check runs on incomplete heads too, and must not depend on how much has come.
        raise BrokenAnswerError(BARE_LF if has_bare_lf(block) else error.detail) from None


def _parse_status(line: bytes) -> tuple[int, bytes, int]:
    version, _, rest = line.partition(b" ")
    code, _, reason = rest.partition(b" ")
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise BrokenAnswerError(NOT_HTTP)
    if len(code) != 3 or code.translate(None, b"0123456789") or code < b"100":
        raise BrokenAnswerError("the status is not three digits")
    if reason.translate(None, VALUE):
        raise BrokenAnswerError("the reason phrase holds a control character")
    return int(code), reason, int(version == b"HTTP/1.1")


_short_status_line: Final = lru_cache(maxsize=64)(_parse_status)
