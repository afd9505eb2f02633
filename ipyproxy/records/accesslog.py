"""The access log: one line for each finished exchange or bridge.

Knows how what happened is written down. Knows nothing of files, of HTTP's grammar, nor of the
configuration file. The proxy's events go through Twisted's own logger, not through here.
"""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

_SWITCHED = 101
# A query parameter is secret if its name ends in one of these: Jupyter's and OAuth's tokens, codes
# and states, passwords, signed addresses (X-Amz-Signature), API keys.
_SECRET_ENDINGS = b"token password passwd secret signature sig key _xsrf code state".split()
# Such a parameter may also begin inside another's value, percent-encoded once or more, as in
# Jupyter's /login?next=%2Flab%3Ftoken%3D... A name that is itself percent-encoded is no browser's
# and is not decoded here: its value is taken for secret unread. No part of the pattern matches in
# two ways (*+), so that the time it takes is linear in the target's length.
_SECRET = re.compile(
    rb"([?&;%](?:"
    rb"(?:(?<!%)|(?:25)*+(?:3F|26|3B))[\w.-]++(?=[=%])(?:"
    + b"|".join(b"(?<=%b)" % ending for ending in _SECRET_ENDINGS)
    + rb")(?:=|%(?:25)*+3D)"
    rb"|(?<!%)[^?&;#%=]*+%[^?&;#=]*+="
    rb"))[^&#]*",
    re.IGNORECASE,
)
# The name of a secret ends in one of these, in lower case.
_HINTS = frozenset(ending[-2:] for ending in _SECRET_ENDINGS)


def _may_hold_secrets(query: bytes) -> bool:
    """Whether ``query`` is to be looked at closely, which takes five times as long as this."""
    if query.find(b"%") >= 0:
        return True
    query = query.lower()
    at = query.find(b"=", 2)
    while at > 0:
        if query[at - 2 : at] in _HINTS:
            return True
        at = query.find(b"=", at + 1)
    return False


def redact(target: bytes) -> bytes:
    """Put ``REDACTED`` for the values of secret query parameters of a request target or a URL."""
    query = target.find(b"?")
    if query < 0 or not (_may_hold_secrets(target[query:]) and _SECRET.search(target, query)):
        return target
    return target[:query] + _SECRET.sub(rb"\1REDACTED", target[query:])


class Entry:
    """What is remembered of a finished exchange or bridge.

    :param client: the client's address.
    :param method: empty if no head could be read; the request line is then logged as ``-``.
    :param body_bytes: bytes of the body that were sent to the client.
    :param duration: seconds from the request's first byte until its line is written.
    :param port: the upstream's, if one was asked.
    :param note: what else there is to say, such as a bridge's close code and messages. In JSON
        only, but for bridges, whose status and size alone tell nothing.
    :param bridge: a bridge's close code, and what it has carried; in JSON only.
    :param upstream: the server of an application, if one was asked; in JSON only.
    :param host: the host that was asked for, where it is one of this site's; in JSON only.
    """

    __slots__ = (
        "body_bytes", "bridge", "client", "duration", "host", "method", "note", "port", "referer",
        "status", "target", "upstream", "user", "user_agent", "version",
    )  # fmt: skip

    def __init__(
        self,
        client: str,
        user: str | None,
        method: bytes,
        target: bytes,
        version: bytes,
        status: int,
        body_bytes: int,
        referer: bytes | None,
        user_agent: bytes | None,
        duration: float,
        port: int | None = None,
        note: str = "",
        bridge: dict[str, int | str] | None = None,
        upstream: str = "",
        host: bytes = b"",
    ) -> None:
        self.client = client
        self.user = user
        self.method = method
        self.target = target
        self.version = version
        self.status = status
        self.body_bytes = body_bytes
        self.referer = referer
        self.user_agent = user_agent
        self.duration = duration
        self.port = port
        self.note = note
        self.bridge = bridge
        self.upstream = upstream
        self.host = host


FIELD_BYTES = 1024
"""Bytes that a field of a line may have: what is longer is cut, and ends in ``[cut:N]`` for N bytes
that are missing. A field with bytes that have to be escaped may have a fourth of that."""
SHORT_FIELD_BYTES = 64
"""The same, in the lines of a client that has filled the log for a while."""


class AccessLog:
    """Writes entries down as lines of Apache's combined format, or as JSON, one object a line.

    A combined line has Apache's fields, so that what reads Apache's logs reads it, and nothing
    more; only that of a bridge has its note behind them, as one more quoted field. Whatever a
    client sends, its entry is one line of printable ASCII, and of a few KiB at most.

    :param write: takes a line with its newline.
    :param wall_clock: seconds since the epoch, as by :func:`time.time`.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        line_format: Literal["combined", "json"],
        wall_clock: Callable[[], float],
    ) -> None:
        self._write = write
        self._line = self._json if line_format == "json" else self._combined
        self._wall_clock = wall_clock
        self._second = -1
        self._stamp = b""

    def record(self, entry: Entry, most: int = FIELD_BYTES) -> int:
        """Write ``entry`` down. Its time is that of the request's start, as in Apache's logs.

        :param most: bytes that each field may have.
        :returns: how many the whole line has.
        """
        line = self._line(entry, most)
        self._write(line)
        return len(line)

    def _combined(self, entry: Entry, most: int) -> bytes:
        began = int(self._wall_clock() - entry.duration)
        if began != self._second:
            self._second = began
            self._stamp = _stamp(began)
        request = b"-"
        if entry.method:
            target = _address(entry.target, most)
            request = b"%b %b %b" % (_cut(entry.method, most), target, entry.version)
        referer = b"-" if entry.referer is None else _address(entry.referer, most)
        agent = b"-" if entry.user_agent is None else _agent(entry.user_agent, most)
        if (request + referer).translate(None, _PLAIN):
            request, referer = _quoted(request), _quoted(referer)
        line = b'%b - %b [%b] "%b" %d %b "%b" "%b"\n' % (
            _word(entry.client, most),
            _word(entry.user, most) if entry.user else b"-",
            self._stamp,
            request,
            entry.status,
            b"%d" % entry.body_bytes if entry.body_bytes else b"-",
            referer,
            agent,
        )
        if entry.status == _SWITCHED:
            note = _quoted(_cut(entry.note.encode("ascii", "backslashreplace"), most))
            return b'%b "%b"\n' % (line[:-1], note)
        return line

    def _json(self, entry: Entry, most: int) -> bytes:
        began = datetime.fromtimestamp(self._wall_clock() - entry.duration, UTC).astimezone()
        referer = entry.referer
        document: dict[str, object] = {
            "time": began.isoformat(timespec="milliseconds"),
            "client": _text(entry.client.encode("utf-8", "backslashreplace"), most),
            "user": entry.user and _text(entry.user.encode("utf-8", "backslashreplace"), most),
            "method": _text(entry.method, most),
            "host": _text(entry.host, most) if entry.host else None,
            "target": _decoded(_address(entry.target, most)),
            "version": _text(entry.version, most),
            "status": entry.status,
            "body_bytes": entry.body_bytes,
            "referer": None if referer is None else _decoded(_address(referer, most)),
            "user_agent": None if entry.user_agent is None else _text(entry.user_agent, most),
            "duration": round(entry.duration, 6),
            "port": entry.port,
            "note": _text(entry.note.encode("utf-8", "backslashreplace"), most),
            "bridge": entry.bridge,
        }
        if entry.upstream:
            document["upstream"] = entry.upstream
        return json.dumps(document).encode("ascii") + b"\n"


_MONTHS = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def _stamp(second: int) -> bytes:
    """Apache's ``%t``: local time and its offset from UTC, in English whatever the locale."""
    at = time.localtime(second)
    sign = b"-" if at.tm_gmtoff < 0 else b"+"
    hours, minutes = divmod(abs(at.tm_gmtoff) // 60, 60)
    return b"%02d/%b/%04d:%02d:%02d:%02d %b%02d%02d" % (
        at.tm_mday,
        _MONTHS[at.tm_mon - 1],
        at.tm_year,
        at.tm_hour,
        at.tm_min,
        at.tm_sec,
        sign,
        hours,
        minutes,
    )


# Apache's ap_escape_logitem, for each byte: what is not printable ASCII, quotes and backslashes.
_ESCAPED = [b"%c" % byte if 0x20 <= byte < 0x7F else rb"\x%02x" % byte for byte in range(0x100)]
for _byte, _letter in zip(b'\b\n\r\t\v"\\', b'bnrtv"\\', strict=True):
    _ESCAPED[_byte] = b"\\%c" % _letter
_PLAIN = bytes(byte for byte in range(0x100) if len(_ESCAPED[byte]) == 1)


def _quoted(value: bytes) -> bytes:
    return b"".join([_ESCAPED[byte] for byte in value])


def _cut(value: bytes, most: int) -> bytes:
    """``value`` as far as it goes into ``most`` bytes of a line, and how many bytes are missing."""
    if len(value) * 4 <= most:
        return value
    kept = _fitting(value, most)
    return value if kept == len(value) else b"%b[cut:%d]" % (value[:kept], len(value) - kept)


def _address(value: bytes, most: int) -> bytes:
    """The same of a target or a Referer, without its secrets.

    It is cut first, since to look for secrets takes time. None is missed, for its name comes
    before it; but with many short ones for which ``REDACTED`` stands, it gets longer again.
    """
    if len(value) * 4 <= most:
        return redact(value)
    kept = _fitting(value, most)
    if kept == len(value):
        return redact(value)
    return b"%b[cut:%d]" % (redact(value[:kept]), len(value) - kept)


def _fitting(value: bytes, most: int) -> int:
    """How many bytes of ``value`` go into ``most`` bytes of a line."""
    return min(len(value), most // 4 if value.translate(None, _PLAIN) else most)


def _agent(value: bytes, most: int) -> bytes:
    """A User-Agent as it stands between quotes; browsers send the same again and again."""
    return _short_agent(value) if len(value) * 4 <= most else _quoted(_cut(value, most))


@lru_cache(maxsize=256)
def _short_agent(value: bytes) -> bytes:
    return _quoted(value)


def _word(text: str, most: int) -> bytes:
    """One field of a combined line that stands without quotes, and so must hold no blank."""
    return _short_word(text) if len(text) * 4 <= most else _spell(text, most)


@lru_cache(maxsize=256)
def _short_word(text: str) -> bytes:
    return _spell(text, FIELD_BYTES)


def _spell(text: str, most: int) -> bytes:
    word = _cut(text.encode("utf-8", "backslashreplace"), most)
    return _quoted(word).replace(b" ", rb"\x20")


def _text(value: bytes, most: int) -> str:
    return _decoded(_cut(value, most))


def _decoded(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
