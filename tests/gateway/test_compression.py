"""Answers that are compressed on their way: all bytes on both sides."""

from __future__ import annotations

import pytest

from ipyproxy.encoding import compression as rules
from ipyproxy.encoding.compression import Dynamic
from tests.encoding.bodies import CODINGS, decoder, script
from tests.gateway.compressing import BODY, GET, GZIP, LARGE, SCRIPT, TAG, Scene, heard
from tests.web.gate import HOST, ask, message
from tests.wires import Wire


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
