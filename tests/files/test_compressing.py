"""Files that are compressed as they are sent, and what is kept of them: all bytes on both sides."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ipyproxy.encoding.codecs import CODINGS as ALL
from ipyproxy.encoding.codecs import LARGEST
from ipyproxy.encoding.compression import MOST_ENCODED, Compression, Dynamic
from ipyproxy.encoding.store import Store
from tests.encoding.bodies import CODINGS, decoded, script
from tests.encoding.work import Turns
from tests.files.shelf import Answer, Shelf, let_all_wait, read
from tests.front import Browser
from tests.http1 import grammar

pytestmark = pytest.mark.usefixtures("nothing_stays_open")

SCRIPT = script(300_000)
STYLE = script(5_000)
GZIP = "Accept-Encoding: gzip"
THEN = 784111777
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "app.js").write_bytes(SCRIPT)
    (tmp_path / "style.css").write_bytes(STYLE)
    (tmp_path / "index.html").write_bytes(STYLE)
    (tmp_path / "small.css").write_bytes(STYLE[:1399])
    (tmp_path / "picture.png").write_bytes(STYLE)
    for file in tmp_path.iterdir():
        os.utime(file, (THEN, THEN))
    return tmp_path


class Compressing(Shelf):
    """A directory with files that are compressed.

    :ivar idler: compresses anew when the test says so.
    """

    def __init__(self, directory: Path, codings: tuple[bytes, ...] = ALL, **more: object) -> None:
        self.store = Store(1_000_000)
        self.worker, self.idler = Turns(), Turns()
        self.compression = Compression(self.store, self.worker, self.idler)
        self.compression.configure(codings, 1_000_000, dynamic=Dynamic.NEVER)
        super().__init__(directory, compression=self.compression, **more)  # type: ignore[arg-type]
        self.worker.loop = self.loop

    def get(self, path: str, *lines: str, browser: Browser | None = None) -> Answer:
        return whole(super().get(path, *lines, browser=browser))


def whole(answer: Answer) -> Answer:
    """An answer, its framing undone."""
    if "transfer-encoding" not in answer.fields:
        return answer
    chunked = grammar.chunked_body(answer.body)
    assert chunked is not None
    body, behind = chunked
    assert behind == b""
    return answer._replace(body=body)


@pytest.fixture(params=["at once", "by the disk"])
def shelf(
    tree: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Compressing:
    if request.param == "by the disk":
        let_all_wait(monkeypatch)
    return Compressing(tree)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("path", ["/app.js", "/style.css", "/"])
def test_a_file_is_compressed_and_kept(shelf: Compressing, path: str, coding: bytes) -> None:
    asks = f"Accept-Encoding: {coding.decode()}"
    plain = shelf.get(path)
    first, second = shelf.get(path, asks), shelf.get(path, asks)
    for answer in first, second:
        assert answer.status == 200
        assert answer.fields["content-encoding"] == coding.decode()
        assert answer.fields["vary"] == "Accept-Encoding"
        assert answer.fields["etag"] == plain.fields["etag"][:-1] + f'~ipy-{coding.decode()}"'
        assert answer.fields["last-modified"] == DATE
        assert answer.fields["content-type"] == plain.fields["content-type"]
        assert "accept-ranges" not in answer.fields
        assert decoded(coding, answer.body) == plain.body
    # It is sent as it is made, and later as it is kept.
    assert "content-length" not in first.fields
    assert int(second.fields["content-length"]) == len(second.body) < len(plain.body)
    assert (shelf.store.hits, shelf.store.misses) == (1, 1)
    # Nobody else gets it.
    assert "content-encoding" not in plain.fields
    assert plain.fields["vary"] == "Accept-Encoding"


def test_it_is_compressed_better_when_nobody_waits(shelf: Compressing) -> None:
    shelf.get("/app.js", GZIP)
    before = shelf.get("/app.js", GZIP)
    shelf.idler.do()
    after = shelf.get("/app.js", GZIP)
    assert len(after.body) < len(before.body)
    assert decoded(b"gzip", after.body) == SCRIPT


@pytest.mark.parametrize("path", ["/small.css", "/picture.png"])
def test_what_does_not_gain_is_sent_as_it_is(shelf: Compressing, path: str) -> None:
    answer = shelf.get(path, GZIP)
    assert answer.status == 200
    assert not {"content-encoding", "vary"} & answer.fields.keys()
    assert answer.fields["accept-ranges"] == "bytes"


def test_a_download_keeps_its_length_and_its_ranges(shelf: Compressing, tree: Path) -> None:
    with (tree / "variants.csv").open("wb") as file:
        file.truncate(LARGEST + 1)
    answer = shelf.ask("HEAD", "/variants.csv", GZIP)
    assert answer.fields["content-length"] == str(LARGEST + 1)
    assert not {"content-encoding", "vary"} & answer.fields.keys()


def test_a_copy_beside_it_comes_first(shelf: Compressing, tree: Path) -> None:
    (tree / "app.js.br").write_bytes(b"made before")
    answer = shelf.get("/app.js", "Accept-Encoding: gzip, br")
    assert (answer.fields["content-encoding"], answer.body) == ("br", b"made before")
    # Who does not take it gets another one.
    answer = shelf.get("/app.js", GZIP)
    assert (answer.fields["content-encoding"], decoded(b"gzip", answer.body)) == ("gzip", SCRIPT)


def test_no_coding_is_wanted_or_configured(shelf: Compressing, tree: Path) -> None:
    assert shelf.get("/app.js", "Accept-Encoding: identity").body == SCRIPT
    assert shelf.get("/app.js", "Accept-Encoding: gzip;q=0").body == SCRIPT
    assert shelf.get("/app.js", "Accept-Encoding: deflate").body == SCRIPT
    heard = shelf.connect().say(b"GET /app.js HTTP/1.0\r\nHost: here\r\n%b\r\n\r\n" % GZIP.encode())
    assert read(heard).body == SCRIPT
    off = Compressing(tree, ())
    assert off.get("/app.js", GZIP).body == SCRIPT


class TestConditions:
    def test_what_was_sent_compressed_is_unchanged(self, shelf: Compressing) -> None:
        etag = shelf.get("/app.js", GZIP).fields["etag"]
        answer = shelf.get("/app.js", GZIP, f"If-None-Match: {etag}")
        assert (answer.status, answer.body) == (304, b"")
        assert (answer.fields["etag"], answer.fields["vary"]) == (etag, "Accept-Encoding")
        assert "content-encoding" not in answer.fields
        assert shelf.get("/app.js", GZIP, f"If-Match: {etag}").status == 200

    def test_what_was_sent_as_it_is_is_unchanged_too(self, shelf: Compressing) -> None:
        etag = shelf.get("/app.js").fields["etag"]
        for line in f"If-None-Match: {etag}", f"If-Modified-Since: {DATE}":
            answer = shelf.get("/app.js", GZIP, line)
            assert (answer.status, answer.fields["etag"]) == (304, etag)

    def test_a_tag_of_a_coding_that_is_not_wanted_is_no_tag_of_the_answer(
        self, shelf: Compressing
    ) -> None:
        """A cache asks with the tags of all that it keeps, whoever wants the file."""
        etag = shelf.get("/app.js", GZIP).fields["etag"]
        for line in "Accept-Encoding: identity", "Accept-Encoding: gzip;q=0", "Accept-Encoding: br":
            assert shelf.get("/app.js", line, f"If-None-Match: {etag}").status == 200
            assert shelf.get("/app.js", line, f"If-Match: {etag}").status == 412
        # Ranges are of the file as it is, so no part of it is one of what was sent compressed.
        ranged = shelf.get("/app.js", GZIP, "Range: bytes=0-9", f"If-Match: {etag}")
        assert ranged.status == 412

    def test_a_changed_file_is_sent_anew(self, shelf: Compressing, tree: Path) -> None:
        old = shelf.get("/app.js", GZIP)
        (tree / "new").write_bytes(STYLE)
        os.utime(tree / "new", (THEN, THEN))
        (tree / "new").rename(tree / "app.js")
        answer = shelf.get("/app.js", GZIP, f"If-None-Match: {old.fields['etag']}")
        assert (answer.status, decoded(b"gzip", answer.body)) == (200, STYLE)
        (tree / "app.js").unlink()
        assert shelf.get("/app.js", GZIP).status == 404

    def test_a_range_is_one_of_the_file_as_it_is(self, shelf: Compressing) -> None:
        answer = shelf.get("/app.js", GZIP, "Range: bytes=0-9")
        assert (answer.status, answer.body) == (206, SCRIPT[:10])
        assert "content-encoding" not in answer.fields
        assert answer.fields["vary"] == "Accept-Encoding"
        # Of what was sent compressed no part is ever put together with it.
        etag = shelf.get("/app.js", GZIP).fields["etag"]
        answer = shelf.get("/app.js", GZIP, "Range: bytes=0-9", f"If-Range: {etag}")
        assert (answer.status, decoded(b"gzip", answer.body)) == (200, SCRIPT)

    def test_head_is_told_the_same(self, shelf: Compressing) -> None:
        for _ in range(2):
            head = shelf.ask("HEAD", "/app.js", GZIP)
            got = shelf.get("/app.js", GZIP)
            assert head.body == b""
            assert {**head.fields, "date": ""} == {**got.fields, "date": ""} or (
                # Before it is kept, nobody knows how long it will be.
                "content-length" not in head.fields
            )
            assert head.fields["content-encoding"] == "gzip"
            assert head.fields["etag"] == got.fields["etag"]

    def test_what_was_changed_just_now_is_not_kept(self, shelf: Compressing, tree: Path) -> None:
        """It may change once more and bear the same tag."""
        (tree / "fresh.js").write_bytes(SCRIPT)
        for _ in range(2):
            answer = shelf.get("/fresh.js", GZIP)
            assert decoded(b"gzip", answer.body) == SCRIPT
            assert "content-length" not in answer.fields
        assert len(shelf.store) == 0


class TestOthers:
    def test_queries_keep_nothing_more(self, shelf: Compressing) -> None:
        for number in range(20):
            shelf.get(f"/app.js?{number}", GZIP)
        assert len(shelf.store) == 1

    def test_a_client_that_takes_nothing(self, shelf: Compressing) -> None:
        """It holds up its own answer, and no more is read of the file than it takes."""
        browser = shelf.connect()
        browser.wire.room = 0
        browser.get(b"/app.js", GZIP.encode())
        assert shelf.get("/app.js", GZIP).fields["content-encoding"] == "gzip"
        browser.hang_up()
        assert shelf.compression.encoding == 0

    def test_a_client_that_goes_away(self, tree: Path) -> None:
        shelf = Compressing(tree)
        shelf.worker.loop = None
        browser = shelf.connect()
        browser.get(b"/app.js", GZIP.encode())
        assert shelf.compression.encoding == 1
        browser.hang_up()
        shelf.worker.do()
        assert (shelf.compression.encoding, shelf.store.held) == (0, 0)

    def test_a_file_that_changes_cuts_the_answer(self, tree: Path) -> None:
        shelf = Compressing(tree)
        shelf.worker.loop = None
        browser = shelf.connect()
        browser.get(b"/app.js", GZIP.encode())
        with (tree / "app.js").open("ab") as file:
            file.write(b"more")
        shelf.worker.loop = shelf.loop
        shelf.worker.do()
        heard = browser.hear()
        assert not heard.endswith(b"0\r\n\r\n")
        assert not browser.is_connected
        assert (shelf.compression.encoding, shelf.store.held) == (0, 0)

    def test_beyond_what_is_compressed_at_a_time_files_are_sent_as_they_are(
        self, tree: Path
    ) -> None:
        shelf = Compressing(tree)
        shelf.worker.loop = None
        browsers = [shelf.connect() for _ in range(MOST_ENCODED)]
        for browser in browsers:
            browser.get(b"/app.js", GZIP.encode())
        # One client has half of them, and somebody else still finds room.
        assert shelf.compression.encoding == MOST_ENCODED // 2
        assert read(browsers[-1].get(b"/app.js", GZIP.encode())).body == SCRIPT
        browsers.append(shelf.connect("192.0.2.99"))
        browsers[-1].get(b"/app.js", GZIP.encode())
        assert shelf.compression.encoding == MOST_ENCODED // 2 + 1
        for browser in browsers:
            browser.hang_up()
        shelf.worker.do()
        assert shelf.compression.encoding == 0

    def test_a_failing_library_cuts_the_answer(self, tree: Path) -> None:
        shelf = Compressing(tree)
        shelf.worker.run = lambda work, done: done(None)  # type: ignore[method-assign]
        answer = read(shelf.connect().get(b"/app.js", GZIP.encode()))
        assert answer.status == 500
        assert shelf.compression.encoding == 0
