"""Notebooks that were started with a certificate: carried over TLS on both sides."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import Authority, Issued
from tests.integration.processes import poll
from tests.integration.proxy import Proxy

from .streams import Notebook, Stream, answer, browse, request

pytestmark = pytest.mark.integration

PROBE = b"\r\nUser-Agent: ipyproxy\r\n"
UPGRADE = (b"Upgrade: websocket", b"Connection: Upgrade")
EMPTY = answer(b"Content-Length: 0")


class SecureNotebook(Notebook):
    """One that speaks TLS: it shakes hands with the first that it says or hears."""

    def __init__(self, issued: Issued, directory: Path) -> None:
        super().__init__()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*issued.write(directory, f"notebook-{self.port}"))

    def take(self) -> Stream:
        sock = super().take().socket
        return Stream(
            self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        )


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("Notebooks")


@pytest.fixture(scope="module", params=["tcp", "http"])
def mode(request: pytest.FixtureRequest) -> str:
    """How notebooks are probed."""
    return str(request.param)


@pytest.fixture(scope="module")
def front(
    mode: str, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A proxy that speaks TLS to notebooks."""
    directory = tmp_path_factory.mktemp("secure")
    authority.write(directory, "notebooks")
    running = Proxy(
        directory,
        '[notebooks]\ntls = true\ntls_ca = "notebooks.pem"\n'
        f'[health]\nmode = "{mode}"\ninterval = 0.3\n[timeouts]\nresponse = 8\n',
    )
    yield running
    running.child.stop()


@pytest.fixture
def browser(front: Proxy) -> Iterator[Stream]:
    with browse(front.port, front.client_tls()) as stream:
        yield stream


@pytest.fixture
def notebook(authority: Authority, tmp_path: Path) -> Iterator[Notebook]:
    made = SecureNotebook(authority.issue("localhost"), tmp_path)
    yield made
    made.close()


def test_requests_and_probes_are_answered(
    front: Proxy, browser: Stream, notebook: Notebook, mode: str
) -> None:
    heads: list[bytes] = []

    def serve(stream: Stream) -> None:
        while head := stream.hear_head():
            heads.append(head)
            stream.say(EMPTY)

    with notebook.serving(serve):
        for _ in range(3):
            browser.say(request(b"GET " + notebook.path, b"Origin: https://localhost"))
            assert browser.hear_status() == 200
        if mode == "http":
            poll(lambda: PROBE in heads[-1] or None, seconds=20, waiting_for="a probe")
    asked = [head for head in heads if PROBE not in head]
    assert len(asked) == 3
    assert b"\r\nOrigin: https://127.0.0.1:%d\r\n" % notebook.port in asked[0]
    assert "dead" not in front.child.log()


def test_bodies_of_any_size_pass_both_ways(browser: Stream, notebook: Notebook) -> None:
    size = 3_000_000

    def serve(stream: Stream) -> None:
        if b"PUT" not in stream.hear_head():
            return
        assert stream.count(size) == size
        stream.say(answer(b"Content-Length: %d" % size))
        stream.pour(size)

    with notebook.serving(serve):
        browser.say(request(b"PUT " + notebook.path, b"Content-Length: %d" % size))
        browser.pour(size)
        assert browser.hear_status() == 200
        assert browser.count(size) == size


def test_a_websocket_is_bridged(browser: Stream, notebook: Notebook) -> None:
    frame = b"\x81\x82\0\0\0\0hi"

    def serve(stream: Stream) -> None:
        head = stream.hear_head()
        if b"\r\nUpgrade: websocket\r\n" not in head:
            return  # a probe
        key = head.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
        digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        accept = b"Sec-WebSocket-Accept: " + base64.b64encode(digest)
        stream.say(answer(*UPGRADE, accept, status=b"101 Switching Protocols"))
        assert stream.hear(len(frame)) == frame
        stream.say(b"\x81\x02ho")

    with notebook.serving(serve):
        key = b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16))
        lines = (*UPGRADE, b"Sec-WebSocket-Version: 13", key)
        browser.say(request(b"GET " + notebook.path, *lines))
        assert browser.hear_status() == 101
        browser.say(frame)
        assert browser.hear(4) == b"\x81\x02ho"


def test_an_answer_that_nobody_asked_for_is_nobody_s(
    front: Proxy, browser: Stream, notebook: Notebook, mode: str
) -> None:
    """The proxy finds both when it wakes up: a request, and bytes on the connection kept for it."""
    evil = answer(b"Content-Length: 4", body=b"evil")
    upstreams: list[Stream] = []

    def serve(stream: Stream) -> None:
        while head := stream.hear_head():
            if PROBE not in head:
                upstreams.append(stream)
                stream.say(answer(b"Content-Length: 3", body=b"yes"))

    with notebook.serving(serve):
        for _ in range(5):
            browser.say(request(b"GET " + notebook.path))
            assert browser.hear_status() == 200
            assert browser.hear(3) == b"yes"
            os.kill(front.child.pid, signal.SIGSTOP)
            try:
                browser.say(request(b"GET " + notebook.path))
                upstreams[-1].say(evil)
            finally:
                os.kill(front.child.pid, signal.SIGCONT)
            assert browser.hear_status() == 200
            assert browser.hear(3) == b"yes"


def refused(front: Proxy, browser: Stream, notebook: Notebook, why: str) -> None:
    seen = len(front.child.log())
    browser.say(request(b"GET " + notebook.path))
    assert browser.hear_status() == 502
    assert why in front.child.log()[seen:]


@pytest.mark.parametrize("flaw", ["another name", "another authority", "no TLS"])
def test_what_is_not_the_notebook_is_told_nothing(
    front: Proxy, browser: Stream, authority: Authority, tmp_path: Path, flaw: str
) -> None:
    heard: list[bytes] = []

    def serve(stream: Stream) -> None:
        heard.append(stream.hear(1))

    def serve_plainly(stream: Stream) -> None:
        heard.append(stream.hear(1))
        stream.say(answer(status=b"400 Bad Request"))

    issued = {
        "another name": authority.issue("other.example.org"),
        "another authority": Authority("Notebooks").issue("localhost"),
    }
    listening = SecureNotebook(issued[flaw], tmp_path) if flaw in issued else Notebook()
    with listening.serving(serve if flaw in issued else serve_plainly):
        why = {
            "another name": "the certificate is not one for localhost",
            "another authority": "certificate verify failed",
            "no TLS": "TLS: ",
        }[flaw]
        refused(front, browser, listening, why)
    assert not [each for each in heard if each[:1] == b"G"]


def test_one_that_never_shakes_hands_is_busy_and_waited_for(front: Proxy, browser: Stream) -> None:
    listening = Notebook()
    try:
        browser.say(request(b"GET " + listening.path))
        with listening.take():
            assert browser.hear_status() == 504
        assert f"port {listening.port}: unknown -> busy (silent)" in front.child.log()
    finally:
        listening.close()
