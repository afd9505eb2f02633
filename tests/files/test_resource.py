"""Files of a directory: what is asked and answered, byte for byte, over a real directory."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.files.shelf import (
    LARGE,
    THEN,
    Shelf,
    have_an_old_kernel,
    read,
)

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


pytestmark = pytest.mark.usefixtures("nothing_stays_open")


class TestAnswers:
    def test_a_file(self, shelf: Shelf, tree: Path) -> None:
        answer = shelf.get("/a%20b.txt?v=1")
        assert (answer.status, answer.body) == (200, b"0123456789")
        fields = answer.fields
        status = (tree / "a b.txt").stat()
        assert fields.pop("date").endswith("GMT")
        assert fields == {
            "etag": f'"{status.st_ino:x}-{status.st_mtime_ns:x}-a"',
            "last-modified": DATE,
            "accept-ranges": "bytes",
            "content-type": "text/plain; charset=utf-8",
            "x-content-type-options": "nosniff",
            "content-length": "10",
        }

    def test_head_says_the_same_and_sends_nothing(self, shelf: Shelf) -> None:
        whole = shelf.get("/large.bin")
        head = shelf.ask("HEAD", "/large.bin", "Range: bytes=0-1")
        assert whole.body == LARGE
        assert head.body == b""
        assert head.status == 200
        assert {**head.fields, "date": ""} == {**whole.fields, "date": ""}

    def test_an_empty_file(self, shelf: Shelf) -> None:
        answer = shelf.get("/none", "Range: bytes=0-")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.fields["content-length"] == "0"

    def test_several_on_one_connection(self, shelf: Shelf) -> None:
        browser = shelf.connect()
        for _ in range(3):
            assert shelf.get("/large.bin", browser=browser).body == LARGE
        assert browser.is_connected

    def test_a_request_with_a_body(self, shelf: Shelf) -> None:
        browser = shelf.connect()
        head = b"GET /none HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n\r\nabc"
        assert read(browser.say(head)).status == 200

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
    def test_nothing_can_be_changed(self, shelf: Shelf, method: str) -> None:
        answer = shelf.ask(method, "/a%20b.txt")
        assert answer.status == 405
        assert answer.fields["allow"] == "GET, HEAD"


class TestConditions:
    def test_what_the_client_has_is_not_sent_again(self, shelf: Shelf) -> None:
        etag = shelf.get("/a%20b.txt").fields["etag"]
        for line in (f"If-None-Match: {etag}", f"If-Modified-Since: {DATE}"):
            answer = shelf.get("/a%20b.txt", line)
            assert (answer.status, answer.body) == (304, b"")
            assert answer.fields["etag"] == etag
            assert "content-length" not in answer.fields
            assert "content-type" not in answer.fields

    def test_another_state_is_not_sent(self, shelf: Shelf) -> None:
        assert shelf.get("/a%20b.txt", 'If-Match: "other"').status == 412
        answer = shelf.get("/a%20b.txt", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT")
        assert answer.status == 412

    def test_the_etag_tells_states_apart(self, shelf: Shelf, tree: Path) -> None:
        file = tree / "a b.txt"
        before = shelf.get("/a%20b.txt").fields["etag"]
        file.write_text("9876543210")
        os.utime(file, ns=(THEN * 10**9, THEN * 10**9 + 1))
        after = shelf.get("/a%20b.txt")
        assert after.fields["etag"] != before
        assert after.fields["last-modified"] == DATE


class TestRanges:
    def test_one(self, shelf: Shelf) -> None:
        answer = shelf.get("/a%20b.txt", "Range: bytes=2-4")
        assert (answer.status, answer.body) == (206, b"234")
        assert answer.fields["content-range"] == "bytes 2-4/10"
        assert answer.fields["content-length"] == "3"
        assert answer.fields["content-type"] == "text/plain; charset=utf-8"

    def test_several(self, shelf: Shelf) -> None:
        answer = shelf.get("/a%20b.txt", "Range: bytes=0-1,-2")
        assert answer.status == 206
        kind, boundary = answer.fields["content-type"].split("; boundary=")
        assert kind == "multipart/byteranges"
        part = f"\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: "
        assert answer.body.decode() == (
            f"{part}bytes 0-1/10\r\n\r\n01{part}bytes 8-9/10\r\n\r\n89\r\n--{boundary}--\r\n"
        )
        assert answer.fields["content-length"] == str(len(answer.body))

    def test_several_large_ones(self, shelf: Shelf) -> None:
        answer = shelf.get("/large.bin", "Range: bytes=1000000-1999999,0-999999")
        bodies = re.split(rb"\r\n--[0-9a-f]+(?:--\r\n|\r\n(?:.+\r\n)+\r\n)", answer.body)
        assert bodies == [b"", LARGE[1000000:2000000], LARGE[:1000000], b""]
        assert answer.fields["content-length"] == str(len(answer.body))

    def test_what_lies_behind_the_end(self, shelf: Shelf) -> None:
        answer = shelf.get("/a%20b.txt", "Range: bytes=10-")
        assert answer.status == 416
        assert answer.fields["content-range"] == "bytes */10"

    def test_a_bomb_gets_the_file_once(self, shelf: Shelf) -> None:
        answer = shelf.get("/large.bin", "Range: bytes=" + ",".join(["0-"] * 1000))
        assert (answer.status, answer.body) == (200, LARGE)

    def test_a_download_that_is_resumed(self, shelf: Shelf) -> None:
        etag = shelf.get("/a%20b.txt").fields["etag"]
        for condition, status in ((etag, 206), (DATE, 206), ('"old"', 200), ("now", 200)):
            answer = shelf.get("/a%20b.txt", "Range: bytes=5-", f"If-Range: {condition}")
            assert (answer.status, answer.body[-5:]) == (status, b"56789")


class TestDirectories:
    def test_the_index(self, shelf: Shelf) -> None:
        assert shelf.get("/").body == b"<h1>home</h1>"
        assert shelf.get("/docs/").body == b"<h1>docs</h1>"

    def test_a_slash_is_added(self, shelf: Shelf) -> None:
        answer = shelf.get("/docs?a=b%0d")
        assert (answer.status, answer.fields["location"]) == (308, "/docs/?a=b%0d")

    @pytest.mark.parametrize("path", ["//evil.example", "/%2fevil.example", "/\\evil.example"])
    def test_no_redirect_leads_to_another_host(self, shelf: Shelf, path: str) -> None:
        answer = shelf.get(path)
        assert answer.status in (400, 404)
        assert "location" not in answer.fields

    def test_no_listing(self, shelf: Shelf) -> None:
        assert shelf.get("/empty/").status == 404
        assert shelf.get("/a%20b.txt/").status == 404
        assert shelf.get("/index.html/index.html").status == 404

    def test_a_prefix(self, tree: Path) -> None:
        shelf = Shelf(tree, prefix="/static")
        assert shelf.get("/static/docs/index.html").body == b"<h1>docs</h1>"
        assert shelf.get("/static").fields["location"] == "/static/"
        assert shelf.get("/static/docs").fields["location"] == "/static/docs/"

    def test_a_single_file(self, tree: Path) -> None:
        shelf = Shelf(tree / "a b.txt", prefix="/robots.txt")
        assert shelf.get("/robots.txt").body == b"0123456789"
        assert shelf.get("/robots.txt/").status == 404
        assert shelf.get("/robots.txt/x").status == 404

    def test_a_directory_that_is_put_in_its_place(self, tree: Path) -> None:
        current = tree.parent / "current"
        current.symlink_to(tree)
        shelf = Shelf(current)
        assert shelf.get("/").body == b"<h1>home</h1>"
        (tree.parent / "next").mkdir()
        (tree.parent / "next" / "index.html").write_text("next")
        current.unlink()
        current.symlink_to(tree.parent / "next")
        assert shelf.get("/").body == b"next"


class TestWhatIsNotShown:
    @pytest.mark.parametrize(
        "path", ["/.git/config", "/.git/", "/%2egit/config", "/nothing", "/docs/nothing/x"]
    )
    def test_hidden_and_missing_files(self, shelf: Shelf, path: str) -> None:
        answer = shelf.get(path)
        assert answer.status == 404
        assert b"secret" not in answer.body

    def test_links_lead_nowhere_outside(self, shelf: Shelf, tree: Path) -> None:
        (tree / "out").symlink_to("../secret")
        (tree / "up").symlink_to("..")
        (tree / "absolute").symlink_to(tree.parent / "secret")
        (tree / "proc").symlink_to("/proc/self/root")
        for path in ("/out", "/up/secret", "/absolute", "/proc/etc/passwd", "/proc/"):
            assert shelf.get(path).status == 404, path
        (tree / "within").symlink_to("docs/../a b.txt")
        assert shelf.get("/within").body == b"0123456789"

    def test_only_plain_files(self, shelf: Shelf, tree: Path) -> None:
        os.mkfifo(tree / "pipe")
        assert shelf.get("/pipe").status == 404

    def test_the_log_is_told_why(self, shelf: Shelf) -> None:
        shelf.get("/nothing")
        assert shelf.log == [(404, "192.0.2.1", "No such file or directory")]


class TestAnOldKernel:
    @pytest.fixture
    def shelf(self, tree: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
        have_an_old_kernel(monkeypatch)
        return Shelf(tree)

    def test_files_are_found_step_by_step(self, shelf: Shelf) -> None:
        assert shelf.get("/docs/index.html").body == b"<h1>docs</h1>"
        assert shelf.get("/docs").status == 308
        assert shelf.get("/a%20b.txt").body == b"0123456789"
        assert shelf.get("/nothing/x").status == 404

    def test_no_link_is_followed(self, shelf: Shelf, tree: Path) -> None:
        (tree / "out").symlink_to("../secret")
        (tree / "up").symlink_to("..")
        (tree / "within").symlink_to("docs")
        for path in ("/out", "/up/secret", "/within/index.html"):
            assert shelf.get(path).status == 404, path


class TestCopies:
    @pytest.fixture(autouse=True)
    def copies(self, tree: Path) -> None:
        (tree / "a.js").write_bytes(b"plain")
        (tree / "a.js.br").write_bytes(b"by brotli")
        (tree / "a.js.gz").write_bytes(b"by gzip")
        (tree / "b.js").write_bytes(b"plain")

    @pytest.mark.parametrize(
        ("accept", "coding", "body"),
        [
            ("gzip, deflate, br, zstd", "br", b"by brotli"),
            ("gzip", "gzip", b"by gzip"),
            ("zstd", None, b"plain"),
            ("br;q=0", None, b"plain"),
        ],
    )
    def test_the_best_that_the_client_takes(
        self, shelf: Shelf, accept: str, coding: str | None, body: bytes
    ) -> None:
        answer = shelf.get("/a.js", f"Accept-Encoding: {accept}")
        assert (answer.fields.get("content-encoding"), answer.body) == (coding, body)
        assert answer.fields["content-type"] == "text/javascript; charset=utf-8"
        assert answer.fields["vary"] == "Accept-Encoding"

    def test_each_has_its_own_etag(self, shelf: Shelf) -> None:
        lines = ("Accept-Encoding: br", "Accept-Encoding: gzip", "Accept-Encoding: identity")
        etags = {shelf.get("/a.js", line).fields["etag"] for line in lines}
        assert len(etags) == 3

    def test_where_there_is_none(self, shelf: Shelf) -> None:
        answer = shelf.get("/b.js", "Accept-Encoding: br")
        assert answer.body == b"plain"
        assert "vary" not in answer.fields

    def test_a_copy_that_leads_out_is_none(self, shelf: Shelf, tree: Path) -> None:
        (tree / "b.js.br").symlink_to("../secret")
        assert shelf.get("/b.js", "Accept-Encoding: br").body == b"plain"

    def test_the_copy_itself_is_a_file(self, shelf: Shelf) -> None:
        answer = shelf.get("/a.js.gz", "Accept-Encoding: gzip")
        assert answer.body == b"by gzip"
        assert answer.fields["content-type"] == "application/gzip"
        assert "content-encoding" not in answer.fields


class TestCaching:
    def test_for_how_long(self, tree: Path) -> None:
        shelf = Shelf(tree, max_age=86400, immutable=["docs/*", "*.[0-9]*.js"])
        (tree / "app.0815.js").write_text("")
        said = {
            path: shelf.get(path).fields["cache-control"]
            for path in ("/", "/docs/index.html", "/app.0815.js")
        }
        assert said == {
            "/": "max-age=86400",
            "/docs/index.html": "max-age=31536000, immutable",
            "/app.0815.js": "max-age=31536000, immutable",
        }

    def test_an_unchanged_file_says_so_too(self, tree: Path) -> None:
        shelf = Shelf(tree, max_age=60)
        answer = shelf.get("/", "If-None-Match: *")
        assert (answer.status, answer.fields["cache-control"]) == (304, "max-age=60")
