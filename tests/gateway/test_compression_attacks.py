"""What somebody tries with answers that are compressed and kept."""

from __future__ import annotations

import pytest

from ipyproxy.encoding.compression import Dynamic
from tests.gateway.compressing import BODY, GET, GZIP, SCRIPT, TAG, Scene, heard
from tests.web.gate import HOST, message


@pytest.fixture
def scene() -> Scene:
    return Scene()


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
