"""X-Sendfile and X-Accel-Redirect: an application names a file, and the proxy sends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipyproxy.files.named import NamedFiles
from tests.files.shelf import Answer, Reader, have_an_old_kernel, let_all_wait, read
from tests.front import Browser
from tests.web.gate import Gate, ask

DATA = bytes(range(256)) * 8192  # 2 MiB
NOT_PASSED_ON = ("x-sendfile", "x-accel-redirect")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """What the application may have sent; beside it lies a secret."""
    (tmp_path / "secret").write_text("secret")
    files = tmp_path / "files"
    (files / "000").mkdir(parents=True)
    (files / "000" / "dataset 1.dat").write_bytes(DATA)
    (files / "000" / "small.dat").write_bytes(b"0123456789")
    return files


@pytest.fixture(params=["at once", "by the disk"])
def gate(files: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Gate:
    if request.param == "by the disk":
        let_all_wait(monkeypatch)
    reader = Reader(at_once=True)
    return Gate(named_files=NamedFiles([files], reader))  # type: ignore[arg-type]


@pytest.fixture
def browser(gate: Gate) -> Browser:
    return gate.connect()


def fetch(
    gate: Gate,
    browser: Browser,
    answer: bytes,
    *lines: bytes,
    method: bytes = b"GET",
    body: bytes = b"",
) -> Answer:
    """What the browser gets where the application answers with these field lines."""
    ask(browser, b"%b /ipython/10000/datasets/1 HTTP/1.1" % method, *lines)
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n%b\r\n\r\n" % (
        len(body),
        answer,
    )
    gate.tell(gate.notebook(), head + body)
    heard = read(browser.hear())
    assert not set(NOT_PASSED_ON) & set(heard.fields)
    return heard


def sendfile(path: Path | str) -> bytes:
    return b"X-Sendfile: " + str(path).encode()


class TestWhatIsSent:
    def test_the_file_with_what_the_application_says_of_it(
        self, gate: Gate, browser: Browser, files: Path
    ) -> None:
        said = b"\r\n".join(
            [
                sendfile(files / "000" / "dataset 1.dat"),
                b"Content-Type: application/x-bam",
                b'Content-Disposition: attachment; filename="a.bam"',
                b'ETag: "of the empty body"',
                b"Content-Security-Policy: sandbox",
            ]
        )
        answer = fetch(gate, browser, said)
        assert (answer.status, answer.body) == (200, DATA)
        assert answer.fields["content-type"] == "application/x-bam"
        assert answer.fields["content-disposition"] == 'attachment; filename="a.bam"'
        assert answer.fields["content-security-policy"] == "sandbox"
        assert answer.fields["content-length"] == str(len(DATA))
        assert answer.fields["accept-ranges"] == "bytes"
        assert "of the empty body" not in answer.fields["etag"]
        assert gate.upstream().exchanges == 0
        assert gate.log == [(200, "192.0.2.1", "")]

    @pytest.mark.parametrize("location", ["", "/_x_accel_redirect", "/internal"])
    def test_nginx_s_field(self, gate: Gate, browser: Browser, files: Path, location: str) -> None:
        path = f"{location}{files}/000/dataset%201.dat?x=y".encode()
        assert fetch(gate, browser, b"X-Accel-Redirect: " + path).body == DATA

    def test_the_connection_is_kept_and_the_next_is_ordinary(
        self, gate: Gate, browser: Browser, files: Path
    ) -> None:
        ask(browser)
        notebook = gate.notebook()
        for _ in range(2):
            named = sendfile(files / "000" / "small.dat")
            gate.tell(notebook, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n%b\r\n\r\n" % named)
            assert read(browser.hear()).body == b"0123456789"
            ask(browser)
            gate.tell(notebook, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes")
            assert read(browser.hear()).body == b"yes"
            ask(browser)
        assert gate.dialler.attempts == []

    def test_its_type_by_its_name_where_nothing_is_said(
        self, gate: Gate, browser: Browser, files: Path
    ) -> None:
        (files / "a.html").write_text("x")
        answer = fetch(gate, browser, sendfile(files / "a.html"))
        assert answer.fields["content-type"] == "text/html; charset=utf-8"

    def test_ranges(self, gate: Gate, browser: Browser, files: Path) -> None:
        named = sendfile(files / "000" / "small.dat") + b"\r\nContent-Type: application/x-bam"
        answer = fetch(gate, browser, named, b"Range: bytes=2-4")
        assert (answer.status, answer.body) == (206, b"234")
        etag = answer.fields["etag"].encode()
        browser = gate.connect()
        answer = fetch(gate, browser, named, b"Range: bytes=2-4,6-", b"If-Range: " + etag)
        assert answer.status == 206
        assert b"Content-Type: application/x-bam\r\nContent-Range: bytes 6-9/10" in answer.body
        browser = gate.connect()
        answer = fetch(gate, browser, named, b"Range: bytes=2-4", b'If-Range: "old"')
        assert (answer.status, answer.body) == (200, b"0123456789")
        browser = gate.connect()
        assert fetch(gate, browser, named, b"Range: bytes=10-").status == 416
        browser = gate.connect()
        assert fetch(gate, browser, named, b"If-None-Match: " + etag).status == 304

    def test_head(self, gate: Gate, browser: Browser, files: Path) -> None:
        named = sendfile(files / "000" / "small.dat")
        answer = fetch(gate, browser, named, b"Range: bytes=2-4", method=b"HEAD")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.fields["content-length"] == "10"

    def test_a_post_has_no_conditions(self, gate: Gate, browser: Browser, files: Path) -> None:
        named = sendfile(files / "000" / "small.dat")
        lines = (b"If-None-Match: *", b"Range: bytes=2-4", b"Content-Length: 0")
        answer = fetch(gate, browser, named, *lines, method=b"POST")
        assert (answer.status, answer.body) == (200, b"0123456789")

    @pytest.mark.parametrize("body", [b"instead", b"x" * 100_000])
    def test_a_body_besides_is_dropped(
        self, gate: Gate, browser: Browser, files: Path, body: bytes
    ) -> None:
        answer = fetch(gate, browser, sendfile(files / "000" / "small.dat"), body=body)
        assert answer.body == b"0123456789"

    def test_a_body_that_never_ends_is_not_waited_for(
        self, gate: Gate, browser: Browser, files: Path
    ) -> None:
        ask(browser)
        notebook = gate.notebook()
        named = sendfile(files / "000" / "small.dat")
        gate.tell(notebook, b"HTTP/1.1 200 OK\r\n%b\r\n\r\nsome" % named)
        assert read(browser.hear()).body == b"0123456789"
        assert notebook.was_reset


class TestWhatIsNotSent:
    @pytest.mark.parametrize(
        "path",
        [
            "{top}/secret",
            "{files}/../secret",
            "{files}/%2e%2e/secret",
            "{files}/000/..%2f..%2fsecret",
            "{files}",
            "{files}/",
            "{files}x/secret",
            "/etc/passwd",
            "secret",
            "",
            "/",
            "/x{top}/secret",
        ],
    )
    @pytest.mark.parametrize("field", [b"X-Sendfile", b"X-Accel-Redirect"])
    def test_what_lies_elsewhere(
        self, gate: Gate, browser: Browser, files: Path, field: bytes, path: str
    ) -> None:
        named = path.format(files=files, top=files.parent).encode()
        answer = fetch(gate, browser, b"%b: %b" % (field, named))
        assert answer.status == 502
        assert b"it names a file that it may not have sent" in answer.body
        assert b"secret" not in answer.body
        note = gate.log[0][2]
        assert "below none of sendfile" in note
        assert note.startswith(field.decode().lower())

    def test_two_names(self, gate: Gate, browser: Browser, files: Path) -> None:
        named = sendfile(files / "000" / "small.dat")
        assert fetch(gate, browser, named + b"\r\n" + named).status == 502

    def test_links_that_lead_out(self, gate: Gate, browser: Browser, files: Path) -> None:
        (files / "out").symlink_to("../secret")
        (files / "absolute").symlink_to(files.parent / "secret")
        for name in ("out", "absolute"):
            answer = fetch(gate, gate.connect(), sendfile(files / name))
            assert answer.status == 502
            assert answer.body != b"secret"
            assert "is a link" in gate.log[-1][2]

    def test_a_file_that_is_gone(self, gate: Gate, browser: Browser, files: Path) -> None:
        assert fetch(gate, browser, sendfile(files / "000" / "nothing.dat")).status == 404
        assert fetch(gate, gate.connect(), sendfile(files / "000")).status == 404
        assert [note for _, _, note in gate.log] == ["No such file or directory", "Is a directory"]

    def test_another_status(self, gate: Gate, browser: Browser, files: Path) -> None:
        ask(browser)
        named = sendfile(files / "000" / "small.dat")
        gate.tell(gate.notebook(), b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n%b\r\n\r\nno" % named)
        answer = read(browser.hear())
        assert (answer.status, answer.body) == (403, b"no")
        assert not set(NOT_PASSED_ON) & set(answer.fields)

    def test_nothing_where_no_directory_is_listed(self, files: Path) -> None:
        gate = Gate()
        named = sendfile(files / "000" / "small.dat")
        answer = fetch(gate, gate.connect(), named, body=b"own")
        assert (answer.status, answer.body) == (200, b"own")


class TestLinks:
    def test_a_link_to_another_directory_that_is_listed(self, files: Path) -> None:
        """As of Galaxy's data libraries, which leave the data where they are."""
        library = files.parent / "library"
        library.mkdir()
        (library / "reads.bam").write_bytes(b"reads")
        (files / "000" / "linked.dat").symlink_to(library / "reads.bam")
        (files.parent / "alias").symlink_to(library)
        for listed in (library, files.parent / "alias"):
            reader = Reader(at_once=True)
            named = NamedFiles([files, listed], reader)  # type: ignore[arg-type]
            gate = Gate(named_files=named)
            answer = fetch(gate, gate.connect(), sendfile(files / "000" / "linked.dat"))
            assert answer.body == b"reads"

    def test_on_an_old_kernel_too(self, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        have_an_old_kernel(monkeypatch)
        (files / "out").symlink_to("../secret")
        (files / "in").symlink_to("000/small.dat")
        reader = Reader(at_once=True)
        gate = Gate(named_files=NamedFiles([files], reader))  # type: ignore[arg-type]
        assert fetch(gate, gate.connect(), sendfile(files / "out")).status == 502
        assert fetch(gate, gate.connect(), sendfile(files / "in")).body == b"0123456789"
