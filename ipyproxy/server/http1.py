"""HTTP/1.1 on the server's side: reads heads from one connection's bytes, and spells answers.

Knows where a head ends, how an answer is framed for the client, and how the client learns whether
the connection persists (RFC 9112 sections 2.2, 6 and 9). Knows nothing of sockets, time or phases,
or of what a request is for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.framing import LAST_CHUNK, chunk
from ipyproxy.http1.head import (
    HeadLimits,
    RequestHead,
    parse_request,
    request_fields_reader,
    too_large,
)

if TYPE_CHECKING:
    from ipyproxy.server.request import Request

_HEAD_END: Final = b"\r\n\r\n"
# Any number of empty lines, so that it does not matter in what pieces they arrive; RFC 9112 section
# 2.2 asks for at least one.
_EMPTY_LINES: Final = re.compile(rb"\A(?:\r\n)+")


class HTTP1:
    """The codec of one connection: holds bytes that are not read yet, and the head of an answer.

    :param common_lines: field lines that every answer gets, each with its CRLF.
    :ivar unread: bytes behind the last head that was taken.
    """

    __slots__ = ("_chunked", "_common_lines", "_fields", "_unsent_head", "unread")

    def __init__(self, common_lines: bytes) -> None:
        self.unread = b""
        self._common_lines = common_lines
        self._fields = request_fields_reader()
        self._unsent_head = b""
        self._chunked = False

    # Reading.

    def take_head(self, limits: HeadLimits) -> RequestHead | None:
        """The next head, or None if it is not complete yet.

        Raises :class:`ProxyError` if the head does not match the grammar, or can't match it any
        more.
        """
        unread = self.unread
        if unread[:1] == b"\r":
            self.unread = unread = _EMPTY_LINES.sub(b"", unread)
        end = unread.find(_HEAD_END)
        if not 0 <= end <= limits.head_bytes:
            self._check_part(limits)
            return None
        self.unread = unread[end + 4 :]
        return parse_request(unread[:end], limits, self._fields)

    def _check_part(self, limits: HeadLimits) -> None:
        """Refuse bytes that can't become a head."""
        unread = self.unread
        line = unread.find(b"\n")
        if line >= 0 and not unread[:line].endswith(b"\r"):
            # WebRTC may send other protocols than HTTP to any port; their bytes may contain LF.
            why = "a bare LF ends the request line"
            raise ProxyError(Problem.BAD_REQUEST, why, by_page=True)
        if len(unread) >= limits.head_bytes + len(_HEAD_END):
            raise too_large(unread, limits)

    def take_rest(self) -> bytes:
        """Take all unread bytes."""
        rest, self.unread = self.unread, b""
        return rest

    def forget(self) -> None:
        """No further head is read here: forget what was remembered for reading the next one."""
        self._fields = request_fields_reader()

    # Answering.

    def begin(
        self,
        request: Request,
        reason: bytes,
        fields: bytes,
        length: int | None,
        persistent: bool,
    ) -> bool:
        """Begin the answer to ``request``, which has the status and knows if a body follows.

        The next call of :meth:`body` or :meth:`end` returns the head too.

        :param fields: field lines without framing and Connection, each with its CRLF.
        :param length: bytes of the body (or what they would be, if none is sent); None: unknown.
        :param persistent: whether the connection would let another request follow.
        :returns: whether another one may follow this answer.
        """
        framing = b""
        minor = request.head.minor
        self._chunked = False
        if length is not None:
            framing = b"Content-Length: %d\r\n" % length
        elif not request.bodyless:
            if minor:
                self._chunked = True
                framing = b"Transfer-Encoding: chunked\r\n"
            else:
                persistent = False
        if not persistent:
            framing += b"Connection: close\r\n"
        elif not minor:
            framing += b"Connection: keep-alive\r\n"
        self._unsent_head = b"HTTP/1.1 %d %b\r\n%b%b%b\r\n" % (
            request.status,
            reason,
            self._common_lines,
            fields,
            framing,
        )
        return persistent

    def body(self, data: bytes) -> bytes:
        """The bytes to send for a piece of the body (not empty)."""
        if self._chunked:
            data = chunk(data)
        head = self._unsent_head
        if not head:
            return data
        self._unsent_head = b""
        return b"%b%b" % (head, data)

    def head(self) -> bytes:
        """The head, if it was not returned yet."""
        head, self._unsent_head = self._unsent_head, b""
        return head

    def end(self) -> bytes:
        """The bytes to send at the end of an answer."""
        head, self._unsent_head = self._unsent_head, b""
        if self._chunked:
            self._chunked = False
            return head + LAST_CHUNK
        return head

    def take_back(self) -> bool:
        """Drop an answer of which nothing is sent. Returns whether there was one."""
        had = bool(self._unsent_head)
        self._unsent_head = b""
        self._chunked = False
        return had


def interim(head: RequestHead, status: int, reason: bytes, fields: bytes) -> bytes:
    """An informational answer (RFC 9110 section 15.2); empty for HTTP/1.0, which has none."""
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason, fields) if head.minor else b""
