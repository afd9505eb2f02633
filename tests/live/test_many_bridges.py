"""Thousands of bridges, idle or short-lived: what they took is given back when they have ended."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from os import kill
from pathlib import Path
from typing import Any

import pytest

from tests.integration.processes import poll
from tests.integration.proxy import Proxy
from tests.wsframes import TEXT, Frame, close

from .bridges import NO_MASK, Bridge, open_bridge
from .streams import Notebook

pytestmark = pytest.mark.integration

#: As much as one likes from one client and to one notebook, who are all the others here.
UNLIMITED = """\
health.mode = "off"
log.access = ""
[limits]
connections = 20000
connections_per_client = 20000
connections_per_port = 20000
connection_rate = 1000000
connection_burst = 1000000
request_rate = 1000000
request_burst = 1000000
"""
KIB = 2**10
EACH, ONCE = 4 * KIB, 3072 * KIB
"""Growth that a second round as large as the first may bring: memory is cut a little differently.

The smallest thing that a bridge could leave behind, its TLS session, has three times as much.
"""
REMEMBERED = {"Special", "SpecialFields", "Mark", "Minute"}
"""Some hundred heads are, each handshake with a key of its own, and figures minute by minute."""
GONE_WITHIN = 60.0
HELLO = Frame(TEXT, b"hello").wire
HELLO_MASKED = Frame(TEXT, b"hello", key=NO_MASK).wire


class Counted(Proxy):
    """A proxy that can be asked what it holds."""

    def __init__(self, directory: Path, configuration: str = UNLIMITED) -> None:
        counted = [sys.executable, "-m", "tests.live.counted"]
        super().__init__(directory, configuration, twistd=counted)

    def holdings(self) -> dict[str, Any]:
        asked = self._told()
        kill(self.child.pid, signal.SIGUSR2)
        poll(lambda: self._told() > asked or None, seconds=30, waiting_for="an answer")
        line = [line for line in self.child.log().splitlines() if line.startswith("holds ")][-1]
        told: dict[str, Any] = json.loads(line.removeprefix("holds "))
        return told

    def _told(self) -> int:
        return self.child.log().count("\nholds ")

    def holdings_at_rest(self, descriptors: int) -> dict[str, Any]:
        """What it holds once it has no more than so many descriptors."""
        deadline = time.monotonic() + GONE_WITHIN
        while (told := self.holdings())["descriptors"] > descriptors:
            assert time.monotonic() < deadline, f"{told}, but there were {descriptors} descriptors"
            time.sleep(0.5)
        return told


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[Counted]:
    running = Counted(tmp_path)
    yield running
    running.child.stop()
    assert "Traceback" not in running.child.log()


def end(bridge: Bridge, number: int) -> None:
    """End one as bridges do end, in one of five ways."""
    match number % 5:
        case 0:
            bridge.browser.say(close(1000, key=NO_MASK).wire)
            bridge.upstream.say(close(1000).wire)
        case 1:
            bridge.upstream.say(close(1001).wire)
            bridge.browser.say(close(1001, key=NO_MASK).wire)
        case 2:
            bridge.browser.reset()
        case 3:
            bridge.upstream.reset()
        case 4:
            bridge.browser.say(b"\xff\xff")
    bridge.close()


def check(before: dict[str, Any], after: dict[str, Any], count: int) -> None:
    growth = after["resident"] - before["resident"]
    print(f"{after['descriptors']} descriptors, {after['timers']} timers, {growth / 1024:+.0f} KiB")
    assert after["descriptors"] == before["descriptors"]
    assert after["timers"] == before["timers"]
    left = Counter(after["objects"]) - Counter(before["objects"])
    assert not set(left) - REMEMBERED
    assert growth < ONCE + count * EACH


@pytest.mark.parametrize("count", [pytest.param(200), pytest.param(2000, marks=pytest.mark.soak)])
def test_idle_ones(counted: Counted, count: int) -> None:
    tls, notebook = counted.client_tls(), Notebook()
    before = None
    for _ in range(2):
        at_rest = counted.holdings()
        bridges = [open_bridge(counted, tls, notebook) for _ in range(count)]
        held = counted.holdings()
        assert held["objects"]["Bridge"] == count
        assert held["descriptors"] == at_rest["descriptors"] + 2 * count
        assert held["timers"] == at_rest["timers"], "one sweep looks after all"
        if before is None:
            each = (held["resident"] - at_rest["resident"]) / count
            print(f"{count} idle bridges: {each / KIB:.1f} KiB of memory each")
        for number, bridge in enumerate(bridges):
            end(bridge, number)
        ended = counted.holdings_at_rest(at_rest["descriptors"])
        if before is not None:
            check(before, ended, count)
        before = ended
    notebook.close()


@pytest.mark.parametrize("count", [pytest.param(100), pytest.param(1000, marks=pytest.mark.soak)])
def test_short_lived_ones(counted: Counted, count: int) -> None:
    tls, notebook = counted.client_tls(), Notebook()
    before = None
    at_rest = counted.holdings()["descriptors"]
    for _ in range(2):
        for number in range(count):
            bridge = open_bridge(counted, tls, notebook)
            bridge.browser.say(HELLO_MASKED)
            bridge.upstream.say(HELLO)
            assert bridge.upstream.hear(len(HELLO_MASKED)) == HELLO_MASKED
            assert bridge.browser.hear(len(HELLO)) == HELLO
            end(bridge, number)
        ended = counted.holdings_at_rest(at_rest)
        if before is not None:
            check(before, ended, count)
        before = ended
    notebook.close()
