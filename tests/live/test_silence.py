"""Who falls silent: a browser that is dead is missed, a notebook that is quiet is left in peace."""

from __future__ import annotations

import select
import threading
import time
from contextlib import suppress

import pytest

from tests.integration.proxy import Proxy
from tests.wsframes import PING, PONG, TEXT, Frame, mask

from .bridges import NO_MASK, Bridge, open_bridge
from .conftest import UNWATCHED
from .streams import Notebook, Stream

pytestmark = [pytest.mark.integration, pytest.mark.soak]

#: Seconds within which a dead browser is missed: a ping after 45, 75 more, and a margin.
MISSED_WITHIN = 150.0
_PAUSE = 20.0


class Browser(threading.Thread):
    """A page that is open and says nothing: it answers pings, and keeps whatever else comes.

    :ivar pings: how many have come.
    :ivar heard: all other frames, in order.
    """

    def __init__(self, stream: Stream) -> None:
        super().__init__(daemon=True)
        self.pings = 0
        self.heard: list[tuple[int, bytes]] = []
        self._stream = stream
        stream.socket.settimeout(2 * MISSED_WITHIN)
        self.start()

    def run(self) -> None:
        with suppress(OSError):
            while frame := hear_frame(self._stream):
                if frame[0] == PING:
                    self.pings += 1
                    self._stream.say(Frame(PONG, frame[1], key=NO_MASK).wire)
                else:
                    self.heard.append(frame)

    def hears(self, *frames: tuple[int, bytes]) -> bool:
        """Whether these are all frames that come, up to a few seconds from now."""
        until = time.monotonic() + 10
        while len(self.heard) < len(frames) and time.monotonic() < until:
            time.sleep(0.05)
        return self.heard == list(frames)


def hear_frame(stream: Stream) -> tuple[int, bytes] | None:
    """The opcode and the payload of the next frame, a small one; None: the stream has ended."""
    head = stream.hear(2)
    if not head:
        return None
    key = stream.hear(4) if head[1] & 0x80 else b""
    payload = stream.hear(head[1] & 0x7F)
    return head[0] & 0x0F, mask(payload, key) if key else payload


def talk(bridge: Bridge, said: bytes) -> None:
    """A message up, and one down."""
    bridge.browser.say(Frame(TEXT, said, key=b"abcd").wire)
    assert hear_frame(bridge.upstream) == (TEXT, said)
    bridge.upstream.say(Frame(TEXT, said).wire)
    assert hear_frame(bridge.browser) == (TEXT, said)


def test_a_dead_browser_is_missed_and_nobody_else(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Three bridges at once: a dead browser, a quiet notebook, and two who talk now and then."""
    # A proxy of its own, whose metrics count these three bridges alone.
    front = Proxy(tmp_path_factory.mktemp("silence"), UNWATCHED)
    notebook = Notebook()
    bridges: list[Bridge] = []
    try:
        bridges += [open_bridge(front, front.client_tls(), notebook) for _ in range(3)]
        watch(*bridges)
    finally:
        for bridge in bridges:
            bridge.close()
        notebook.close()
        front.child.stop()
    assert "Traceback" not in front.child.log()


def watch(dead: Bridge, quiet: Bridge, talking: Bridge) -> None:
    began = time.monotonic()
    browser = Browser(quiet.browser)

    while not dead.browser.is_closed_within(_PAUSE):
        assert time.monotonic() - began < MISSED_WITHIN, "nobody missed the dead browser"
        talk(talking, b"still here")
    seconds = time.monotonic() - began
    print(f"the dead browser was missed after {seconds:.0f} s")
    assert seconds < MISSED_WITHIN
    # Neither a ping nor a close frame: its connection just ends.
    assert dead.upstream.hear_rest() == b""

    assert browser.pings >= 2
    assert not quiet.upstream.is_closed_within(0)
    assert is_untouched(quiet.upstream), "a notebook gets no pings"
    quiet.upstream.say(Frame(TEXT, b"late").wire)
    assert browser.hears((TEXT, b"late"))

    talk(talking, b"to the end")


def is_untouched(stream: Stream) -> bool:
    """Whether nothing has come that is not read yet."""
    return not select.select([stream.socket], [], [], 0)[0]
