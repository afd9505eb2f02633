"""What clients send: every kind of request, and every way that is known to bend one.

The same bytes go through the server in memory cut at every place, through fuzzers as seeds, and
through live proxies side by side. The port 10000 stands for a served one; ``smuggled`` is in the
target of a request that must never be seen as one.

The file is long because it is one table: a line for each request, with what becomes of it.
"""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """What a client sends on one connection, and the statuses of all answers to it."""

    name: str
    raw: bytes
    answers: tuple[int, ...]


HEAD_BYTES = 32768
"""The default of ``limits.head_bytes``."""
HOST = b"Host: localhost"
TARGET = b"/ipython/10000/x"
GET = b"GET " + TARGET + b" HTTP/1.1"
POST = b"POST " + TARGET + b" HTTP/1.1"
CLOSE = b"Connection: close"
CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"Content-Length: 5"
SMUGGLED = b"GET /ipython/10000/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
TEN = b"0123456789"
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"


def message(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([*lines, b"", b""]) + body


def get(*fields: bytes, target: bytes = TARGET, host: bytes = HOST) -> bytes:
    return message(b"GET " + target + b" HTTP/1.1", host, *fields, CLOSE)


def post(*fields: bytes, body: bytes = b"hello") -> bytes:
    return message(POST, HOST, *fields, CLOSE, body=body)


def get_1_0(*fields: bytes) -> bytes:
    return message(b"GET " + TARGET + b" HTTP/1.0", HOST, *fields)


def post_1_0(*fields: bytes) -> bytes:
    return message(b"POST " + TARGET + b" HTTP/1.0", HOST, *fields)


def chunks(stream: bytes) -> bytes:
    return post(CHUNKED, body=stream)


def passed(name: str, raw: bytes) -> Case:
    return Case(name, raw, (200,))


def refused(name: str, raw: bytes, status: int = 400) -> Case:
    return Case(name, raw, (status,))


def first_line(name: str, line: bytes, status: int = 400) -> Case:
    return refused(name, message(line, HOST, CLOSE) + SMUGGLED, status)


def field(name: str, *lines: bytes, status: int = 400) -> Case:
    return refused(name, message(GET, HOST, *lines) + SMUGGLED, status)


def framing(name: str, *fields: bytes, status: int = 400) -> Case:
    return refused(name, message(POST, HOST, *fields, body=CHUNKS) + SMUGGLED, status)


def bad_chunks(name: str, stream: bytes) -> Case:
    return refused(name, message(POST, HOST, CHUNKED, body=stream) + SMUGGLED)


ORDINARY = [
    passed("get", get()),
    passed("get, kept open", message(GET, HOST)),
    passed("fields of a browser", get(b"Accept: */*", b"User-Agent: x", b"X-XSRFToken: 2|a|b|1")),
    passed("white space around values", get(b"X:\t  a b\t ", b"Y:", b"Z:c")),
    passed("raw bytes in a value", get("X: Übung".encode(), b"Y: \xff\x85\xa0")),
    passed("the same field twice", get(b"X: 1", b"X: 2")),
    passed("a field with odd characters", get(b"!#$%&'*+-.^_`|~: 1")),
    passed("body of stated length", post(LENGTH)),
    passed("length with leading zeros", post(b"Content-Length: 0005")),
    passed("length 0", post(b"Content-Length: 0", body=b"")),
    passed("post without a body", post(body=b"")),
    passed("get with a body", get(LENGTH) + b"hello"),
    passed("chunks", chunks(CHUNKS)),
    passed("chunks, coding in capitals", post(b"TRANSFER-ENCODING: CHUNKED", body=CHUNKS)),
    passed("no chunks", chunks(b"0\r\n\r\n")),
    passed("many chunks", chunks(b"1\r\na\r\n" * 20 + b"000\r\n\r\n")),
    passed("sizes in both cases", chunks(b"00a\r\n%b\r\nA\r\n%b\r\n0\r\n\r\n" % (TEN, TEN))),
    passed("chunk extensions", chunks(b'5;a=b;c="d;\\"" ; e\r\nhello\r\n0;f\r\n\r\n')),
    passed("trailers", chunks(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")),
    passed("trailers that frame", chunks(b"0\r\nContent-Length: 9\r\nHost: x\r\n\r\n")),
    passed("expectation", post(LENGTH, b"Expect: 100-continue")),
    passed("an empty line first", b"\r\n" + get()),
    passed("empty lines first", b"\r\n\r\n\r\n" + get()),
    passed("another method", message(b"QUERY " + TARGET + b" HTTP/1.1", HOST, CLOSE)),
    passed("HTTP/1.0 with Host", get_1_0()),
    passed("HTTP/1.0 with a body", post_1_0(LENGTH) + b"hello"),
    passed("upgrade to h2c", get(b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")),
    passed("upgrade to nothing", get(b"Upgrade: websocket", b"Sec-WebSocket-Version: 13")),
]  # fmt: skip

PIPELINES = [
    Case("two", message(GET, HOST) + get(), (200, 200)),
    Case("three with bodies", message(POST, HOST, LENGTH) + b"hello"
         + message(POST, HOST, CHUNKED) + CHUNKS + get(), (200, 200, 200)),
    Case("an empty line after a body", message(POST, HOST, LENGTH) + b"hello\r\n" + get(),
         (200, 200)),
    Case("nothing after close", get() + SMUGGLED, (200,)),
    Case("nothing after HTTP/1.0", get_1_0() + SMUGGLED, (200,)),
    Case("HTTP/1.0, kept open", get_1_0(b"Connection: keep-alive") + get(), (200, 200)),
    Case("a bad one behind a good one", message(GET, HOST) + message(b"GET /\0 HTTP/1.1", HOST)
         + SMUGGLED, (200, 400)),
    Case("h2c preface", message(GET, HOST, b"Upgrade: h2c") + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
         (200, 505)),
    Case("a request within a body", post(b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
         (200,)),
    Case("length shorter than the body", message(POST, HOST, b"Content-Length: 4")
         + b"hello\r\n\r\n" + SMUGGLED, (200, 400)),
    Case("unread body of a refused request", message(b"POST /ipython/22/ HTTP/1.1", HOST,
         b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED) + SMUGGLED, (404,)),
]  # fmt: skip

FIRST_LINES = [
    first_line("no words", b""),
    first_line("one word", b"GET"),
    first_line("HTTP/0.9", b"GET " + TARGET),
    first_line("two spaces", b"GET  " + TARGET + b" HTTP/1.1"),
    first_line("two spaces before the version", b"GET " + TARGET + b"  HTTP/1.1"),
    first_line("tabs", b"GET\t" + TARGET + b"\tHTTP/1.1"),
    first_line("space first", b" " + GET),
    first_line("space last", GET + b" "),
    first_line("space in the target", b"GET /ipython/10000/a b HTTP/1.1"),
    first_line("vertical tab", b"GET\x0b" + TARGET + b"\x0bHTTP/1.1"),
    first_line("bare CR in it", b"GET " + TARGET + b"\rX HTTP/1.1"),
    first_line("bare CR at its end", GET + b"\r"),
    first_line("NUL in the method", b"G\0T " + TARGET + b" HTTP/1.1"),
    first_line("NUL in the target", b"GET /ipython/10000/\0 HTTP/1.1"),
    first_line("control character in the target", b"GET /ipython/10000/\x1f HTTP/1.1"),
    first_line("DEL in the target", b"GET /ipython/10000/\x7f HTTP/1.1"),
    first_line("fragment", b"GET " + TARGET + b"#top HTTP/1.1"),
    first_line("quote", b"GET " + TARGET + b'?"x" HTTP/1.1'),
    first_line("angle brackets", b"GET " + TARGET + b"?<script> HTTP/1.1"),
    first_line("method with a colon", b"GET: " + TARGET + b" HTTP/1.1"),
    first_line("method with raw bytes", "GÉT ".encode() + TARGET + b" HTTP/1.1"),
    first_line("lower-case version", b"GET " + TARGET + b" http/1.1"),
    first_line("other protocol", b"GET " + TARGET + b" ICAP/1.1"),
    first_line("version with more digits", b"GET " + TARGET + b" HTTP/1.10"),
    first_line("version with a comma", b"GET " + TARGET + b" HTTP/1,1"),
    first_line("version 0.9", b"GET " + TARGET + b" HTTP/0.9", 505),
    first_line("version 1.2", b"GET " + TARGET + b" HTTP/1.2", 505),
    first_line("version 2.0", b"GET " + TARGET + b" HTTP/2.0", 505),
    refused("bare LF first", b"\n" + get()),
    refused("bare CR first", b"\r" + get()),
    refused("bare LF throughout", get().replace(b"\r\n", b"\n")),
    refused("bare LF after the first line", GET + b"\n" + HOST + b"\r\n\r\n" + SMUGGLED),
    refused("a TLS handshake inside", b"\x16\x03\x01\0\xa5\x01\0\0\xa1\x03\x03\r\n\r\n"),
    refused("long target", get(target=TARGET + b"a" * 8192), 414),
    refused("long target without end", b"GET /" + b"a" * (HEAD_BYTES + 100), 414),
    refused(
        "target over the limit of the head", get(target=TARGET + b"a" * (HEAD_BYTES + 4000)), 414
    ),
]

FIELDS = [
    field("no colon", b"X"),
    field("no name", b": x"),
    field("space before the colon", b"X : y"),
    field("tab before the colon", b"Transfer-Encoding\t: chunked"),
    field("space before the colon of framing", b"Content-Length : 60"),
    field("space first", b" X: y"),
    field("folded", b"X: y", b" z"),
    field("folded with a tab", b"X: y", b"\tTransfer-Encoding: chunked"),
    field("folded host", b"X: y", b" Host: evil"),
    field("folded to nothing", b"X: y", b" "),
    field("space in a name", b"X Y: z"),
    field("NUL in a name", b"X\0: y"),
    field("raw bytes in a name", "Über: y".encode()),
    field("no-break space in a name", b"Transfer-Encoding\xa0: chunked"),
    field("vertical tab before the colon", b"Transfer-Encoding\x0b: chunked"),
    field("brackets in a name", b"[X]: y"),
    field("slash in a name", b"X/Y: z"),
    field("NUL in a value", b"X: a\0b"),
    field("bare CR in a value", b"X: a\rb"),
    field("bare CR at the end of a value", b"X: a\r"),
    field("bare CR hides framing", b"X: a\rTransfer-Encoding: chunked"),
    field("bare LF in a value", b"X: a\nb"),
    field("bare LF hides framing", b"X: a\nTransfer-Encoding: chunked"),
    field("bare LF ends the head early", b"X: a\n\nGET /ipython/10000/smuggled HTTP/1.1\nHost: b"),
    field("vertical tab in a value", b"X: \x0bchunked"),
    field("form feed in a value", b"X: a\x0c"),
    field("escape in a value", b"X: \x1b[2J"),
    field("DEL in a value", b"X: \x7f"),
    field("another request line", GET),
    refused("no CR at the very end", message(GET, HOST)[:-2] + b"X: y\n\r\n\r\n"),
    refused("too many", get(*[b"X-%d: y" % n for n in range(101)]), 431),
    passed("at the limit", get(b"X: " + b"a" * (HEAD_BYTES - len(get(b"X: ")) + 4))),
    refused("over the limit", get(b"X: " + b"a" * (HEAD_BYTES + 1 - len(get(b"X: ")) + 4)), 431),
    refused("too long", get(b"X: " + b"a" * (HEAD_BYTES + 4000)), 431),
    refused("without end", message(GET, HOST)[:-2] + b"X: " + b"a" * (HEAD_BYTES + 100), 431),
]

FRAMINGS = [
    framing("length and coding", LENGTH, CHUNKED),
    framing("coding and length", CHUNKED, LENGTH),
    framing("coding and length 0", CHUNKED, b"Content-Length: 0"),
    framing("coding and empty length", CHUNKED, b"Content-Length:"),
    framing("identity and length", b"Transfer-Encoding: identity", LENGTH),
    framing("empty coding and length", b"Transfer-Encoding:", LENGTH),
    framing("two lengths", LENGTH, b"Content-Length: 6"),
    framing("two equal lengths", LENGTH, LENGTH),
    framing("two lengths in one", b"Content-Length: 5, 6"),
    framing("two equal lengths in one", b"Content-Length: 5, 5"),
    framing("length with a comma", b"Content-Length: 5,"),
    framing("length with a sign", b"Content-Length: +5"),
    framing("length below zero", b"Content-Length: -5"),
    framing("length in hexadecimal", b"Content-Length: 0x5"),
    framing("length with an underscore", b"Content-Length: 5_0"),
    framing("length with a space inside", b"Content-Length: 5 5"),
    framing("length with a point", b"Content-Length: 5.0"),
    framing("length in quotes", b'Content-Length: "5"'),
    framing("length with letters", b"Content-Length: 5a"),
    framing("empty length", b"Content-Length:"),
    framing("length in Arabic digits", "Content-Length: ٥".encode()),
    framing("length with a no-break space", b"Content-Length: \xa05"),
    framing("length with NEL", b"Content-Length: 5\x85"),
    framing("length with a vertical tab", b"Content-Length: \x0b5"),
    framing("length over 2**63", b"Content-Length: 9223372036854775813"),
    framing("length over 2**64", b"Content-Length: 18446744073709551621"),
    framing("chunked twice", CHUNKED, CHUNKED, status=501),
    framing("chunked twice in one", b"Transfer-Encoding: chunked, chunked", status=501),
    framing("chunked with a comma", b"Transfer-Encoding: chunked,", status=501),
    framing("chunked after a comma", b"Transfer-Encoding: ,chunked", status=501),
    framing("chunked with a parameter", b"Transfer-Encoding: chunked;q=1", status=501),
    framing("chunked with a semicolon", b"Transfer-Encoding: chunked;", status=501),
    framing("chunked, identity", b"Transfer-Encoding: chunked, identity", status=501),
    framing("identity, chunked", b"Transfer-Encoding: identity, chunked", status=501),
    framing("chunked, then identity", CHUNKED, b"Transfer-Encoding: identity", status=501),
    framing("gzip, chunked", b"Transfer-Encoding: gzip, chunked", status=501),
    framing("gzip", b"Transfer-Encoding: gzip", status=501),
    framing("identity", b"Transfer-Encoding: identity", status=501),
    framing("xchunked", b"Transfer-Encoding: xchunked", status=501),
    framing("chunkedx", b"Transfer-Encoding: chunkedx", status=501),
    framing("quoted chunked", b'Transfer-Encoding: "chunked"', status=501),
    framing("empty coding", b"Transfer-Encoding:", status=501),
    framing("chunked after a vertical tab", b"Transfer-Encoding: \x0bchunked"),
    framing("chunked after a no-break space", b"Transfer-Encoding: \xa0chunked", status=501),
    framing("chunked on a second line", b"Transfer-Encoding:", b" chunked"),
    refused("chunked in HTTP/1.0", post_1_0(CHUNKED, b"Connection: keep-alive") + CHUNKS),
    Case("coding with an underscore", message(POST, HOST, b"Transfer_Encoding: chunked") + CHUNKS
         + SMUGGLED, (200, 400)),
    Case("framing named in Connection", message(POST, HOST, LENGTH,
         b"Connection: close, content-length, transfer-encoding, host") + b"hello", (200,)),
]  # fmt: skip

CHUNK_STREAMS = [
    bad_chunks("size with a sign", b"+5\r\nhello\r\n0\r\n\r\n"),
    bad_chunks("size below zero", b"-5\r\nhello\r\n0\r\n\r\n"),
    bad_chunks("size with 0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
    bad_chunks("size with an underscore", b"0_5\r\nhello\r\n0\r\n\r\n"),
    bad_chunks("size with other letters", b"5g\r\nhello\r\n0\r\n\r\n"),
    bad_chunks("space before a size", b" 5\r\nhello\r\n0\r\n\r\n"),
    bad_chunks("space after a size", b"5 \r\nhello\r\n0\r\n\r\n"),
    bad_chunks("no size", b"\r\nhello\r\n0\r\n\r\n"),
    bad_chunks("size of 64 bits", b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    bad_chunks("size beyond 64 bits", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    bad_chunks("size with too many zeros", b"0" * 40 + b"5\r\nhello\r\n0\r\n\r\n"),
    bad_chunks("size ends in bare LF", b"5\nhello\r\n0\r\n\r\n"),
    bad_chunks("size ends in bare CR", b"5\rhello\r\n0\r\n\r\n"),
    bad_chunks("last size ends in bare LF", b"5\r\nhello\r\n0\n\r\n"),
    bad_chunks("chunk ends in bare LF", b"5\r\nhello\n0\r\n\r\n"),
    bad_chunks("chunk ends in two bytes", b"5\r\nhelloXX0\r\n\r\n"),
    bad_chunks("chunk longer than its size", b"4\r\nhello\r\n0\r\n\r\n"),
    bad_chunks("chunk shorter than its size", b"6\r\nhello\r\n0\r\n\r\n"),
    bad_chunks("bare LF in an extension", b"5;a\nGET / HTTP/1.1\r\nhello\r\n0\r\n\r\n"),
    bad_chunks("bare CR in an extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    bad_chunks("NUL in an extension", b"5;a=\0\r\nhello\r\n0\r\n\r\n"),
    bad_chunks("extension without a name", b"5;\r\nhello\r\n0\r\n\r\n"),
    bad_chunks("extension with a space", b"5;a b\r\nhello\r\n0\r\n\r\n"),
    bad_chunks("quote without end", b'5;a="\r\nhello\r\n0\r\n\r\n'),
    bad_chunks("long extension", b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n"),
    bad_chunks("trailer without a colon", b"0\r\nX\r\n\r\n"),
    bad_chunks("space before a trailer's colon", b"0\r\nX : y\r\n\r\n"),
    bad_chunks("folded trailer", b"0\r\nX: y\r\n z\r\n\r\n"),
    bad_chunks("trailers end in bare LF", b"0\r\nX: y\n\r\n\r\n"),
    bad_chunks("body ends in bare LF", b"0\r\n\n"),
    bad_chunks("long trailers", b"0\r\n" + b"X: yyyyyyy\r\n" * 800 + b"\r\n"),
]

ROOT = b"/ipython/10000"
TARGETS = [
    passed("encoded slash", get(target=TARGET + b"%2Fy%25z%20")),
    passed("UTF-8, encoded", get(target=TARGET + b"%C3%9C")),
    passed("UTF-8, raw", get(target=TARGET + "Ü".encode())),
    passed("raw punctuation", get(target=TARGET + b"[1]^`{|}?[1]^`{|}\\%")),
    passed("encoded twice", get(target=ROOT + b"/%252e%252e/22/")),
    passed("overlong UTF-8", get(target=ROOT + b"/%c0%ae%c0%ae/22/")),
    passed("encoded CR LF", get(target=TARGET + b"%0d%0aX:%20y")),
    passed("steps in a query", get(target=TARGET + b"?a=/../../")),
    passed("two slashes inside", get(target=ROOT + b"//x")),
    passed("absolute", get(target=b"http://localhost" + TARGET)),
    passed("absolute, https", get(target=b"HTTPS://localhost" + TARGET)),
    refused("absolute, other host", get(target=b"http://evil.example" + TARGET), 421),
    refused("absolute, other in Host", get(target=b"http://localhost/", host=b"Host: evil")),
    refused("absolute, other port", get(target=b"http://localhost:8443" + TARGET)),
    refused("absolute, with a user", get(target=b"http://localhost@evil.example" + TARGET)),
    refused("absolute, user localhost", get(target=b"http://evil.example@localhost" + TARGET)),
    refused("absolute, without host", get(target=b"http://" + TARGET)),
    refused("absolute, other scheme", get(target=b"ftp://localhost" + TARGET)),
    refused("absolute, backslash", get(target=b"http://localhost\\@evil.example" + TARGET)),
    refused("authority", get(target=b"localhost:10000")),
    refused("connect", message(b"CONNECT localhost:10000 HTTP/1.1", HOST) + SMUGGLED, 405),
    refused("trace", message(b"TRACE " + TARGET + b" HTTP/1.1", HOST, CLOSE), 405),
    refused("asterisk", get(target=b"*")),
    refused("asterisk to options", message(b"OPTIONS * HTTP/1.1", HOST, CLOSE), 404),
    refused("no slash", get(target=b"ipython/10000/")),
    refused("two slashes first", get(target=b"//evil.example/" + TARGET)),
    refused("up", get(target=ROOT + b"/../22/")),
    refused("up at the end", get(target=ROOT + b"/..")),
    refused("up, encoded", get(target=ROOT + b"/%2e%2e/22/")),
    refused("up, half encoded", get(target=ROOT + b"/.%2E/22/")),
    refused("up, encoded slashes", get(target=ROOT + b"%2f..%2f22/")),
    refused("up, with a parameter", get(target=ROOT + b"/..;/22/")),
    refused("up, backslashes", get(target=ROOT + b"\\..\\22\\")),
    refused("up, encoded backslashes", get(target=ROOT + b"/..%5c22")),
    refused("here", get(target=ROOT + b"/./x")),
    refused("broken encoding", get(target=TARGET + b"%zz")),
    refused("encoding cut short", get(target=TARGET + b"%2")),
    refused("encoded NUL", get(target=TARGET + b"%00")),
    *[
        refused(f"port {port!r}", get(target=b"/ipython/" + port + b"/"), status)
        for port, status in [
            (b"22", 404), (b"80", 404), (b"2375", 404), (b"5432", 404), (b"6379", 404), (b"0", 404),
            (b"010000", 404), (b"+10000", 404), (b"-10000", 404), (b"1_0000", 404),
            (b"10000.0", 404), (b"10000%00", 400), (b"10000%0a", 404), (b"%31%30000", 404),
            (b"10000;x", 404), (b"99999", 404), (b"65536", 404), (b"1e4", 404), (b"0x2710", 404),
            (b"10000,", 404),
            (b"\xd9\xa1\xd9\xa0", 404), (b"10000%20", 404), (b"", 404), (b"localhost:10000", 404),
            (b"10000@22", 404),
        ]
    ],
]  # fmt: skip

HOSTS = [
    passed("host with a port", get(host=b"Host: localhost:8443")),
    passed("host in capitals", get(host=b"HOST: LOCALHOST")),
    refused("no host", message(GET, CLOSE)),
    refused("no host in HTTP/1.0", message(b"GET " + TARGET + b" HTTP/1.0")),
    refused("two hosts", get(HOST)),
    refused("two different hosts", get(b"Host: evil.example")),
    refused("empty host", get(host=b"Host:")),
    refused("host with a path", get(host=b"Host: localhost/b?")),
    refused("host with a user", get(host=b"Host: a@localhost")),
    refused("host as a user", get(host=b"Host: localhost@evil")),
    refused("list of hosts", get(host=b"Host: localhost, evil")),
    refused("host with a space", get(host=b"Host: localhost evil")),
    refused("host with a backslash", get(host=b"Host: localhost\\evil")),
    refused("port 0", get(host=b"Host: localhost:0")),
    refused("port 99999", get(host=b"Host: localhost:99999")),
    refused("port with letters", get(host=b"Host: localhost:8443evil")),
    refused("port empty", get(host=b"Host: localhost:")),
    refused("zone of an IPv6 address", get(host=b"Host: [fe80::1%25eth0]")),
    refused("brackets around a name", get(host=b"Host: [localhost]")),
    refused("other host", get(host=b"Host: evil.example"), 421),
    refused("trailing dot", get(host=b"Host: localhost."), 421),
    refused("address not served", get(host=b"Host: 127.0.0.2"), 421),
]

UPGRADE = [b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13"]
ORIGINS = [
    passed("our own page", get(b"Origin: https://localhost")),
    passed("null from our own page", get(b"Origin: null", b"Sec-Fetch-Site: same-origin")),
    passed("a link on another site", get(b"Sec-Fetch-Site: cross-site")),
    refused("another site", get(b"Origin: https://evil.example"), 403),
    refused("another site's websocket", get(b"Origin: https://evil.example", *UPGRADE), 403),
    refused("null", get(b"Origin: null"), 403),
    refused("null's websocket",
            get(b"Origin: null", b"Sec-Fetch-Site: same-origin", *UPGRADE), 403),
    refused("other scheme", get(b"Origin: http://localhost"), 403),
    refused("other port", get(b"Origin: https://localhost:8443"), 403),
    refused("our name begins it", get(b"Origin: https://localhost.evil"), 403),
    refused("two origins", get(b"Origin: https://localhost", b"Origin: https://localhost"), 403),
    refused("empty origin", get(b"Origin:"), 403),
    refused("form of another site", post(LENGTH, b"Sec-Fetch-Site: cross-site"), 403),
    refused("unknown expectation", post(LENGTH, b"Expect: 200-ok"), 417),
]  # fmt: skip

GROUPS = {
    "ordinary": ORDINARY,
    "pipeline": PIPELINES,
    "first line": FIRST_LINES,
    "field": FIELDS,
    "framing": FRAMINGS,
    "chunks": CHUNK_STREAMS,
    "target": TARGETS,
    "host": HOSTS,
    "origin": ORIGINS,
}
REQUESTS = [
    case._replace(name=f"{group}: {case.name}") for group, cases in GROUPS.items() for case in cases
]
