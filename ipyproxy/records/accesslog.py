"""The access log: one line for each finished exchange or bridge.

Knows the facts of a request, and how to format them. Knows nothing of files or of the
configuration. The proxy's events go through Twisted's logger instead.
"""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

from ipyproxy.server.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable

_SWITCHED: Final = 101
_VERSIONS: Final = (b"HTTP/1.0", b"HTTP/1.1")
# A query parameter is secret if its name ends in one of these: Jupyter's and OAuth's tokens, codes
# and states, passwords, signed addresses (X-Amz-Signature), API keys.
_SECRET_ENDINGS: Final = b"token password passwd secret signature sig key _xsrf code state".split()
# Such a parameter may also be inside another one's value, percent-encoded once or more, as in
# Jupyter's /login?next=%2Flab%3Ftoken%3D... Browsers never percent-encode the name itself; such a
# name is not decoded here, and its value counts as secret. No part of the pattern matches in two
# ways (*+), so that its time is linear in the target's length.
_SECRET: Final = re.compile(
    rb"([?&;%](?:"
    rb"(?:(?<!%)|(?:25)*+(?:3F|26|3B))[\w.-]++(?=[=%])(?:"
    + b"|".join(b"(?<=%b)" % ending for ending in _SECRET_ENDINGS)
    + rb")(?:=|%(?:25)*+3D)"
    rb"|(?<!%)[^?&;#%=]*+%[^?&;#=]*+="
    rb"))[^&#]*",
    re.IGNORECASE,
)
# That search takes five times as long as a check for a percent sign, or for a name whose last two
# letters are those of a secret's name.
_LAST: Final = b"".join([ending[-2:] + ending[-2:].upper() for ending in _SECRET_ENDINGS])
_HINT: Final = re.compile(rb"[=%%](?:(?<=%%)|(?<=[%b][%b]=))" % (_LAST[::2], _LAST[1::2]))


def redact(target: bytes) -> bytes:
    """Replace the values of secret query parameters in a request target or URL by ``REDACTED``."""
    query = target.find(b"?")
    if query < 0 or not (_HINT.search(target, query) and _SECRET.search(target, query)):
        return target
    return target[:query] + _SECRET.sub(rb"\1REDACTED", target[query:])


FIELD_BYTES: Final = 1024
"""Most bytes of a field in a line. A longer one is cut, and ends in ``[cut:N]`` for N missing
bytes. If bytes have to be escaped, the limit is a fourth of that."""
SHORT_FIELD_BYTES: Final = 64
"""The same for a client that has written many long lines."""
SHORT_LINE_BYTES: Final = 384
"""A line with fields that short has about so many bytes."""


class AccessLog:
    """Formats requests as lines in Apache's combined format, or as JSON, one object for each line.

    A combined line has Apache's fields only, so that all tools for Apache's logs can read it. Only
    the line of a bridge has one more quoted field behind them, because its status and size alone
    say nothing. JSON has more: the upstream's port or name, and a bridge's traffic. Each request
    gets one line of printable ASCII, of a few KiB at most, whatever the client sends.

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

    def record(self, request: Request, duration: float, most: int = FIELD_BYTES) -> int:
        """Write the line of ``request``.

        Its time is that of the request's start, as in Apache's logs.

        :param duration: seconds since it began.
        :param most: most bytes of each field.
        :returns: how many bytes the line has.
        """
        line = self._line(request, duration, most)
        self._write(line)
        return len(line)

    def _combined(self, request: Request, duration: float, most: int) -> bytes:
        began = int(self._wall_clock() - duration)
        if began != self._second:
            self._second = began
            self._stamp = _stamp(began)
        head = request.head
        asked = b"-"
        if head.method:  # empty if no head could be read
            target = _address(head.target, most)
            asked = b"%b %b %b" % (_cut(head.method, most), target, _VERSIONS[head.minor])
        fields = head.fields
        referer = _address(fields.loose[0], most) if fields.loose else b"-"
        agents = fields.special.get(b"user-agent")
        if (asked + referer).translate(None, _PLAIN):
            asked, referer = _quoted(asked), _quoted(referer)
        sent = request.body_bytes_sent
        line = b'%b - %b [%b] "%b" %d %b "%b" "%b"\n' % (
            _word(request.client, most),
            _word(request.user, most) if request.user else b"-",
            self._stamp,
            asked,
            request.status,
            b"%d" % sent if sent else b"-",
            referer,
            _agent(agents[0], most) if agents else b"-",
        )
        if request.status == _SWITCHED:
            note = _quoted(_cut(request.note.encode("ascii", "backslashreplace"), most))
            return b'%b "%b"\n' % (line[:-1], note)
        return line

    def _json(self, request: Request, duration: float, most: int) -> bytes:
        began = datetime.fromtimestamp(self._wall_clock() - duration, UTC).astimezone()
        head, user, upstream = request.head, request.user, request.upstream
        host = request.public.partition(b"://")[2]
        referer, agent = head.fields.loose, head.fields.first(b"user-agent")
        document: dict[str, object] = {
            "time": began.isoformat(timespec="milliseconds"),
            "client": _text(request.client.encode("utf-8", "backslashreplace"), most),
            "user": user and _text(user.encode("utf-8", "backslashreplace"), most),
            "method": _text(head.method, most),
            "host": _text(host, most) if host else None,
            "target": _decoded(_address(head.target, most)),
            "version": _text(_VERSIONS[head.minor], most),
            "status": request.status,
            "body_bytes": request.body_bytes_sent,
            "referer": _decoded(_address(referer[0], most)) if referer else None,
            "user_agent": None if agent is None else _text(agent, most),
            "duration": round(duration, 6),
            "port": None if upstream is None else upstream.port,
            "note": _text(request.note.encode("utf-8", "backslashreplace"), most),
            "bridge": request.bridge,
        }
        if upstream is not None and upstream.port is None:
            document["upstream"] = upstream.name
        return json.dumps(document).encode("ascii") + b"\n"


_MONTHS: Final = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def _stamp(second: int) -> bytes:
    """Apache's ``%t``: local time and its offset from UTC, in English in every locale."""
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


# Apache's ap_escape_logitem, for each byte: escapes non-printable bytes, quotes and backslashes.
_ESCAPED: Final = [
    b"%c" % byte if 0x20 <= byte < 0x7F else rb"\x%02x" % byte for byte in range(0x100)
]
for _byte, _letter in zip(b'\b\n\r\t\v"\\', b'bnrtv"\\', strict=True):
    _ESCAPED[_byte] = b"\\%c" % _letter
_PLAIN: Final = bytes(byte for byte in range(0x100) if len(_ESCAPED[byte]) == 1)


def _quoted(value: bytes) -> bytes:
    return b"".join([_ESCAPED[byte] for byte in value])


def _cut(value: bytes, most: int) -> bytes:
    """``value``, cut to ``most`` bytes of a line, and how many bytes are missing."""
    if len(value) * 4 <= most:
        return value
    kept = _fitting(value, most)
    return value if kept == len(value) else b"%b[cut:%d]" % (value[:kept], len(value) - kept)


def _address(value: bytes, most: int) -> bytes:
    """The same for a target or a Referer, with secrets redacted.

    It is cut first, since the search for secrets takes time. None is missed, because its name
    precedes it. Many short secrets, replaced by ``REDACTED``, may make it longer again.
    """
    if len(value) * 4 <= most:
        return redact(value)
    kept = _fitting(value, most)
    if kept == len(value):
        return redact(value)
    return b"%b[cut:%d]" % (redact(value[:kept]), len(value) - kept)


def _fitting(value: bytes, most: int) -> int:
    """How many bytes of ``value`` fit into ``most`` bytes of a line."""
    return min(len(value), most // 4 if value.translate(None, _PLAIN) else most)


def _agent(value: bytes, most: int) -> bytes:
    """A User-Agent, escaped for quotes; cached, since browsers always send the same one."""
    return _short_agent(value) if len(value) * 4 <= most else _quoted(_cut(value, most))


@lru_cache(maxsize=256)
def _short_agent(value: bytes) -> bytes:
    return _quoted(value)


def _word(text: str, most: int) -> bytes:
    """A field of a combined line without quotes, which must not contain blanks."""
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
