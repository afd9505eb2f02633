"""However much passes, waits or stalls: the proxy keeps no more of it than its high-water marks."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from ipyproxy.config.limits import Limits
from ipyproxy.net.tcp import READ_SIZE
from tests.integration.proxy import Proxy

from .conftest import UNWATCHED
from .resources import Files, Memory
from .streams import Notebook, Stream, answer, browse, request

pytestmark = pytest.mark.integration

GIB = 2**30
SIZES = [
    pytest.param(32 * 2**20, id="32 MiB"),
    pytest.param(GIB, id="1 GiB", marks=pytest.mark.soak),
]
#: What the allocator keeps for later and what only the first big transfer takes.
ONCE = 4 * 2**20
#: Both sides' objects of an exchange, and an OpenSSL session.
EACH = 64 * 1024


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Proxy]:
    """A new proxy: one that has grown before would not show it."""
    running = Proxy(tmp_path, UNWATCHED)
    yield running
    running.child.stop()


@pytest.fixture
def tls(front: Proxy) -> ssl.SSLContext:
    """What browsers need to trust it."""
    return front.client_tls()


def bound(exchanges: int) -> int:
    """Bytes that the resident set may grow by while *exchanges* move or wait.

    For each: what may wait before its sender is made to, and what one read brought on top of that.
    """
    return ONCE + exchanges * (EACH + Limits().buffer_bytes + READ_SIZE)


@contextmanager
def bounded(proxy: Proxy, exchanges: int) -> Iterator[Callable[[], int]]:
    """Fail if the proxy grows by more than the bound inside, or opens a file."""
    memory, files = Memory(proxy.child.pid), Files(proxy.child.pid)
    try:
        yield memory.growth
    finally:
        opened = files.opened()
    growth = memory.growth()
    print(f"grew by {growth / 1024:.0f} KiB; bound {bound(exchanges) / 1024:.0f} KiB")
    assert growth <= bound(exchanges)
    assert not opened


def in_threads(browsers: list[Stream], call: Callable[[Stream], object]) -> None:
    """Call for all at once."""
    threads = [threading.Thread(target=call, args=(browser,)) for browser in browsers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("size", SIZES)
def test_a_download_passes_through(
    front: Proxy, browser: Stream, notebook: Notebook, size: int
) -> None:
    def pour(upstream: Stream) -> None:
        upstream.hear_head()
        upstream.say(answer(b"Content-Length: %d" % size))
        upstream.pour(size)

    with bounded(front, 1), notebook.serving(pour):
        browser.say(request(b"GET " + notebook.path))
        assert browser.hear_status() == 200
        assert browser.count(size) == size


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunked", [False, True], ids=["of a length", "in chunks"])
def test_an_upload_passes_through(
    front: Proxy, browser: Stream, notebook: Notebook, size: int, chunked: bool
) -> None:
    taken = []

    def take(upstream: Stream) -> None:
        upstream.hear_head()
        if chunked:
            while (line := upstream.hear_until(b"\r\n")) != b"0\r\n":
                taken.append(upstream.count(int(line, 16)))
                upstream.hear(2)
        else:
            taken.append(upstream.count(size))
        upstream.say(answer(b"Content-Length: 0"))

    with bounded(front, 1), notebook.serving(take):
        if chunked:
            browser.say(request(b"PUT " + notebook.path, b"Transfer-Encoding: chunked"))
            piece = b"100000\r\n" + bytes(2**20) + b"\r\n"
            for _ in range(size // 2**20):
                browser.say(piece)
            browser.say(b"0\r\n\r\n")
        else:
            browser.say(request(b"PUT " + notebook.path, b"Content-Length: %d" % size))
            browser.pour(size)
        assert browser.hear_status() == 200
        assert sum(taken) == size


def test_a_hundred_readers_that_stall_stop_their_senders(
    front: Proxy, tls: ssl.SSLContext, notebook: Notebook
) -> None:
    poured = [0]

    def pour(upstream: Stream) -> None:
        upstream.hear_head()
        upstream.say(answer(b"Content-Length: %d" % GIB))
        for _ in range(GIB // 65536):
            upstream.pour(65536)
            poured[0] += 65536

    with bounded(front, 100) as growth, notebook.serving(pour), ExitStack() as stack:
        for _ in range(100):
            reader = stack.enter_context(browse(front.port, tls, receive_buffer=65536))
            reader.say(request(b"GET " + notebook.path))
        wait_for_rest(lambda: poured[0] + growth())
        # Nobody else is made to wait.
        with browse(front.port, tls) as browser:
            browser.say(request(b"GET /"))
            assert browser.hear_status() == 200


def test_fifty_uploads_to_a_notebook_that_stalls_stop_their_senders(
    front: Proxy, tls: ssl.SSLContext
) -> None:
    notebook = Notebook(receive_buffer=65536)
    sent = [0]

    def pour(browser: Stream) -> None:
        browser.say(request(b"PUT " + notebook.path, b"Content-Length: %d" % GIB))
        browser.socket.settimeout(0.5)
        with suppress(TimeoutError):
            while True:
                browser.pour(65536)
                sent[0] += 65536

    with bounded(front, 50), ExitStack() as stack, notebook.serving(lambda _: time.sleep(60)):
        browsers = [stack.enter_context(browse(front.port, tls)) for _ in range(50)]
        in_threads(browsers, pour)
        assert 0 < sent[0] < 50 * GIB


@pytest.mark.parametrize(
    "seconds",
    [pytest.param(3, id="3 s"), pytest.param(60, id="60 s", marks=pytest.mark.soak)],
)
def test_fifty_slow_uploads(
    front: Proxy, tls: ssl.SSLContext, notebook: Notebook, seconds: int
) -> None:
    taken = [0]

    def take(upstream: Stream) -> None:
        upstream.hear_head()
        while upstream.hear(1024):
            taken[0] += 1024

    with bounded(front, 50), ExitStack() as stack, notebook.serving(take):
        uploads = [stack.enter_context(browse(front.port, tls)) for _ in range(50)]
        for upload in uploads:
            upload.say(request(b"PUT " + notebook.path, b"Content-Length: %d" % GIB))
        end = time.monotonic() + seconds
        sent = 0
        while time.monotonic() < end:
            for upload in uploads:
                upload.say(bytes(1024))
                sent += 1024
            time.sleep(0.2)
        wait_for_rest(lambda: taken[0])
        assert taken[0] == sent


#: What a client or a notebook may make the proxy remember, however much it sends.
REMEMBERED = 8 * 2**20


@contextmanager
def forgotten(proxy: Proxy) -> Iterator[None]:
    """Fail if the proxy has grown by more than it may remember."""
    memory = Memory(proxy.child.pid)
    yield
    growth = memory.growth()
    print(f"grew by {growth / 1024:.0f} KiB; bound {REMEMBERED / 1024:.0f} KiB")
    assert growth <= REMEMBERED


def hear_answer(browser: Stream) -> int:
    """The status of the next answer; its body is read too."""
    head = browser.hear_head()
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    assert len(browser.hear(length)) == length
    return int(head.split(b" ")[1])


def empty_cookies(number: int) -> bytes:
    """A thousand fields without a value, and some more of them each time."""
    return b"X-A: %d\r\n" % number + b"Set-Cookie:\r\n" * (700 + number % 290)


def too_many_cookies(number: int) -> bytes:
    """As many fields as go into a head."""
    return b"X-A: %d\r\n" % number + b"Set-Cookie:\r\n" * (4000 + number % 800)


def long_cookies(number: int) -> bytes:
    """One long head after the other, each unlike all before."""
    return b"".join(b"Set-Cookie: %d=%b\r\n" % (number, b"a" * (50 * n)) for n in range(47))


def long_reason(number: int) -> bytes:
    """Fields that pass as they are, long and always new."""
    return b"".join(b"X-%d-%d: %b\r\n" % (number, n, b"a" * 1000) for n in range(50))


@pytest.mark.parametrize(
    "fields", [empty_cookies, too_many_cookies, long_cookies, long_reason], ids=lambda f: f.__name__
)
def test_a_notebook_s_heads_are_not_remembered(
    front: Proxy, browser: Stream, notebook: Notebook, fields: Callable[[int], bytes]
) -> None:
    numbers = iter(range(10_000))

    def answer_all(upstream: Stream) -> None:
        while upstream.hear_head():
            more = fields(next(numbers))
            assert len(more) < 60_000 or fields is too_many_cookies
            upstream.say(b"HTTP/1.1 200 OK\r\n%bContent-Length: 0\r\n\r\n" % more)

    def ask(times: int) -> None:
        for _ in range(times):
            browser.say(request(b"GET " + notebook.path))
            assert hear_answer(browser) == (502 if fields is too_many_cookies else 200)

    with notebook.serving(answer_all):
        ask(20)
        with forgotten(front):
            ask(600)


def referers(number: int) -> bytes:
    return b"Referer: https://localhost/?%d=%b\r\n" % (number, b"a" * 14_000)


def cookies(number: int) -> bytes:
    return b"Cookie: a%d=%b\r\n" % (number, b"a" * 14_000)


def agents(number: int) -> bytes:
    return b"User-Agent: %d %b\r\n" % (number, b"\xff" * 14_000)


def connections(number: int) -> bytes:
    return b"Connection: x%d, %b\r\n" % (number, b"a," * 7_000)


def subprotocols(number: int) -> bytes:
    return b"Sec-WebSocket-Protocol: %d, %b\r\n" % (number, b"a" * 14_000)


def vias(number: int) -> bytes:
    return b"Via: 1.1 %d%b\r\n" % (number, b"a" * 14_000)


def test_a_client_s_heads_are_not_remembered(
    front: Proxy, tls: ssl.SSLContext, notebook: Notebook
) -> None:
    def answer_all(upstream: Stream) -> None:
        while upstream.hear_head():
            upstream.say(answer(b"Content-Length: 0"))

    def ask(numbers: range) -> None:
        with browse(front.port, tls) as client:
            for number in numbers:
                for field in (referers, cookies, agents, connections, subprotocols, vias):
                    head = request(b"GET " + notebook.path)[:-2] + field(number) + b"\r\n"
                    client.say(head)
                    assert hear_answer(client) == 200

    with notebook.serving(answer_all):
        ask(range(10))
        with forgotten(front):
            for begin in range(10, 310, 30):
                ask(range(begin, begin + 30))


def wait_for_rest(measure: Callable[[], int]) -> None:
    """Wait until *measure* does not change any more."""
    last = -1
    while (now := measure()) != last:
        last = now
        time.sleep(0.5)
