"""Slow heads, slow bodies, greedy ranges and slow readers leave everybody else their service."""

from __future__ import annotations

import shutil
import ssl
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.integration.processes import Child, of_these_tests, poll
from tests.integration.proxy import Proxy

from .conftest import UNWATCHED
from .office import SMALL
from .streams import Stream, browse, request

pytestmark = pytest.mark.integration

#: What a busy machine adds to a single wake-up, whoever it is for.
HICCUP = 0.020

#: Seconds between two steps of one slow client.
PAUSE = 0.5

Attack = Callable[[Stream, bytes, int], None]


@contextmanager
def open_office(directory: Path, name: str = "office") -> Iterator[bytes]:
    """A notebook in a process of its own, which takes no time of the guest's; gives its path."""
    command = [sys.executable, "-m", "tests.live.office"]
    child = Child(name, command, of_these_tests(), directory)
    port = poll(lambda: child.log().strip() or None, seconds=20, waiting_for="the notebook")
    yield b"/ipython/%s/" % port.encode()
    child.stop()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[bytes]:
    with open_office(tmp_path) as path:
        yield path


class Guest:
    """Somebody who asks for a small page at a steady pace."""

    def __init__(self, browser: Stream, path: bytes) -> None:
        self._browser = browser
        self._request = request(b"GET " + path)

    def p99(self, seconds: float) -> float:
        """Ask two hundred times a second; gives how long 99 % of the answers took at most."""
        took = []
        end = time.monotonic() + seconds
        while (began := time.monotonic()) < end:
            self._browser.say(self._request)
            assert self._browser.hear_status() == 200
            assert self._browser.hear(len(SMALL)) == SMALL
            took.append(time.monotonic() - began)
            time.sleep(max(0.0, 0.005 - took[-1]))
        # One answer may take longer than all the time.
        return statistics.quantiles(took, n=100)[-1] if len(took) > 1 else took[0]


# The four kinds, one step each; called again and again.


def slow_head(browser: Stream, path: bytes, step: int) -> None:
    """Slowloris: a field now and then, and never the last."""
    start = b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n"
    browser.say(b"X-%d: 1\r\n" % step if step else start)


def slow_body(browser: Stream, path: bytes, step: int) -> None:
    """A few bytes of a body now and then."""
    start = request(b"POST " + path, b"Content-Length: 100000")
    browser.say(b"x" * 10 if step else start)


def greedy_ranges(browser: Stream, path: bytes, step: int) -> None:
    """Apache's killer: a request for very many ranges, again and again (CVE-2011-3192)."""
    ranges = b",".join(b"5-%d" % end for end in range(2000))
    browser.say(request(b"GET " + path, b"Range: bytes=0-," + ranges))


def slow_reading(browser: Stream, path: bytes, step: int) -> None:
    """Ask for much and read hardly anything."""
    if step:
        browser.hear(16)
    else:
        browser.say(request(b"GET " + path + b"large"))


@contextmanager
def attacked(
    proxy: Proxy, tls: ssl.SSLContext, path: bytes, attack: Attack, connections: int
) -> Iterator[None]:
    """Keep *connections* at it meanwhile."""
    over = threading.Event()

    def keep_on(browsers: list[Stream]) -> None:
        step = 0
        while not over.is_set():
            for browser in browsers:
                with suppress(OSError):
                    attack(browser, path, step)
                # Spread, or this process would be what slows its guest down.
                over.wait(PAUSE / connections)
            step += 1

    with ExitStack() as stack:
        browsers = [
            stack.enter_context(browse(proxy.port, tls, receive_buffer=4096))
            for _ in range(connections)
        ]
        attacking = threading.Thread(target=keep_on, args=(browsers,))
        attacking.start()
        try:
            time.sleep(2 * PAUSE)
            yield
        finally:
            over.set()
            attacking.join()


@pytest.mark.parametrize("attack", [slow_head, slow_body, greedy_ranges, slow_reading])
def test_a_hundred_slow_clients_leave_others_their_service(
    front: Proxy, tls: ssl.SSLContext, browser: Stream, office: bytes, attack: Attack
) -> None:
    guest = Guest(browser, office)
    before = guest.p99(1)
    with attacked(front, tls, office, attack, 100):
        # The first window may see the attack begin, and any may see what else runs here.
        during = [guest.p99(1)]
        while during[-1] >= max(2 * before, HICCUP) and len(during) < 10:
            during.append(guest.p99(1))
    print(f"p99 {before * 1e3:.1f} ms before, {during[-1] * 1e3:.1f} ms meanwhile")
    assert during[-1] < max(2 * before, HICCUP)


SLOWHTTPTEST = shutil.which("slowhttptest")
MODES = {
    "heads": ["-H", "-i", "10"],
    "bodies": ["-B", "-i", "10", "-s", "8192", "-x", "10"],
    "ranges": ["-R", "-a", "5", "-b", "2000"],
    "readers": ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"],
}
UNCAPPED = "limits.connections_per_client = 4096\nlimits.connections_per_port = 4096\n"


@pytest.mark.soak
@pytest.mark.skipif(SLOWHTTPTEST is None, reason="slowhttptest is not installed")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("configuration", ["", UNCAPPED], ids=["default caps", "no caps"])
def test_slowhttptest_leaves_others_their_service(
    office: bytes, tmp_path: Path, mode: str, configuration: str
) -> None:
    proxy = Proxy(tmp_path, UNWATCHED + configuration)
    url = f"https://localhost:{proxy.port}{office.decode()}"
    command = [str(SLOWHTTPTEST), *MODES[mode], "-c", "500", "-r", "200", "-l", "60", "-u"]
    command.append(url + "large" if mode == "readers" else url)
    try:
        # To fill the buffers of 500 readers keeps a notebook busy for seconds, so the guest's is
        # another one.
        with (
            open_office(tmp_path, "quiet office") as quiet,
            browse(proxy.port, proxy.client_tls()) as browser,
        ):
            guest = Guest(browser, quiet)
            before = [guest.p99(2) for _ in range(10)]
            with (tmp_path / "slowhttptest.log").open("w") as log:
                running = subprocess.Popen(
                    command, stdout=log, stderr=log, stdin=subprocess.DEVNULL
                )
                time.sleep(5)  # until all are connected
                during = [guest.p99(2) for _ in range(25)]
                running.wait(60)
    finally:
        proxy.child.stop()
    for name, figures in ("before", before), ("meanwhile", during):
        print(f"p99 {name}: {' '.join(f'{figure * 1e3:.1f}' for figure in sorted(figures))} ms")
    assert statistics.median(during) < max(2 * statistics.median(before), HICCUP)
    assert "Traceback" not in proxy.child.log()
