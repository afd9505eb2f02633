"""A message of any size passes whole, in little memory, even where its reader stalls."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.proxy import Proxy

from .bridges import Bridge, header, open_bridge
from .conftest import UNWATCHED
from .resources import Memory
from .streams import Notebook, Stream

pytestmark = pytest.mark.integration

MIB = 2**20
SIZES = [
    pytest.param(32 * MIB, id="32 MiB"),
    pytest.param(200 * MIB, id="200 MiB", marks=pytest.mark.soak),
]
MOST_GROWTH = 8 * MIB
STALL = 1.0
"""Seconds in which nothing more can be sent until that counts as having been made to wait."""


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[tuple[Bridge, Proxy]]:
    """A bridge through a new proxy, which has carried something already."""
    proxy = Proxy(tmp_path, UNWATCHED)
    notebook = Notebook()
    opened = open_bridge(proxy, proxy.client_tls(), notebook)
    for down in (True, False):
        sender, receiver, mask = opened.sides(down=down)
        Sending(sender, mask, MIB).finish()
        assert digest(receiver, mask, MIB)
    yield opened, proxy
    opened.close()
    notebook.close()
    proxy.child.stop()


class Sending(threading.Thread):
    """Sends one message, in a thread of its own."""

    def __init__(self, sender: Stream, mask: bytes | None, size: int) -> None:
        super().__init__(daemon=True)
        self.sent = 0
        self._sender = sender
        self._mask = mask
        self._size = size
        self._hash = hashlib.sha256()
        self.start()

    def run(self) -> None:
        self._sender.say(header(self._size, self._mask))
        for number in range(self._size // MIB):
            piece = hashlib.sha256(b"%d" % number).digest() * (MIB // 32)
            self._hash.update(piece)
            for at in range(0, MIB, 65536):
                self._sender.say(piece[at : at + 65536])
                self.sent += 65536

    def wait_until_it_has_to_wait(self) -> None:
        before = -1
        while before != self.sent:
            before = self.sent
            time.sleep(STALL)

    def finish(self) -> bytes:
        """Wait for the end; the digest of all that was sent."""
        self.join()
        assert self.sent == self._size
        return self._hash.digest()


def digest(receiver: Stream, mask: bytes | None, size: int) -> bytes:
    """Take one message, and give its digest."""
    expected = header(size, mask)
    assert receiver.hear(len(expected)) == expected
    found = hashlib.sha256()
    for _ in range(size // 65536):
        found.update(receiver.hear(65536))
    return found.digest()


@pytest.mark.parametrize("stalls", [False, True], ids=["read at once", "stalled"])
@pytest.mark.parametrize("down", [True, False], ids=["down", "up"])
@pytest.mark.parametrize("size", SIZES)
def test_it_passes_whole_in_little_memory(
    bridge: tuple[Bridge, Proxy], size: int, down: bool, stalls: bool
) -> None:
    opened, proxy = bridge
    sender, receiver, mask = opened.sides(down=down)
    memory = Memory(proxy.child.pid)
    sending = Sending(sender, mask, size)
    if stalls:
        sending.wait_until_it_has_to_wait()
        assert sending.sent < size, "nobody made the sender wait"
    assert digest(receiver, mask, size) == sending.finish()
    print(f"grew by {memory.growth() / 1024:.0f} KiB")
    assert memory.growth() < MOST_GROWTH
