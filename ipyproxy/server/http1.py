"""HTTP/1.1 as a server speaks it: bytes of one connection become heads, and answers become bytes.

Knows where a head ends, how an answer is framed for the client that asked, and how it is told
whether the connection stays (RFC 9112 sections 2.2, 6 and 9). Knows nothing of sockets, time or
phases, nor of what a request is for.
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
# However many, so that it does not matter how they are cut; RFC 9112 section 2.2 says at least one.
_EMPTY_LINES: Final = re.compile(rb"\A(?:\r\n)+")


class HTTP1:
    """The codec of one connection: what has come and is not read yet, and the head of an answer.

    :param common_lines: field lines that every answer bears, each with its CRLF.
    :ivar unread: bytes that belong to no head that was taken.
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
        """The next head, if it is there as a whole.

        Raises :class:`ProxyError` where it does not match the grammar, or can't any more.
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
        """Refuse what can't become a head."""
        unread = self.unread
        line = unread.find(b"\n")
        if line >= 0 and not unread[:line].endswith(b"\r"):
            # WebRTC sends other things than HTTP to any port, and chance has it that LF is in them.
            why = "a bare LF ends the request line"
            raise ProxyError(Problem.BAD_REQUEST, why, by_page=True)
        if len(unread) >= limits.head_bytes + len(_HEAD_END):
            raise too_large(unread, limits)

    def take_rest(self) -> bytes:
        """All that is unread."""
        rest, self.unread = self.unread, b""
        return rest

    def forget(self) -> None:
        """No further head is read here: what was remembered for it is not needed."""
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
        """Begin the answer to ``request``, which has its status, and says whether it has a body.

        Its head comes with what :meth:`body` or :meth:`end` gives next.

        :param fields: field lines without framing and Connection, each with its CRLF.
        :param length: bytes of the body (or what they would be, if none is sent); None: unknown.
        :param persistent: whether another request may follow, as far as the connection knows.
        :returns: whether it may, with this answer.
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
        """How bytes of the body (not empty) are sent."""
        if self._chunked:
            data = chunk(data)
        head = self._unsent_head
        if not head:
            return data
        self._unsent_head = b""
        return b"%b%b" % (head, data)

    def head(self) -> bytes:
        """The head, if nothing has taken it along yet."""
        head, self._unsent_head = self._unsent_head, b""
        return head

    def end(self) -> bytes:
        """What is still to be sent at the end of an answer."""
        head, self._unsent_head = self._unsent_head, b""
        if self._chunked:
            self._chunked = False
            return head + LAST_CHUNK
        return head

    def take_back(self) -> bool:
        """Drop an answer of which nothing is sent; whether there was one."""
        had = bool(self._unsent_head)
        self._unsent_head = b""
        self._chunked = False
        return had


def interim(head: RequestHead, status: int, reason: bytes, fields: bytes) -> bytes:
    """An informational answer (RFC 9110 section 15.2); nothing in HTTP/1.0, which knows none."""
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason, fields) if head.minor else b""
