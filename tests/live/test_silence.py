"""Who falls silent for good is missed within 150 seconds; who answers pings may be idle."""

from __future__ import annotations

import select
import ssl
import threading
import time
from contextlib import suppress

import pytest

from tests.integration.proxy import Proxy
from tests.wsframes import CLOSE, PING, PONG, Frame

from .bridges import NO_MASK, Bridge, open_bridge
from .streams import Notebook, Stream

pytestmark = [pytest.mark.integration, pytest.mark.soak]

MISSED_WITHIN = 150.0
BAD_GATEWAY = (1014).to_bytes(2, "big")


class Healthy(threading.Thread):
    """Answers each ping, and notes whatever else comes, until the stream ends."""

    def __init__(self, stream: Stream, *, is_browser: bool) -> None:
        super().__init__(daemon=True)
        self.pings = 0
        self.heard = b""
        self._stream = stream
        self._is_browser = is_browser
        self.start()

    def run(self) -> None:
        self._stream.socket.settimeout(2 * MISSED_WITHIN)
        with suppress(OSError):
            self._listen()

    def _listen(self) -> None:
        while head := self._stream.hear(2):
            opcode, size = head[0] & 0x0F, head[1] & 0x7F
            key = b"" if self._is_browser else self._stream.hear(4)
            payload = self._stream.hear(size)
            if opcode == PING:
                self.pings += 1
                mask = NO_MASK if self._is_browser else None
                plain = Frame(PING, payload, key=key or None).wire[-size:]
                self._stream.say(Frame(PONG, plain, key=mask).wire)
            else:
                self.heard += head + payload


def ends_after(stream: Stream, began: float) -> float:
    """Seconds since *began* at which a stream ends on which nobody says anything any more."""
    watch = select.poll()
    watch.register(stream.socket, select.POLLRDHUP)
    assert watch.poll(1000 * MISSED_WITHIN), "nobody missed it"
    return time.monotonic() - began


def test_they_are_missed_and_others_are_not(
    front: Proxy, tls: ssl.SSLContext, notebook: Notebook
) -> None:
    """Three bridges at once: with a browser that is dead, with a notebook, and with neither."""
    began = time.monotonic()
    bridges = [open_bridge(front, tls, notebook) for _ in range(3)]
    of_dead_browser, of_dead_notebook, healthy = bridges
    Healthy(of_dead_browser.upstream, is_browser=False)
    browser = Healthy(of_dead_notebook.browser, is_browser=True)
    both = [Healthy(healthy.browser, is_browser=True), Healthy(healthy.upstream, is_browser=False)]

    for stream in (of_dead_browser.browser, of_dead_notebook.upstream):
        seconds = ends_after(stream, began)
        print(f"missed after {seconds:.0f} s")
        assert seconds < MISSED_WITHIN
    browser.join(MISSED_WITHIN)
    assert browser.heard == bytes([0x80 | CLOSE, 2]) + BAD_GATEWAY
    assert of_dead_browser.upstream.is_closed_within(5)

    assert all(end.is_alive() and end.pings >= 2 and not end.heard for end in both)
    close_all(bridges)


def close_all(bridges: list[Bridge]) -> None:
    for bridge in bridges:
        bridge.close()
