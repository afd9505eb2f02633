"""A login server that is asked for each request: quickly, on few connections, and for one only."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from pathlib import Path

import pytest

from tests.integration.login import COOKIE, LoginServer, Session
from tests.integration.processes import poll
from tests.integration.proxy import Proxy

from .streams import Notebook, Stream, answer, browse, request

pytestmark = pytest.mark.integration

CONFIG = """
health.mode = "off"
limits.request_rate = 0
auth.forward_url = "{url}"
auth.forward_timeout = 20
[[auth.rules]]
path = "/ipython"
require = "forward"
"""
#: A JupyterLab's first load, and a browser's connections to one host.
REQUESTS, CONNECTIONS = 200, 6
OTHER = "127.0.0.2"


@pytest.fixture
def login() -> Iterator[LoginServer]:
    with LoginServer() as server:
        server.sessions["good"] = Session("alice", "/ipython")
        yield server


@pytest.fixture
def proxy(login: LoginServer, tmp_path: Path) -> Iterator[Proxy]:
    running = Proxy(tmp_path, CONFIG.format(url=login.url))
    yield running
    running.child.stop()


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    made = Notebook()

    def serve(stream: Stream) -> None:
        while stream.hear_head():
            stream.say(answer(b"Content-Length: 0"))

    with made.serving(serve):
        yield made
    made.close()


def connect(proxy: Proxy, source: str = "127.0.0.1") -> Stream:
    return browse(proxy.port, proxy.client_tls(), source=source)


def page(notebook: Notebook, cookie: str = "good", method: bytes = b"GET") -> bytes:
    return request(
        method + b" " + notebook.path, b"Cookie: %b=%b" % (COOKIE.encode(), cookie.encode())
    )


def test_a_page_of_many_requests_asks_for_each_on_few_connections(
    proxy: Proxy, login: LoginServer, notebook: Notebook
) -> None:
    def load(stream: Stream) -> list[int]:
        with stream:
            statuses = []
            for _ in range(REQUESTS // CONNECTIONS):
                stream.say(page(notebook))
                statuses.append(stream.hear_status())
            return statuses

    streams = [connect(proxy) for _ in range(CONNECTIONS)]
    begun = time.monotonic()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        statuses = [status for statuses in pool.map(load, streams) for status in statuses]
    took = time.monotonic() - begun
    print(f"{len(statuses)} requests took {took:.2f} s, {login.connections} connections")
    assert set(statuses) == {200}
    assert len(login.asked) == len(statuses)
    assert login.connections <= CONNECTIONS
    assert took < 10


def test_one_who_may_read_may_not_delete(
    proxy: Proxy, login: LoginServer, notebook: Notebook
) -> None:
    def judge(fields: Message) -> None:
        login.sessions["good"] = Session("alice", "/ipython", fields["X-Original-Method"] == "GET")

    login.before_answer = judge
    with connect(proxy) as stream:
        stream.say(page(notebook))
        assert stream.hear_status() == 200
        stream.say(page(notebook, method=b"DELETE"))
        assert stream.hear_status() == 401


def test_nobody_waits_because_it_is_slow_with_another(
    proxy: Proxy, login: LoginServer, notebook: Notebook
) -> None:
    slowly = threading.Event()

    def hold(fields: Message) -> None:
        if fields["X-Forwarded-For"] == OTHER:
            slowly.wait(20)

    login.before_answer = hold
    others = [connect(proxy, OTHER) for _ in range(100)]
    for stream in others:
        stream.say(page(notebook))
    poll(lambda: len(login.asked) >= 64 or None, seconds=20, waiting_for="questions that are held")
    begun = time.monotonic()
    with connect(proxy) as stream:
        for _ in range(20):
            stream.say(page(notebook))
            assert stream.hear_status() == 200
    assert time.monotonic() - begun < 5
    slowly.set()
    for stream in others:
        assert stream.hear_status() == 200
        stream.close()
