"""Framing: where a message's body begins and ends (RFC 9112 sections 6 and 7), and how it is sent.

Knows lengths and chunks. Knows nothing of a body's content. A body is never buffered: every decoder
returns at once what it was fed. The next hop always gets new framing, so that nothing passes on
which two parsers could read differently (RFC 9112 section 11.2).

Two things are accepted in responses but not in requests: Content-Length several times with the same
value (RFC 9110 section 8.6), and blanks behind a chunk's size. Real servers send them, and all
parsers read the same body. In a request they are more likely an attack, and no browser sends them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Protocol

from ipyproxy.errors import BrokenAnswerError, Problem, ProxyError
from ipyproxy.http1.head import RequestHead, ResponseHead
from ipyproxy.http1.lines import TOKEN, SpecialFields, split_field_line

_CHUNK_LINE: Final = 256
_TRAILERS: Final = 8192
_QUOTED: Final = rb'"(?:[\t !#-\[\]-~\x80-\xFF]|\\[\t -~\x80-\xFF])*"'
_EXTENSION: Final = rb"[ \t]*;[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|%b))?" % (TOKEN, TOKEN, _QUOTED)
# At most 15 digits, so that every sum fits into 64 bits.
_SIZE: Final = rb"([0-9A-Fa-f]{1,15})(?:%b)*" % _EXTENSION
_SIZE_LINE: Final = re.compile(rb"%b\r\n" % _SIZE)
_PADDED_SIZE_LINE: Final = re.compile(rb"%b[ \t]*\r\n" % _SIZE)


class Decoder(Protocol):
    """Extracts a body from the bytes of a connection."""

    length: int | None
    """Bytes in the whole body, if the head says how many."""
    done: bool
    """Whether the body is complete."""
    ends_at_close: bool
    """Whether the end of the connection is the regular end of the body."""
    pieces: int
    """How many pieces (chunks) the last call of :meth:`feed` has parsed, which determines its
    cost."""

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Parse bytes of the connection.

        Returns the body's bytes among them, and the bytes behind it.

        Raises :class:`ProxyError` (``BAD_REQUEST``) on broken framing.
        """
        ...


class LengthDecoder:
    """A body whose length the head states."""

    __slots__ = ("_left", "done", "length")
    ends_at_close = False
    pieces = 1

    def __init__(self, length: int) -> None:
        self.length: int | None = length
        self._left = length
        self.done = length == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """See :class:`Decoder`."""
        left, size = self._left, len(data)
        if size < left:
            self._left = left - size
            return data, b""
        self._left = 0
        self.done = True
        if size == left:
            return data, b""
        return data[:left], data[left:]


class CloseDecoder:
    """A response body that lasts until the connection closes (RFC 9112 section 6.3, rule 8)."""

    __slots__ = ()
    length: int | None = None
    done = False
    ends_at_close = True
    pieces = 1

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """See :class:`Decoder`."""
        return data, b""


class ChunkedDecoder:
    """A body in the chunked transfer coding (RFC 9112 section 7.1).

    Chunk extensions are ignored. Trailer fields are checked and dropped (RFC 9110 section 6.5.1
    allows that).

    :param size_line: the line before a chunk, with its CRLF; its first group is the size.
    """

    __slots__ = ("_buffer", "_left", "_size_line", "_trailers", "done", "pieces")
    length: int | None = None
    ends_at_close = False

    def __init__(self, size_line: re.Pattern[bytes] = _SIZE_LINE) -> None:
        self._size_line = size_line
        self._buffer = b""
        # Bytes left of the chunk and its CRLF; 0: a size line comes next; None: trailer fields.
        self._left: int | None = 0
        self._trailers = 0
        self.done = False
        self.pieces = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """See :class:`Decoder`."""
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        pieces: list[bytes] = []
        at = 0
        while not self.done and at < len(data):
            if self._left == 0:
                at = self._whole_chunks(data, at, pieces)
            step = self._payload(data, at, pieces) if self._left else self._line(data, at)
            if step is None:
                self._buffer = data[at:]
                at = len(data)
            else:
                at = step
        self.pieces = len(pieces)
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return body, data[at:]

    def _whole_chunks(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Parse chunks that are complete, except the last one. Returns the offset behind them.

        A client may send very many tiny chunks, so this is one loop without further calls.
        """
        match = self._size_line.match
        while found := match(data, at, at + _CHUNK_LINE + 2):
            begin = found.end()
            size = int(found[1], 16)
            end = begin + size
            if not size or data[end : end + 2] != b"\r\n":
                break
            pieces.append(data[begin:end])
            at = end + 2
        return at

    def _payload(self, data: bytes, at: int, pieces: list[bytes]) -> int | None:
        """Parse bytes of a chunk, or its closing CRLF.

        Returns the offset behind them (None: wait).
        """
        left = self._left or 0
        if left > 2:
            take = min(left - 2, len(data) - at)
            pieces.append(data[at : at + take])
            self._left = left - take
            return at + take
        if len(data) - at < 2 and data[at:] == b"\r":
            return None
        if data[at : at + 2] != b"\r\n":
            raise ProxyError(Problem.BAD_REQUEST, "a chunk does not end in CRLF")
        self._left = 0
        return at + 2

    def _line(self, data: bytes, at: int) -> int | None:
        """Parse a size line or a trailer line. Returns the offset behind it (None: wait)."""
        end = data.find(b"\r\n", at)
        limit = _CHUNK_LINE if self._left == 0 else _TRAILERS
        # A line without its CRLF yet may have the CR.
        if (len(data) - 1 if end < 0 else end) - at > limit:
            raise ProxyError(Problem.BAD_REQUEST, "a chunk's size line or trailer is too long")
        if end < 0:
            if b"\n" in data[at:]:
                raise ProxyError(Problem.BAD_REQUEST, "a bare LF ends a chunk line")
            return None
        if self._left == 0:
            size = self._size(data[at : end + 2])
            self._left = size + 2 if size else None
        elif line := data[at:end]:
            split_field_line(line)
            self._trailers += len(line) + 2
            if self._trailers > _TRAILERS:
                raise ProxyError(Problem.BAD_REQUEST, "the trailer section is too long")
        else:
            self.done = True
        return end + 2

    def _size(self, line: bytes) -> int:
        """The size in a chunk's first line; its extensions must be well-formed and are ignored."""
        match = self._size_line.fullmatch(line)
        if match is None:
            raise ProxyError(Problem.BAD_REQUEST, "a chunk does not begin with its size")
        return int(match[1], 16)


def chunk(data: bytes) -> bytes:
    """Frame ``data`` (not empty) as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK: Final = b"0\r\n\r\n"


def request_framing(head: RequestHead) -> tuple[Decoder | None, bool]:
    """The decoder of a request's body, and whether another request may follow.

    The decoder is None if there is no body (RFC 9112 section 6.3). No request may follow a CONNECT:
    the bytes behind it are meant for a tunnel, even if none is made.

    Raises :class:`ProxyError` if Content-Length and Transfer-Encoding are not one clear statement
    (CL.TE, TE.CL, two lengths, codings other than chunked, HTTP/1.0 with TE).
    """
    chunked, length, stays_open = _framing(head.fields.special, head.minor, _only_length)
    persistent = stays_open and head.method != b"CONNECT"
    if chunked:
        return ChunkedDecoder(), persistent
    return LengthDecoder(length) if length else None, persistent


def response_framing(head: ResponseHead, method: bytes) -> tuple[Decoder | None, bool]:
    """The decoder of a response's body, and whether the server keeps the connection open.

    The decoder is None if there is no body (RFC 9112 section 6.3).

    Raises :class:`BrokenAnswerError` on contradictory framing.
    """
    try:
        chunked, length, stays_open = _framing(head.fields.special, head.minor, _agreed_length)
    except ProxyError as error:
        raise BrokenAnswerError(error.detail) from None
    if method == b"HEAD" or head.status in (204, 304):
        return None, stays_open
    if chunked:
        return ChunkedDecoder(_PADDED_SIZE_LINE), stays_open
    return CloseDecoder() if length is None else LengthDecoder(length), stays_open


def stated_length(head: ResponseHead) -> int | None:
    """Content-Length of a response that has no body, as :func:`response_framing` has found.

    It answers HEAD, or is a 304: the length is that of the answer to a GET (RFC 9110 section 8.6).
    """
    stated = _agreed_length(head.fields.special)
    return None if stated is None else _length(stated)


def _agreed_length(special: SpecialFields) -> bytes | None:
    """The common value of all Content-Length fields and lists.

    Raises :class:`ProxyError` (``BAD_REQUEST``) if they differ.
    """
    values = special.get(b"content-length")
    if values is None:
        return None
    if len(values) == 1 and values[0].isdigit():
        return values[0]
    said = {value.strip(b" \t") for value in b",".join(values).split(b",")}
    if len(said) > 1:
        raise ProxyError(Problem.BAD_REQUEST, "Content-Length has several values that differ")
    return said.pop()


def _only_length(special: SpecialFields) -> bytes | None:
    """The value of Content-Length, which a request may have only once."""
    return special.one(b"content-length")


def _framing(
    special: SpecialFields, minor: int, stated: Callable[[SpecialFields], bytes | None]
) -> tuple[bool, int | None, bool]:
    """:func:`_find_framing`, unless the result is remembered.

    :param stated: returns the value of Content-Length, if there is one.
    """
    asked = (stated, minor)
    found: tuple[bool, int | None, bool] | None = special.following.get(asked)
    if found is None:
        found = _find_framing(special, minor, stated(special))
        special.keep(asked, found)
    return found


def _find_framing(
    special: SpecialFields, minor: int, stated: bytes | None
) -> tuple[bool, int | None, bool]:
    """Whether a head's body is chunked, its length, and whether the connection persists.

    For the last one see RFC 9112 section 9.3.

    :param stated: the value of Content-Length, if there is one.
    """
    options = special.tokens(b"connection")
    stays_open = b"close" not in options and (minor > 0 or b"keep-alive" in options)
    coding = special.values_of(b"transfer-encoding")
    if not coding:
        return False, None if stated is None else _length(stated), stays_open
    if stated is not None:
        raise ProxyError(Problem.BAD_REQUEST, "both Content-Length and Transfer-Encoding")
    if minor == 0:
        raise ProxyError(Problem.BAD_REQUEST, "Transfer-Encoding in HTTP/1.0")
    if len(coding) > 1 or coding[0].lower() != b"chunked":
        raise ProxyError(Problem.NOT_IMPLEMENTED, "a transfer coding other than chunked")
    return True, None, stays_open


def _length(value: bytes) -> int:
    # bytes.isdigit() accepts ASCII only. At most 18 digits, so that every sum fits into 64 bits.
    if not value.isdigit() or len(value) > 18:
        raise ProxyError(Problem.BAD_REQUEST, "Content-Length is not a number")
    return int(value)
