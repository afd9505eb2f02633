"""Compressed answers that are kept, and the questions to a notebook that they spare it."""

from __future__ import annotations

import pytest

from ipyproxy.encoding.store import Entry
from ipyproxy.net.sockdiag import Listener
from tests.encoding.bodies import CODINGS
from tests.gateway.compressing import BODY, GZIP, LARGE, SCRIPT, TAG, Heard, Scene, heard


@pytest.fixture
def scene() -> Scene:
    return Scene()


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
