"""The head parser by itself: ours, and llhttp through httptools with what it would need on top.

``python -m benchmarks.heads`` prints a Markdown table. One core, no network: the heads are those of
``browser.lua``, twenty fields of which three change from request to request.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version

import httptools

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.framing import request_framing
from ipyproxy.http1.head import (
    HeadLimits,
    _is_taken_from_request,
    parse_request,
    request_fields_reader,
)

ROUNDS = 15
HEADS = 5000
LIMITS = HeadLimits()
FIELDS = b"""\
Host: localhost:8443
Connection: keep-alive
sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24"
sec-ch-ua-mobile: ?0
sec-ch-ua-platform: "Linux"
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36
Accept: application/json, text/javascript, */*; q=0.01
X-Requested-With: XMLHttpRequest
X-XSRFToken: 2|8f1c7a40|0d5c3f6e9b2a4187c6d0e5f1a3b29c84|1760000000
Content-Type: application/json
Sec-Fetch-Site: same-origin
Sec-Fetch-Mode: cors
Sec-Fetch-Dest: empty
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en;q=0.9,de;q=0.8
Cache-Control: no-cache
Pragma: no-cache
Cookie: _xsrf=2|8f1c7a40|0d5c3f6e9b2a4187c6d0e5f1a3b29c84|1760000000; username="2|1:0|10:17600000"
""".splitlines()

Parse = Callable[[bytes], object]


def head(number: int, mark: bytes = b"") -> bytes:
    """A head like no other: target, Referer and If-None-Match change, and with a mark all lines."""
    page = b"analysis-%d.ipynb" % (number // 64 % 100)
    lines = [*FIELDS, b"Referer: https://localhost:8443/ipython/10000/notebooks/" + page]
    lines.append(b'If-None-Match: "%d"' % (7919 * number))
    start = b"GET /ipython/10000/api/contents/%b?content=0&_=%d HTTP/1.1" % (page, number)
    return b"\r\n".join([start, *[line + mark for line in lines], b"", b""])


def changing(number: int) -> bytes:
    """What a page's own requests look like."""
    return head(number)


def afresh(number: int) -> bytes:
    """None of its lines was ever seen: nothing can be remembered."""
    return head(number, b" %d" % number)


_reader = request_fields_reader()


def ours(raw: bytes) -> object:
    """Grammar, what to pass on and what to look at, and the framing; all on one connection."""
    parsed = parse_request(raw[:-4], LIMITS, _reader)
    return parsed, request_framing(parsed)


class Bare:
    """What httptools calls: keeps the pieces."""

    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))


def bare(raw: bytes) -> object:
    """Llhttp alone: pieces, no decision."""
    sink = Bare()
    parser = httptools.HttpRequestParser(sink)
    parser.feed_data(raw)
    return parser.get_method(), sink


def filtered(raw: bytes) -> object:
    """Llhttp with what a gateway needs of it: the same lines to pass on, the same special fields.

    The checks are those of ours that llhttp does not make: characters of target and values, and
    the counts. Framing would still have to be told from the special fields.
    """
    sink = Bare()
    parser = httptools.HttpRequestParser(sink)
    parser.feed_data(raw)
    if sink.target.translate(None, _TARGET) or len(sink.target) > LIMITS.target_bytes:
        raise ProxyError(Problem.BAD_TARGET)
    if len(sink.fields) > LIMITS.head_fields:
        raise ProxyError(Problem.HEAD_TOO_LARGE)
    plain: list[bytes] = []
    special: dict[bytes, list[bytes]] = {}
    for name, value in sink.fields:
        lower = name.lower()
        value = value.strip(b" \t")
        if value.translate(None, _VALUE):
            raise ProxyError(Problem.BAD_REQUEST)
        if _is_taken_from_request(lower):
            special.setdefault(lower, []).append(value)
        else:
            plain.append(b"%b: %b" % (name, value))
    return parser.get_method(), plain, special


_VALUE = b"\t " + bytes(range(0x21, 0x7F)) + bytes(range(0x80, 0x100))
_TARGET = bytes(set(range(0x21, 0x7F)) - set(b'"<>#')) + bytes(range(0x80, 0x100))


def microseconds(parse: Parse, heads: Sequence[bytes]) -> float:
    """CPU time of one head."""
    began = time.process_time()
    for raw in heads:
        parse(raw)
    return (time.process_time() - began) / len(heads) * 1e6


def main() -> None:
    """Measure in interleaved rounds and print the medians."""
    os.sched_setaffinity(0, {0})
    parsers: dict[str, Parse] = {
        "own grammar, lines remembered (what is used)": ours,
        "llhttp through httptools, by itself": bare,
        "llhttp through httptools, with the filter": filtered,
    }
    kinds = {"changing": changing, "afresh": afresh}
    figures: dict[tuple[str, str], list[float]] = {}
    for round_ in range(ROUNDS):
        for kind, make in kinds.items():
            first = 10**9 + round_ * HEADS
            heads = [make(number) for number in range(first, first + HEADS)]
            for name, parse in parsers.items():
                figures.setdefault((name, kind), []).append(microseconds(parse, heads))
    print(f"Python {platform.python_version()}, httptools {version('httptools')}\n")
    print("| microseconds of CPU a head | three lines change | every line is new |")
    print("|---|---:|---:|")
    for name in parsers:
        cells = [statistics.median(figures[name, kind]) for kind in kinds]
        print(f"| {name} | {cells[0]:.1f} | {cells[1]:.1f} |")


if __name__ == "__main__":
    main()
