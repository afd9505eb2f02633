"""What notebooks answer: every kind of answer, and every way that is known to bend one.

``evil`` is in what must never be taken for an answer to anybody.
"""

from __future__ import annotations

from typing import NamedTuple

from .requests import message

EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
OK = b"HTTP/1.1 200 OK"
CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"Content-Length: 5"
CHUNKS = b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"


class Answer(NamedTuple):
    """What a notebook sends before it closes its connection, and what the client then has.

    ``whole`` says whether the client takes what it has for all of it.
    """

    name: str
    raw: bytes
    statuses: tuple[int, ...] = (200,)
    body: bytes = b"hello"
    whole: bool = True
    method: bytes = b"GET"


def broken(name: str, raw: bytes) -> Answer:
    """One that the client is told about, and gets nothing of."""
    return Answer(name, raw + EVIL, (502,), b"")


def cut(name: str, raw: bytes, body: bytes) -> Answer:
    """One that breaks off or breaks down within its body."""
    return Answer(name, raw, body=body, whole=False)


def head(*lines: bytes) -> Answer:
    """A head that is refused for one of its lines."""
    return broken(repr(b" ".join(lines).decode("latin-1"))[1:60], message(OK, *lines))


def start(line: bytes) -> Answer:
    """A head that is refused for its first line."""
    return broken(repr(line.decode("latin-1"))[1:60], message(line, LENGTH) + b"hello")


def none(name: str, raw: bytes, status: int, method: bytes = b"GET") -> Answer:
    """One without a body."""
    return Answer(name, raw, (status,), b"", method=method)


WHOLE = [
    Answer("of a length", message(OK, LENGTH, body=b"hello")),
    Answer("in chunks", message(OK, CHUNKED, body=CHUNKS)),
    Answer("in chunks, with trailers", message(OK, CHUNKED, body=CHUNKS[:-2] + b"X: y\r\n\r\n")),
    Answer("until it closes", message(OK, body=b"hello")),
    Answer("until it closes, HTTP/1.0", message(b"HTTP/1.0 200 OK", body=b"hello")),
    Answer("of a length said twice", message(OK, LENGTH, LENGTH, body=b"hello")),
    Answer("of a list of equal lengths", message(OK, b"Content-Length: 5, 5", body=b"hello")),
    Answer("in chunks with padded sizes",
           message(OK, CHUNKED, body=b"2  \r\nhe\r\n3\t\r\nllo\r\n0 \r\n\r\n")),
    Answer("no reason", message(b"HTTP/1.1 200 ", LENGTH, body=b"hello")),
    Answer("no space either", message(b"HTTP/1.1 200", LENGTH, body=b"hello")),
    Answer("a status of its own", message(b"HTTP/1.1 799 Odd", LENGTH, body=b"hello"), (799,)),
    Answer("raw bytes in the reason", message(b"HTTP/1.1 200 \xff", LENGTH, body=b"hello")),
    Answer("an interim answer", message(b"HTTP/1.1 103 Early") + message(OK, LENGTH, body=b"hello"),
           (103, 200)),
    Answer("interim answers", message(b"HTTP/1.1 100 Go") + message(b"HTTP/1.1 102 Wait", b"X: y")
           + message(OK, LENGTH, body=b"hello"), (100, 102, 200)),
    none("of length 0", message(OK, b"Content-Length: 0"), 200),
    none("no chunks", message(OK, CHUNKED, body=b"0\r\n\r\n"), 200),
    none("no content", message(b"HTTP/1.1 204 No Content"), 204),
    none("no content, of a length", message(b"HTTP/1.1 204 No Content", LENGTH), 204),
    none("not modified", message(b"HTTP/1.1 304 Not Modified", LENGTH), 304),
    none("to HEAD", message(OK, LENGTH), 200, b"HEAD"),
    none("to HEAD, in chunks", message(OK, CHUNKED), 200, b"HEAD"),
    Answer("more than its length", message(OK, LENGTH, body=b"hello") + EVIL),
    Answer("more than its chunks", message(OK, CHUNKED, body=CHUNKS) + EVIL),
    none("a body to HEAD", message(OK, LENGTH) + EVIL, 200, b"HEAD"),
    none("a body of no content", message(b"HTTP/1.1 204 No Content") + EVIL, 204),
    none("a body of not modified", message(b"HTTP/1.1 304 Not Modified", CHUNKED) + EVIL, 304),
]  # fmt: skip

STARTS = [
    start(line)
    for line in (
        b"", b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 2x0 OK",
        b"HTTP/1.1 099 OK", b"HTTP/1.1 +20 OK", b"HTTP/1.1  200 OK", b"HTTP/1.1\t200 OK",
        b"HTTP/2.0 200 OK", b"HTTP/1.2 200 OK", b"HTTP/0.9 200 OK", b"http/1.1 200 OK",
        b"ICY 200 OK", b"SSH-2.0-OpenSSH_9.2", b" HTTP/1.1 200 OK", b"HTTP/1.1 200 O\0K",
        b"HTTP/1.1 200 O\rK", b"HTTP/1.1 200 O\nK", b"HTTP/1.1 200 \x7f", b"220 mail.example ESMTP",
        "HTTP/1.1 ٢٠٠ OK".encode(),
    )
]  # fmt: skip

HEADS = [
    head(*lines)
    for lines in (
        [LENGTH, CHUNKED], [CHUNKED, LENGTH], [LENGTH, b"Content-Length: 6"],
        [b"Content-Length: 5, 6"], [b"Content-Length: 5, 05"], [b"Content-Length: +5"],
        [b"Content-Length: -1"], [b"Content-Length: 0x5"], [b"Content-Length: 5_0"],
        [b"Content-Length:"],
        [b"Content-Length: 5 5"], [b"Content-Length: 18446744073709551621"],
        [b"Transfer-Encoding: gzip"], [b"Transfer-Encoding: chunked, identity"],
        [b"Transfer-Encoding: xchunked"], [CHUNKED, CHUNKED], [b"Transfer-Encoding:"],
        [b"X : y"], [b" X: y"], [b"X: y", b" z"], [b"X"], [b": y"], [b"X: a\0b"], [b"X: a\rb"],
        [b"X: a\nSet-Cookie: b"], [b"X Y: z"], [b"Location: /\r/"], [b"Location: /\n/"],
        [b"Transfer-Encoding\x0b: chunked"], [b"Content-Length\xa0: 5"],
    )
] + [
    broken("bare LF throughout", message(OK, LENGTH, body=b"hello").replace(b"\r\n", b"\n")),
    broken("HTTP/1.0 in chunks", message(b"HTTP/1.0 200 OK", CHUNKED, body=CHUNKS)),
    broken("a head over the limit", message(OK, b"X: " + b"y" * 70000)),
    Answer("a head without end", OK + b"\r\nX: " + b"y" * 70000, (502,), b""),
    Answer("half a head", OK + b"\r\nX: y\r\n", (502,), b""),
    Answer("nothing", b"", (502,), b""),
    broken("a switch that nobody asked for", message(b"HTTP/1.1 101 Switching", b"Upgrade: x")),
    Answer("an interim answer alone", message(b"HTTP/1.1 103 Early"), (103, 502), b""),
    Answer("a broken one behind an interim one", message(b"HTTP/1.1 103 Early") + b"x\r\n\r\n",
           (103, 502), b""),
]  # fmt: skip

CUT = [
    cut("within its length", message(OK, b"Content-Length: 9", body=b"hello"), b"hello"),
    cut("before its length", message(OK, LENGTH), b""),
    cut("within a chunk", message(OK, CHUNKED, body=b"9\r\nhello"), b"hello"),
    cut("behind a chunk", message(OK, CHUNKED, body=b"5\r\nhello\r\n"), b"hello"),
    cut("before the last CRLF", message(OK, CHUNKED, body=CHUNKS[:-2]), b"hello"),
    cut("before the chunks", message(OK, CHUNKED), b""),
    cut("no size", message(OK, CHUNKED, body=b"5\r\nhello\r\nx\r\n") + EVIL, b"hello"),
    cut("chunk too long", message(OK, CHUNKED, body=b"5\r\nhello!\r\n") + EVIL, b"hello"),
    cut("bare LF", message(OK, CHUNKED, body=b"5\r\nhello\n0\r\n\r\n") + EVIL, b"hello"),
    cut("size beyond 64 bits", message(OK, CHUNKED, body=b"1" + b"0" * 16 + b"\r\nevil"), b""),
    cut("a broken trailer", message(OK, CHUNKED, body=CHUNKS[:-2] + b"X\r\n\r\n"), b"hello"),
]

GROUPS = {"whole": WHOLE, "first line": STARTS, "head": HEADS, "cut": CUT}
RESPONSES = [
    case._replace(name=f"{group}: {case.name}") for group, cases in GROUPS.items() for case in cases
]
