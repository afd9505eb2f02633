"""Every limit and deadline as an administrator sets it, at the running daemon, with its status.

What they do in detail, and at which second, is tested with a clock; here, that the keys arrive.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator

import pytest

from tests.integration.jupyter import notebook_port
from tests.integration.proxy import Proxy

from .conftest import UNWATCHED
from .streams import Notebook, Stream, answer, browse, request

pytestmark = pytest.mark.integration

LIMITS = """
[limits]
connections = 8
connections_per_client = 6
connections_per_port = 2
head_bytes = 1024
head_fields = 10
target_bytes = 256
body_bytes = 1000
response_head_bytes = 1024
"""
TIMEOUTS = """
[timeouts]
handshake = 0.5
head = 0.5
body = 0.5
keepalive = 0.5
upstream_idle = 0.5
connect = 0.5
response = 0.5
"""
#: Deadlines are looked at twice a second, and this machine has other things to do.
SOON = 10.0
OTHER_CLIENT = "127.0.0.2"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy that allows hardly anything."""
    running = Proxy(tmp_path_factory.mktemp("strict"), UNWATCHED + LIMITS + TIMEOUTS)
    yield running
    running.child.stop()


@pytest.fixture(scope="module")
def tls(front: Proxy) -> ssl.SSLContext:
    """What browsers need to trust it."""
    return front.client_tls()


class TestSizes:
    @pytest.mark.parametrize(
        ("target", "lines", "status"),
        [
            (b"x" * 256, [], 414),
            (b"", [b"X: " + b"x" * 1024], 431),
            (b"", [b"X-%d: x" % number for number in range(10)], 431),
            (b"", [b"Content-Length: 1001"], 413),
        ],
        ids=["target_bytes", "head_bytes", "head_fields", "body_bytes"],
    )
    def test_a_request_that_is_too_large(
        self, browser: Stream, notebook: Notebook, target: bytes, lines: list[bytes], status: int
    ) -> None:
        browser.say(request(b"PUT " + notebook.path + target, *lines))
        assert browser.hear_status() == status

    def test_a_body_that_turns_out_to_be_too_large(
        self, browser: Stream, notebook: Notebook
    ) -> None:
        browser.say(request(b"PUT " + notebook.path, b"Transfer-Encoding: chunked"))
        upstream = notebook.take()
        for _ in range(3):
            browser.say(b"190\r\n%b\r\n" % bytes(0x190))
        assert browser.hear_status() == 413
        assert upstream.is_closed_within(SOON)

    def test_a_head_of_the_notebook_s_that_is_too_large(
        self, browser: Stream, notebook: Notebook
    ) -> None:
        browser.say(request(b"GET " + notebook.path))
        notebook.take().say(answer(b"X: " + b"x" * 1024, b"Content-Length: 0"))
        assert browser.hear_status() == 502


class TestDeadlines:
    def test_handshake(self, front: Proxy) -> None:
        with socket.create_connection(("127.0.0.1", front.port), SOON) as sock:
            assert Stream(sock).is_closed_within(SOON)

    def test_head(self, browser: Stream) -> None:
        browser.say(b"GET / HTTP/1.1\r\n")
        assert browser.hear_status() == 408

    def test_body(self, browser: Stream, notebook: Notebook) -> None:
        browser.say(request(b"PUT " + notebook.path, b"Content-Length: 10", body=b"01234"))
        upstream = notebook.take()
        assert browser.hear_status() == 408
        assert upstream.is_closed_within(SOON)

    def test_a_body_that_the_browser_does_not_read(
        self, front: Proxy, tls: ssl.SSLContext, notebook: Notebook
    ) -> None:
        with browse(front.port, tls, receive_buffer=4096) as browser:
            browser.say(request(b"GET " + notebook.path))
            upstream = notebook.take()
            upstream.say(answer(b"Content-Length: %d" % 2**30))
            with pytest.raises(OSError):  # noqa: PT011 - reset or broken pipe, as it comes
                upstream.pour(2**30)
            assert browser.is_closed_within(SOON)

    def test_keepalive(self, browser: Stream) -> None:
        browser.say(request(b"GET /"))
        head = browser.hear_head()
        browser.hear(int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]))
        began = time.monotonic()
        assert browser.hear_rest() == b""
        assert time.monotonic() - began > 0.4

    def test_upstream_idle(self, browser: Stream, notebook: Notebook) -> None:
        browser.say(request(b"GET " + notebook.path))
        upstream = notebook.take()
        upstream.say(answer(b"Content-Length: 0"))
        assert browser.hear_status() == 200
        assert not upstream.is_closed_within(0.3)
        assert upstream.is_closed_within(SOON)

    def test_connect(self, browser: Stream) -> None:
        with deaf_port() as port:
            browser.say(request(b"GET /ipython/%d/" % port))
            assert browser.hear_status() == 503

    def test_response(self, browser: Stream, notebook: Notebook) -> None:
        browser.say(request(b"GET " + notebook.path))
        upstream = notebook.take()
        assert browser.hear_status() == 504
        assert upstream.is_closed_within(SOON)


@contextlib.contextmanager
def deaf_port() -> Iterator[int]:
    """A port whose queue is full: the kernel answers no further connection."""
    port = notebook_port()
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", port))
        listening.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield port


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy with the same caps, where requests may wait for their answers."""
    running = Proxy(tmp_path_factory.mktemp("patient"), UNWATCHED + LIMITS)
    yield running
    running.child.stop()


class TestCaps:
    """Who is there already has its service; whoever is one too many is told so."""

    def test_connections_per_port(self, patient: Proxy, notebook: Notebook) -> None:
        with contextlib.ExitStack() as stack:
            tls = patient.client_tls()

            def ask(source: str = "127.0.0.1") -> Stream:
                browser = stack.enter_context(browse(patient.port, tls, source=source))
                browser.say(request(b"GET " + notebook.path))
                return browser

            first, with_first = ask(), notebook.take()
            second, with_second = ask(), notebook.take()
            # All places are one client's, so another's takes one of them.
            other = ask(OTHER_CLIENT)
            assert second.hear_status() == 503
            assert with_second.is_closed_within(SOON)
            with_other = notebook.take()
            # Each has one now, and the next has to wait until one is free.
            last = ask()
            for browser, upstream in (other, with_other), (last, with_other), (first, with_first):
                upstream.hear_head()
                upstream.say(answer(b"Content-Length: 0"))
                assert browser.hear_status() == 200

    def test_connections_per_client_and_in_all(self, patient: Proxy) -> None:
        with contextlib.ExitStack() as stack:
            tls = patient.client_tls()

            def ask(path: bytes, source: str = "127.0.0.1") -> Stream:
                browser = stack.enter_context(browse(patient.port, tls, source=source))
                browser.say(request(b"GET " + path))
                return browser

            silent = [stack.enter_context(contextlib.closing(Notebook())) for _ in range(4)]
            paths = [notebook.path for notebook in silent for _ in range(2)]
            for path in paths[:6]:
                ask(path)
            assert ask(b"/").hear_status() == 429
            idle = ask(b"/", OTHER_CLIENT)
            assert idle.hear_status() == 200
            ask(paths[6], OTHER_CLIENT)
            # All places are taken. What is idle gives way, and then nobody does.
            last = ask(paths[7], OTHER_CLIENT)
            assert idle.is_closed_within(SOON)
            assert ask(b"/", OTHER_CLIENT).hear_status() == 503
            assert not last.is_closed_within(0)
