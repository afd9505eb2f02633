"""Answers that are compressed on their way, and those that are kept: all bytes on both sides."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from ipyproxy.encoding import compression as rules
from ipyproxy.encoding.codecs import CODINGS as ALL
from ipyproxy.encoding.compression import Compression, Dynamic
from ipyproxy.encoding.store import Entry, Store
from ipyproxy.net.sockdiag import Listener
from tests.encoding.bodies import CODINGS, decoded, decoder, script
from tests.encoding.work import Turns
from tests.http1 import grammar
from tests.web.gate import HOST, Gate, ask, message
from tests.wires import Wire

GET = b"GET /ipython/10000/a.js HTTP/1.1"
GZIP = b"Accept-Encoding: gzip"
SCRIPT = b"Content-Type: text/javascript"
BODY = script(5000)
LARGE = script(500_000)
TAG = b'ETag: "1"'


class Heard(NamedTuple):
    """An answer, its framing undone."""

    status: int
    fields: dict[bytes, bytes]
    body: bytes

    @property
    def text(self) -> bytes:
        """The body without its coding."""
        coding = self.fields.get(b"content-encoding")
        return self.body if coding is None else decoded(coding, self.body)


def heard(stream: bytes, method: bytes = b"GET") -> Heard:
    head, _, rest = stream.partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b": ")
        assert name.lower() not in fields
        fields[name.lower()] = value
    if b"transfer-encoding" in fields and method != b"HEAD":
        chunked = grammar.chunked_body(rest)
        assert chunked is not None
        rest, behind = chunked
        assert behind == b""
    elif b"content-length" in fields and method != b"HEAD" and b" 304 " not in start:
        assert len(rest) == int(fields[b"content-length"])
    return Heard(int(start.split(b" ")[1]), fields, rest)


class Scene:
    """A gate that compresses, a browser, and the notebook at port 10000.

    :ivar idler: compresses anew when the test says so.
    """

    def __init__(self, **options: object) -> None:
        self.store = Store(1_000_000)
        self.worker, self.idler = Turns(), Turns()
        self.compression = Compression(self.store, self.worker, self.idler)
        self.configure()
        self.gate = Gate(compression=self.compression, **options)  # type: ignore[arg-type]
        self.worker.loop = self.gate.loop
        self._notebook: Wire | None = None

    def configure(self, *, dynamic: Dynamic = Dynamic.NEVER, limit: int = 1_000_000) -> None:
        self.compression.configure(ALL, limit, dynamic=dynamic)

    @property
    def notebook(self) -> Wire:
        if self._notebook is None or self._notebook.is_closed:
            self._notebook = self.gate.notebook()
        return self._notebook

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is open or being encoded."""
        return self.gate.upstream().open_work == 0 and self.compression.encoding == 0

    def tell(self, start: bytes, *lines: bytes, body: bytes = b"") -> None:
        """The notebook answers, its length stated."""
        if b" 304 " not in start:
            lines = (*lines, b"Content-Length: %d" % len(body))
        self.gate.tell(self.notebook, message(start, *lines, body=body))

    def fetch(
        self,
        *lines: bytes,
        request: bytes = GET,
        accepts: bytes = GZIP,
        body: bytes = BODY,
        host: bytes = HOST,
        status: bytes = b"200 OK",
    ) -> Heard:
        """A client asks for something that the notebook then sends with ``lines``."""
        browser = self.gate.connect()
        browser.say(message(request, host, accepts))
        self.notebook.hear()
        self.tell(b"HTTP/1.1 " + status, *lines, body=body)
        return heard(browser.hear(), request.partition(b" ")[0])

    def question(self, *lines: bytes, request: bytes = GET, host: bytes = HOST) -> bytes:
        """What the notebook is asked for a client, which then waits as :attr:`browser`."""
        self.browser = self.gate.connect()
        self.browser.say(message(request, host, *lines))
        return self.notebook.hear()


@pytest.fixture
def scene() -> Scene:
    return Scene()


class TestWhatIsCompressed:
    @pytest.mark.parametrize("coding", CODINGS)
    def test_a_script(self, scene: Scene, coding: bytes) -> None:
        lines = (SCRIPT, TAG, b"Accept-Ranges: bytes", b"X-Other: 1")
        answer = scene.fetch(*lines, accepts=b"Accept-Encoding: " + coding)
        assert answer.fields == {
            b"x-other": b"1",
            b"content-type": b"text/javascript",
            b"etag": b'"1~ipy-%b"' % coding,
            b"content-encoding": coding,
            b"vary": b"Accept-Encoding",
            b"transfer-encoding": b"chunked",
        }
        assert answer.text == BODY
        assert len(answer.body) < len(BODY) / 2
        assert scene.gate.log == [(200, "192.0.2.1", "")]
        assert scene.gate.recorded[0].body_bytes_sent == len(answer.body)

    @pytest.mark.parametrize("coding", CODINGS)
    def test_a_large_one_by_the_worker_in_its_order(self, scene: Scene, coding: bytes) -> None:
        answer = scene.fetch(SCRIPT, accepts=b"Accept-Encoding: " + coding, body=LARGE)
        assert answer.text == LARGE
        assert scene.is_at_rest

    def test_for_others_it_says_what_it_depends_on(self, scene: Scene) -> None:
        answer = scene.fetch(SCRIPT, TAG, accepts=b"Accept: */*")
        assert answer.body == BODY
        assert answer.fields[b"vary"] == b"Accept-Encoding"
        assert answer.fields[b"etag"] == b'"1"'
        assert b"content-encoding" not in answer.fields

    def test_head_is_told_what_get_would_be(self, scene: Scene) -> None:
        browser = scene.gate.connect()
        browser.say(message(b"HEAD /ipython/10000/a.js HTTP/1.1", HOST, GZIP))
        scene.tell(b"HTTP/1.1 200 OK", SCRIPT, TAG, body=BODY)
        answer = heard(browser.hear(), b"HEAD")
        assert answer.fields == {
            b"content-type": b"text/javascript",
            b"etag": b'"1~ipy-gzip"',
            b"content-encoding": b"gzip",
            b"vary": b"Accept-Encoding",
        }
        assert answer.body == b""

    def test_a_body_of_unknown_length(self, scene: Scene) -> None:
        browser = scene.gate.connect()
        browser.say(message(GET, HOST, GZIP))
        head = message(b"HTTP/1.1 200 OK", SCRIPT, b"Transfer-Encoding: chunked")
        scene.gate.tell(scene.notebook, head + b"5\r\nhello\r\n0\r\n\r\n")
        assert heard(browser.hear()).text == b"hello"

    @pytest.mark.parametrize(
        ("request_line", "lines", "status", "size"),
        [
            (GET, (SCRIPT,), b"200 OK", 1399),
            (GET, (SCRIPT, b"Content-Encoding: br"), b"200 OK", 5000),
            (GET, (SCRIPT, b"Cache-Control: no-transform"), b"200 OK", 5000),
            (GET, (SCRIPT, b"Content-Range: bytes 0-4999/9000"), b"206 Partial Content", 5000),
            (GET, (SCRIPT,), b"404 Not Found", 5000),
            (GET, (b"Content-Type: text/html",), b"200 OK", 5000),
            (GET, (b"Content-Type: application/json",), b"200 OK", 5000),
            (GET, (b"Content-Type: image/png",), b"200 OK", 5000),
            (GET, (b"Content-Type: text/event-stream",), b"200 OK", 5000),
            (b"POST /ipython/10000/a.js HTTP/1.1", (SCRIPT,), b"200 OK", 5000),
        ],
    )
    def test_what_is_passed_as_it_is(
        self,
        scene: Scene,
        request_line: bytes,
        lines: tuple[bytes, ...],
        status: bytes,
        size: int,
    ) -> None:
        body = script(size)
        answer = scene.fetch(*lines, request=request_line, status=status, body=body)
        told = {line.partition(b": ")[0].lower(): line.partition(b": ")[2] for line in lines}
        assert answer.fields == {**told, b"content-length": b"%d" % size}
        assert answer.body == body

    def test_events_are_never_held_back_even_where_data_is_compressed(self, scene: Scene) -> None:
        scene.configure(dynamic=Dynamic.ALWAYS)
        answer = scene.fetch(b"Content-Type: text/event-stream")
        assert answer.body == BODY

    def test_an_http_1_0_client_gets_it_as_it_is(self, scene: Scene) -> None:
        browser = scene.gate.connect()
        browser.say(message(GET[:-1] + b"0", HOST, GZIP))
        scene.tell(b"HTTP/1.1 200 OK", SCRIPT, body=BODY)
        assert browser.hear().endswith(b"\r\n\r\n" + BODY)

    def test_pages_and_data_are_if_that_is_wanted(self, scene: Scene) -> None:
        scene.configure(dynamic=Dynamic.ALWAYS)
        answer = scene.fetch(b"Content-Type: application/json")
        assert answer.fields[b"content-encoding"] == b"gzip"
        assert len(scene.store) == 0


def test_a_library_that_cannot_be_loaded_is_done_without(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "usable", lambda codings: codings)
    monkeypatch.setattr(rules, "is_loaded", lambda coding: coding == b"gzip")
    scene.configure()
    for _ in range(2):
        answer = scene.fetch(SCRIPT, accepts=b"Accept-Encoding: zstd, br, gzip")
        assert answer.fields[b"content-encoding"] == b"gzip"


class TestTheWay:
    @pytest.mark.parametrize("coding", CODINGS)
    def test_nothing_waits_for_what_has_not_come(self, scene: Scene, coding: bytes) -> None:
        browser, decode = scene.gate.connect(), decoder(coding)
        browser.say(message(GET, HOST, b"Accept-Encoding: " + coding))
        scene.gate.tell(
            scene.notebook, message(b"HTTP/1.1 200 OK", SCRIPT, b"Content-Length: 100000")
        )
        assert b"Content-Encoding" in browser.hear()
        for piece in (LARGE[:50], LARGE[50:30_000], LARGE[30_000:30_001]):
            scene.gate.tell(scene.notebook, piece)
            parts, rest = b"", browser.hear()
            while rest:
                size, _, rest = rest.partition(b"\r\n")
                parts, rest = parts + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
            assert decode(parts) == piece

    def test_half_a_chunk_s_frame_holds_nothing_back(self, scene: Scene) -> None:
        # What is there already is no byte of the body, and all that comes for a while.
        browser, decode = scene.gate.connect(), decoder(b"gzip")
        browser.say(message(GET, HOST, GZIP))
        head = message(b"HTTP/1.1 200 OK", SCRIPT, b"Transfer-Encoding: chunked")
        scene.gate.tell(scene.notebook, head)
        browser.hear()
        scene.gate.tell(scene.notebook, b"%x\r\n%b" % (4092 - 5, LARGE[: 4092 - 5]) + b"\r\n7")
        parts, rest = b"", browser.hear()
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            parts, rest = parts + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        assert decode(parts) == LARGE[: 4092 - 5]

    def test_a_slow_client_makes_the_notebook_wait(self, scene: Scene) -> None:
        browser = scene.gate.connect()
        browser.wire.room = 0
        browser.say(message(GET, HOST, GZIP))
        body = 3 * LARGE
        scene.tell(b"HTTP/1.1 200 OK", SCRIPT, body=body)
        assert scene.notebook.unread > len(body) / 2
        browser.wire.room = None
        scene.gate.loop.settle()
        assert heard(browser.hear()).text == body

    def test_while_one_piece_is_encoded_no_other_is_read(self, scene: Scene) -> None:
        scene.worker.loop = None
        browser = scene.gate.connect()
        browser.say(message(GET, HOST, GZIP))
        scene.tell(b"HTTP/1.1 200 OK", SCRIPT, body=LARGE)
        assert len(scene.worker.waiting) == 1
        assert scene.notebook.unread > 400_000
        # Others are served meanwhile.
        scene.gate.tell(self._other(scene), message(b"HTTP/1.1 200 OK", b"Content-Length: 0"))
        while scene.worker.waiting:
            scene.worker.do()
            scene.gate.loop.settle()
        assert heard(browser.hear()).text == LARGE

    def _other(self, scene: Scene) -> Wire:
        ask(scene.gate.connect())
        return scene.gate.notebook()

    def test_a_client_that_leaves(self, scene: Scene) -> None:
        scene.worker.loop = None
        browser = scene.gate.connect()
        browser.say(message(GET, HOST, GZIP))
        scene.tell(b"HTTP/1.1 200 OK", SCRIPT, TAG, body=LARGE)
        notebook = scene.notebook
        browser.hang_up()
        scene.worker.do()
        assert notebook.was_reset
        assert scene.is_at_rest
        assert scene.gate.statuses == [200]
        assert scene.store.held == 0
        assert scene.compression.encoding == 0

    def test_a_client_that_leaves_when_the_notebook_has_sent_all(self, scene: Scene) -> None:
        scene.worker.loop = None
        browser = scene.gate.connect()
        browser.say(message(GET, HOST, GZIP))
        body = script(12_000)
        scene.gate.tell(
            scene.notebook, message(b"HTTP/1.1 200 OK", SCRIPT, TAG, b"Content-Length: 12000")
        )
        scene.gate.tell(scene.notebook, body[:3000])
        scene.gate.tell(scene.notebook, body[3000:])
        assert scene.gate.is_at_rest or scene.worker.waiting
        browser.hang_up()
        scene.worker.do()
        assert scene.compression.encoding == 0
        assert scene.store.held == 0

    def test_a_body_cut_short_is_cut_short(self, scene: Scene) -> None:
        browser = scene.gate.connect()
        browser.say(message(GET, HOST, GZIP))
        head = message(b"HTTP/1.1 200 OK", SCRIPT, TAG, b"Content-Length: 100000")
        scene.gate.tell(scene.notebook, head + BODY)
        scene.gate.end(scene.notebook)
        assert browser.wire.was_reset
        assert not browser.hear().endswith(b"0\r\n\r\n")
        assert scene.store.held == 0
        assert scene.compression.encoding == 0

    def test_what_cannot_be_encoded_is_cut_short(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Broken:
            def encode(self, data: bytes) -> bytes:
                if len(data) > 10_000:
                    raise MemoryError
                return b""

            def flush(self) -> bytes:
                return b""

        monkeypatch.setattr(rules, "encoder", lambda coding, size: Broken())
        browser = scene.gate.connect()
        browser.say(message(GET, HOST, GZIP))
        scene.tell(b"HTTP/1.1 200 OK", SCRIPT, body=LARGE)
        assert browser.wire.was_reset
        assert scene.is_at_rest
        assert scene.compression.encoding == 0

    def test_one_client_leaves_room_for_others(self, scene: Scene) -> None:
        scene.worker.loop = None
        half = rules.MOST_ENCODED // 2
        answers = []
        for _ in range(half + 1):
            browser = scene.gate.connect("192.0.2.1")
            browser.say(message(GET, HOST, GZIP))
            scene.gate.tell(
                scene.gate.notebook(),
                message(b"HTTP/1.1 200 OK", SCRIPT, b"Content-Length: 5000", body=BODY[:100]),
            )
            answers.append(browser.hear())
        encoded = [b"Content-Encoding" in answer for answer in answers]
        assert encoded == [True] * half + [False]
        assert b"Vary: Accept-Encoding" in answers[-1]
        other = scene.gate.connect("192.0.2.2")
        other.say(message(GET, HOST, GZIP))
        scene.gate.tell(
            scene.gate.notebook(), message(b"HTTP/1.1 200 OK", SCRIPT, b"Content-Length: 5000")
        )
        assert b"Content-Encoding" in other.hear()


class TestConditions:
    def test_a_client_s_copy_is_still_good(self, scene: Scene) -> None:
        question = scene.question(GZIP, b'If-None-Match: "1~ipy-gzip", "0"')
        assert b'\r\nIf-None-Match: "1", "0"\r\n' in question
        scene.tell(b"HTTP/1.1 304 Not Modified", TAG)
        assert heard(scene.browser.hear()) == Heard(
            304, {b"etag": b'"1~ipy-gzip"', b"vary": b"Accept-Encoding"}, b""
        )

    def test_a_copy_in_a_coding_that_the_client_does_not_take_is_no_use(self, scene: Scene) -> None:
        question = scene.question(GZIP, b'If-None-Match: "1~ipy-zstd"')
        assert b'\r\nIf-None-Match: "1~ipy-zstd"\r\n' in question

    def test_a_change_is_made_on_condition_of_what_was_read(self, scene: Scene) -> None:
        request = b"PUT /ipython/10000/a.js HTTP/1.1"
        question = scene.question(b'If-Match: "1~ipy-gzip"', b"Content-Length: 0", request=request)
        assert b'\r\nIf-Match: "1"\r\n' in question

    def test_a_part_is_asked_for_only_of_what_was_not_encoded(self, scene: Scene) -> None:
        lines = (b"Range: bytes=100-", b'If-Range: "1~ipy-gzip"')
        assert b'\r\nIf-Range: "1~ipy-gzip"\r\n' in scene.question(GZIP, *lines)


class TestWhatIsKept:
    def test_it_is_sent_once_the_notebook_says_that_it_is_the_same(self, scene: Scene) -> None:
        first = scene.fetch(SCRIPT, TAG, b"Date: then", b"Cache-Control: no-cache")
        question = scene.question(GZIP)
        assert question.count(b'\r\nIf-None-Match: "1"\r\n') == 1
        scene.tell(
            b"HTTP/1.1 304 Not Modified", TAG, b"Date: now", b"Cache-Control: max-age=60",
            b"Set-Cookie: a=b",
        )  # fmt: skip
        answer = heard(scene.browser.hear())
        assert answer == Heard(
            200,
            {
                b"content-type": b"text/javascript",
                b"etag": b'"1~ipy-gzip"',
                b"content-encoding": b"gzip",
                b"vary": b"Accept-Encoding",
                b"date": b"now",
                b"cache-control": b"max-age=60",
                b"set-cookie": b"a=b; Path=/ipython/10000/; Secure",
                b"content-length": b"%d" % len(first.body),
            },
            first.body,
        )
        assert scene.is_at_rest
        assert scene.store.hits == 1
        assert scene.gate.statuses == [200, 200]

    def test_what_is_kept_already_is_not_compressed_anew(self, scene: Scene) -> None:
        for _ in range(3):
            assert scene.fetch(SCRIPT, TAG).text == BODY
        assert len(scene.idler.waiting) == 1
        assert len(scene.store) == 1

    def test_what_never_changes_is_asked_for_by_its_date(self, scene: Scene) -> None:
        date = b"Sat, 28 Nov 2026 23:38:04 GMT"
        for_ever = b"Cache-Control: public, max-age=31536000, immutable"
        scene.fetch(SCRIPT, b"Last-Modified: " + date, for_ever)
        assert b"\r\nIf-Modified-Since: %b\r\n" % date in scene.question(GZIP)
        scene.tell(b"HTTP/1.1 304 Not Modified", for_ever)
        answer = heard(scene.browser.hear())
        assert answer.text == BODY
        assert answer.fields[b"last-modified"] == date

    def test_what_has_changed_takes_its_place(self, scene: Scene) -> None:
        scene.fetch(SCRIPT, TAG)
        new = BODY[::-1]
        assert scene.fetch(SCRIPT, b'ETag: "2"', body=new).text == new
        assert b'\r\nIf-None-Match: "2"\r\n' in scene.question(GZIP)
        scene.tell(b"HTTP/1.1 304 Not Modified", b'ETag: "2"')
        assert heard(scene.browser.hear()).text == new

    @pytest.mark.parametrize("coding", CODINGS)
    def test_it_is_compressed_better_when_nobody_else_wants_to(
        self, scene: Scene, coding: bytes
    ) -> None:
        accepts, body = b"Accept-Encoding: " + coding, LARGE[:200_000]
        first = scene.fetch(SCRIPT, TAG, accepts=accepts, body=body)
        scene.idler.do()
        scene.question(accepts)
        scene.tell(b"HTTP/1.1 304 Not Modified", TAG)
        answer = heard(scene.browser.hear())
        assert answer.text == body
        assert len(answer.body) < len(first.body)

    def test_a_slow_reader_gets_all_of_it(self, scene: Scene) -> None:
        scene.configure(limit=10_000_000)
        scene.fetch(SCRIPT, TAG, body=LARGE)
        scene.question(GZIP)
        scene.browser.wire.room = 1000
        scene.tell(b"HTTP/1.1 304 Not Modified", TAG)
        stream = b""
        while b"\r\nContent-Length: " not in stream or len(stream) < self._size(stream):
            assert scene.browser.channel.transport.bytes_waiting < 200_000
            scene.browser.wire.room = 20_000
            stream += scene.browser.hear()
        assert heard(stream).text == LARGE
        assert scene.store.held == sum(one.cost for one in self._entries(scene))

    def _size(self, stream: bytes) -> int:
        head, _, _ = stream.partition(b"\r\n\r\n")
        return len(head) + 4 + int(head.partition(b"\r\nContent-Length: ")[2].split(b"\r\n")[0])

    def _entries(self, scene: Scene) -> list[Entry]:
        return [e for shelf in scene.store._shelves.values() for e in shelf.entries.values()]

    def test_a_slow_reader_that_leaves(self, scene: Scene) -> None:
        scene.configure(limit=10_000_000)
        scene.fetch(SCRIPT, TAG, body=LARGE)
        scene.question(GZIP)
        scene.browser.wire.room = 1000
        scene.tell(b"HTTP/1.1 304 Not Modified", TAG)
        (entry,) = self._entries(scene)
        assert entry.readers == 1
        scene.browser.hang_up()
        scene.gate.wait(1)
        assert entry.readers == 0

    def test_a_client_s_own_conditions_are_the_notebook_s_to_judge(self, scene: Scene) -> None:
        scene.fetch(SCRIPT, TAG)
        for line in (
            b'If-None-Match: "0"', b'If-Match: "0"', b"If-Modified-Since: x", b"Range: bytes=0-1",
        ):  # fmt: skip
            assert b'"1"' not in scene.question(GZIP, line)
            scene.tell(b"HTTP/1.1 304 Not Modified", b'ETag: "0"')
            assert scene.browser.hear().startswith(b"HTTP/1.1 304 ")

    def test_the_next_tenant_of_a_port_begins_anew(self, scene: Scene) -> None:
        scene.gate.listeners[10000] = Listener(1000, 1)
        scene.fetch(SCRIPT, TAG)
        assert len(scene.store) == 1
        scene.gate.listeners[10000] = Listener(1001, 2)
        scene.gate.tenants.sweep(1)
        scene.gate.loop.settle()
        assert len(scene.store) == 0
        assert b"If-None-Match" not in scene.question(GZIP)


class TestAttacks:
    """What somebody tries with what is kept."""

    @pytest.mark.parametrize(
        ("request_line", "host", "lines"),
        [
            (b"HEAD /ipython/10000/a.js HTTP/1.1", HOST, (GZIP,)),
            (b"POST /ipython/10000/a.js HTTP/1.1", HOST, (GZIP,)),
            (b"GET /ipython/10000/a.js?b=2&a=1 HTTP/1.1", HOST, (GZIP,)),
            (b"GET /ipython/10000/a%2Ejs?a=1&b=2 HTTP/1.1", HOST, (GZIP,)),
            (b"GET /ipython/10001/a.js?a=1&b=2 HTTP/1.1", HOST, (GZIP,)),
            (b"GET /ipython/10000/a.js?a=1&b=2 HTTP/1.1", b"Host: hub.example:8443", (GZIP,)),
            (b"GET /ipython/10000/a.js?a=1&b=2 HTTP/1.1", HOST, (b"Accept-Encoding: br",)),
            (b"GET /ipython/10000/a.js?a=1&b=2 HTTP/1.1", HOST, ()),
            (b"GET /ipython/10000/a.js?a=1&b=2 HTTP/1.1", HOST, (GZIP, b"Range: bytes=0-9")),
        ],
    )
    def test_what_was_kept_for_one_request_is_no_answer_to_another(
        self, scene: Scene, request_line: bytes, host: bytes, lines: tuple[bytes, ...]
    ) -> None:
        scene.fetch(SCRIPT, TAG, request=b"GET /ipython/10000/a.js?a=1&b=2 HTTP/1.1")
        assert len(scene.store) == 1
        browser = scene.gate.connect()
        browser.say(message(request_line, host, *lines))
        notebook = scene.gate.notebook() if scene.gate.dialler.attempts else scene.notebook
        asked = notebook.hear()
        assert asked.startswith(request_line)
        assert b"If-None-Match" not in asked

    @pytest.mark.parametrize(
        ("asking", "lines"),
        [
            (b"Authorization: token a", (SCRIPT, TAG)),
            (b"Cookie: a=b", (SCRIPT, TAG, b"Set-Cookie: a=b")),
            (b"Cookie: a=b", (SCRIPT, TAG, b"Vary: Cookie")),
            (b"Cookie: a=b", (SCRIPT, TAG, b"Cache-Control: private")),
            (b"Cookie: a=b", (SCRIPT, TAG, b"Cache-Control: no-store")),
            (b"Cookie: a=b", (SCRIPT, b'ETag: W/"1"')),
            (b"Cookie: a=b", (SCRIPT,)),
            (b"Cookie: a=b", (b"Content-Type: text/html", TAG)),
        ],
    )
    def test_what_one_user_saw_is_not_kept(
        self, scene: Scene, asking: bytes, lines: tuple[bytes, ...]
    ) -> None:
        scene.configure(dynamic=Dynamic.ALWAYS)
        browser = scene.gate.connect()
        browser.say(message(GET, HOST, GZIP, asking))
        scene.tell(b"HTTP/1.1 200 OK", *lines, body=BODY)
        assert heard(browser.hear()).text == BODY
        assert len(scene.store) == 0

    @pytest.mark.parametrize("status", [b"302 Found", b"401 Unauthorized", b"403 Forbidden"])
    def test_whoever_the_notebook_refuses_gets_nothing(self, scene: Scene, status: bytes) -> None:
        scene.fetch(SCRIPT, TAG)
        question = scene.question(GZIP, b"Cookie: none")
        assert b"\r\nCookie: none\r\n" in question
        scene.tell(b"HTTP/1.1 " + status, SCRIPT, body=b"no")
        answer = heard(scene.browser.hear())
        assert (answer.status, answer.body) == (int(status[:3]), b"no")

    @pytest.mark.parametrize("status", [b"404 Not Found", b"206 Partial Content", b"203 Other"])
    def test_other_statuses_are_not_kept(self, scene: Scene, status: bytes) -> None:
        scene.fetch(SCRIPT, TAG, status=status)
        assert len(scene.store) == 0

    def test_a_notebook_that_lies_about_its_tag_poisons_only_itself(self, scene: Scene) -> None:
        scene.fetch(SCRIPT, TAG)
        # The same tag for another body: its own visitors get the old one, as from any cache.
        scene.question(GZIP)
        scene.tell(b"HTTP/1.1 304 Not Modified", b'ETag: "2"')
        assert heard(scene.browser.hear()).text == BODY
        # Another notebook with the same path and tag is asked for its own.
        browser = scene.gate.connect()
        browser.say(message(b"GET /ipython/10001/a.js HTTP/1.1", HOST, GZIP))
        other = scene.gate.notebook()
        assert b"If-None-Match" not in other.hear()
        answer = message(b"HTTP/1.1 200 OK", SCRIPT, TAG, b"Content-Length: 5000", body=BODY[::-1])
        scene.gate.tell(other, answer)
        assert heard(browser.hear()).text == BODY[::-1]

    def test_a_304_that_nobody_asked_for_brings_nothing_of_ours(self, scene: Scene) -> None:
        scene.fetch(SCRIPT, TAG)
        scene.question(b"Accept-Encoding: identity")
        scene.tell(b"HTTP/1.1 304 Not Modified", TAG)
        assert heard(scene.browser.hear()).status == 304

    def test_a_page_with_a_secret_has_one_size(self, scene: Scene) -> None:
        # BREACH: what an attacker has the page say shortens it where it is the secret.
        page = b"<p>%b</p><p>token=secret123</p>" + b" " * 2000
        for guess in (b"token=secret123", b"token=wrong9876"):
            answer = scene.fetch(b"Content-Type: text/html", body=page.replace(b"%b", guess))
            assert len(answer.body) == len(page) - 2 + len(guess)

    @pytest.mark.parametrize(
        ("said", "encoded"),
        [
            (b"Sec-Fetch-Site: same-origin", True),
            (b"Sec-Fetch-Site: none", True),
            (b"Sec-Fetch-Site: same-site", False),
            (b"Sec-Fetch-Site: cross-site", False),
            (b"Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: none", False),
            (b"Accept: */*", False),
        ],
    )
    def test_another_site_s_page_learns_nothing_by_asking(
        self, scene: Scene, said: bytes, encoded: bool
    ) -> None:
        scene.configure(dynamic=Dynamic.SAME_ORIGIN)
        browser = scene.gate.connect()
        browser.say(message(GET, HOST, GZIP, said))
        scene.tell(b"HTTP/1.1 200 OK", b"Content-Type: text/html", body=BODY)
        answer = heard(browser.hear())
        assert (b"content-encoding" in answer.fields) is encoded
        assert answer.text == BODY

    def test_what_expands_without_end_is_sent_as_it_comes(self, scene: Scene) -> None:
        scene.configure(limit=8_000_000)
        answer = scene.fetch(SCRIPT, TAG, body=bytes(20_000_000))
        assert answer.text == bytes(20_000_000)
        # It is too large to be taken apart for a better compression.
        assert scene.idler.waiting == []
        assert scene.store.held < 100_000
