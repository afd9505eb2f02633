"""Connections to notebooks that are kept: never used at the moment when the server closes them.

And what comes on one that nobody has asked for is nobody's answer.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from tests.integration.jupyter import notebook_port
from tests.integration.proxy import Proxy

from .streams import Notebook, Stream, answer, request

pytestmark = pytest.mark.integration

#: Seconds after which the server closes an idle connection: gunicorn's; uvicorn and Node have 5.
KEEP_ALIVE = 2.0
SERVERS, ROUNDS = 100, 10
#: Seconds around that moment within which requests are sent.
AROUND = 0.004
#: Seconds that a request takes from the browser to the server, about.
ON_ITS_WAY = 0.002

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"
UNASKED = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


class Server(asyncio.Protocol):
    """One connection as uvicorn has it: a timer closes it, whatever waits in the socket.

    :param closes_at: told for each port when the timer runs out.
    """

    transport: Any

    def __init__(self, port: int, closes_at: dict[int, float]) -> None:
        self._port = port
        self._closes_at = closes_at
        self._timer: asyncio.TimerHandle | None = None
        self._heard = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._heard += data
        while b"\r\n\r\n" in self._heard:
            _, _, self._heard = self._heard.partition(b"\r\n\r\n")
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(KEEP_ALIVE, self.transport.close)
            # Before the answer, behind which the client looks for it from another thread.
            self._closes_at[self._port] = self._timer.when()
            self.transport.write(OK)


@contextmanager
def servers(ports: list[int], closes_at: dict[int, float]) -> Iterator[None]:
    """A server at each port, all in one thread."""
    loop = asyncio.new_event_loop()

    async def listen() -> None:
        for port in ports:
            await loop.create_server(partial(Server, port, closes_at), "127.0.0.1", port)

    loop.run_until_complete(listen())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def post(
    front: Proxy, tls: ssl.SSLContext, port: int, closes_at: dict[int, float]
) -> list[int]:
    """Send POSTs to one server, each when it is about to close; gives their statuses."""
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port, ssl=tls)
    statuses = []
    for number in range(ROUNDS + 1):
        if number:
            aim = closes_at[port] - ON_ITS_WAY + random.uniform(-AROUND, AROUND)
            await asyncio.sleep(aim - asyncio.get_running_loop().time())
        writer.write(request(b"POST /ipython/%d/" % port, b"Content-Length: 0"))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        statuses.append(int(head.split(b" ")[1]))
    writer.close()
    return statuses


async def post_to_all(
    front: Proxy, tls: ssl.SSLContext, ports: list[int], closes_at: dict[int, float]
) -> Counter[int]:
    found = await asyncio.gather(*(post(front, tls, port, closes_at) for port in ports))
    return Counter(status for statuses in found for status in statuses)


def test_a_thousand_posts_at_the_moment_when_the_server_closes(
    front: Proxy, tls: ssl.SSLContext
) -> None:
    ports = [notebook_port() for _ in range(SERVERS)]
    closes_at: dict[int, float] = {}
    with servers(ports, closes_at):
        statuses = asyncio.run(post_to_all(front, tls, ports, closes_at))
    print(dict(statuses))
    assert statuses == {200: SERVERS * (ROUNDS + 1)}


def test_an_answer_that_nobody_asked_for_is_nobody_s(
    front: Proxy, browser: Stream, notebook: Notebook
) -> None:
    """The proxy finds both when it wakes up: a request, and bytes on the connection kept for it."""
    browser.say(request(b"GET " + notebook.path))
    upstream = notebook.take()
    for _ in range(5):
        upstream.hear_head()
        upstream.say(OK)
        assert browser.hear_status() == 200
        assert browser.hear(3) == b"yes"
        os.kill(front.child.pid, signal.SIGSTOP)
        try:
            browser.say(request(b"GET " + notebook.path))
            upstream.say(UNASKED)
        finally:
            os.kill(front.child.pid, signal.SIGCONT)
        assert upstream.is_closed_within(10)
        upstream.close()
        upstream = notebook.take()
    upstream.hear_head()
    upstream.say(answer(b"Content-Length: 3", body=b"end"))
    assert browser.hear_status() == 200
    assert browser.hear(3) == b"end"
