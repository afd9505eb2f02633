"""An open WebSocket on its way through the proxy: what each side says, and what the other hears."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from ipyproxy.upstream.places import LONGEST_WAIT
from ipyproxy.upstream.upstream import Traffic
from ipyproxy.websocket.handshake import BrowserSide, NotebookSide
from tests.front import status_of
from tests.gateway.hall import HANDSHAKE, HELLO, HELLO_MASKED, MASK, PORT, Hall, Head, ask
from tests.wsframes import BINARY, Frame, close


@pytest.fixture
def hall() -> Hall:
    return Hall()


class TestTheBridge:
    def test_frames_pass_verbatim(self, hall: Hall) -> None:
        browser, notebook = hall.open()
        browser.say(HELLO_MASKED)
        assert notebook.hear() == HELLO_MASKED
        notebook.say(HELLO)
        assert browser.hear() == HELLO

    def test_frames_behind_the_browsers_handshake_wait_for_the_answer(self, hall: Hall) -> None:
        browser = hall.connect()
        ask(browser, *HANDSHAKE, behind=HELLO_MASKED)
        notebook = hall.dial_succeeds()
        request = notebook.hear_request()
        assert request.behind == b""
        notebook.switch(request, behind=HELLO)
        assert notebook.hear() == HELLO_MASKED
        assert Head(browser.hear()).behind == HELLO

    def test_any_number_of_bytes_may_come_ahead_of_the_answer(self, hall: Hall) -> None:
        big = Frame(BINARY, bytes(500_000), key=MASK).wire
        browser, notebook, request = hall.ask()
        browser.say(big)
        assert notebook.hear() == b""
        notebook.switch(request)
        assert notebook.hear() == big
        browser.say(HELLO_MASKED)
        assert notebook.hear() == HELLO_MASKED

    def test_what_comes_ahead_is_held_in_bounds(self, hall: Hall) -> None:
        browser, _, _ = hall.ask()
        for _ in range(100):
            browser.say(bytes(65536))
        held = browser.channel._codec.unread
        assert len(held) <= 3 * 65536

    def test_a_violation_in_the_first_segment_is_one(self, hall: Hall) -> None:
        browser = hall.connect()
        ask(browser, *HANDSHAKE, behind=HELLO)  # not masked
        notebook = hall.dial_succeeds()
        notebook.switch(notebook.hear_request(), behind=HELLO + close(1000).wire)
        assert Head(browser.hear()).behind == HELLO + close(1002).wire

    def test_the_notebook_that_dies_ends_the_connection_without_a_close_frame(
        self, hall: Hall
    ) -> None:
        browser, notebook = hall.open()
        notebook.wire.hang_up()
        assert browser.hear() == b""
        browser.hang_up()
        assert [note.partition(";")[0] for _, _, note in hall.log] == [
            "close 1006 after 0.0 s: notebook gone"
        ]
        assert hall.upstream(PORT).open_work == 0

    def test_it_counts_as_work_on_its_port_until_it_is_over(self) -> None:
        hall = Hall(per_port=1)
        browser, notebook = hall.open()
        assert len(hall.upstream(PORT).bridges) == 1
        assert hall.upstream(PORT).exchanges == 0
        other = hall.connect()
        assert ask(other, *HANDSHAKE) == b"", "it waits for a place"
        hall.wait(LONGEST_WAIT + 1)
        assert status_of(other.hear()) == 503
        browser.hang_up()
        assert len(hall.upstream(PORT).bridges) == 1
        notebook.wire.hang_up()
        hall.loop.settle()
        assert not hall.upstream(PORT).bridges

    def test_it_has_one_line_in_the_log_at_its_end(self, hall: Hall) -> None:
        browser, notebook = hall.open()
        browser.say(HELLO_MASKED * 2 + close(1000, key=MASK).wire)
        notebook.say(HELLO * 3 + close(1000).wire)
        hall.wait(7)
        assert hall.log == []
        browser.hang_up()
        notebook.wire.hang_up()
        hall.loop.settle()
        up, down = 2 * len(HELLO_MASKED) + 8, 3 * len(HELLO) + 4
        note = (
            f"close 1000 after 7.0 s: client closed; 2 messages in {up} bytes up, 3 in {down} down"
        )
        assert hall.log == [(101, "192.0.2.1", note)]
        [request] = hall.recorded
        assert request.body_bytes_sent == down
        assert request.bridge == {
            "close_code": 1000,
            "end": "client closed",
            "bytes_up": up,
            "bytes_down": down,
            "messages_up": 2,
            "messages_down": 3,
        }

    def test_its_upstream_knows_what_it_has_carried(self, hall: Hall) -> None:
        upstream = hall.upstream(PORT)
        browser, notebook = hall.open()
        hall.wait(3)
        browser.say(HELLO_MASKED)
        notebook.say(HELLO * 2)
        carried = Traffic(len(HELLO_MASKED), 2 * len(HELLO), 1, 2)
        (bridge,) = upstream.bridges
        assert bridge.traffic == upstream.traffic == carried
        assert bridge.opened == hall.loop.seconds() - 3
        hall.bridges.sweep()
        assert bridge.last_activity == upstream.person_active_at == hall.loop.seconds()
        browser.hang_up()
        notebook.wire.hang_up()
        hall.loop.settle()
        assert (upstream.bridges, upstream.traffic) == (set(), carried)

    def test_a_browser_that_leaves_while_we_dial_leaves_nothing_behind(self, hall: Hall) -> None:
        browser = hall.connect()
        ask(browser, *HANDSHAKE)
        browser.hang_up()
        assert hall.dialler.next().cancelled
        assert hall.upstream(PORT).open_work == 0
        assert [status for status, _, _ in hall.log] == [499]

    def test_a_browser_that_leaves_before_the_answer_leaves_nothing_behind(
        self, hall: Hall
    ) -> None:
        browser, notebook, _ = hall.ask()
        browser.hang_up()
        assert notebook.wire.was_reset
        assert hall.upstream(PORT).open_work == 0
        assert [status for status, _, _ in hall.log] == [499]

    def test_autobahns_objects_are_let_go_of(self, hall: Hall) -> None:
        def sides() -> int:
            gc.collect()
            return sum(type(each) in (BrowserSide, NotebookSide) for each in gc.get_objects())

        before = sides()
        browser, notebook, request = hall.ask()
        assert sides() == before + 2
        notebook.switch(request)
        assert browser.hear().startswith(b"HTTP/1.1 101 ")
        assert sides() == before
        assert len(hall.bridges.open) == 1

    def test_nothing_went_wrong_out_of_sight(self, hall: Hall) -> None:
        browser, notebook = hall.open()
        browser.hang_up()
        notebook.wire.hang_up()
        hall.loop.settle()
        assert not hall.loop.failures
        assert not hall.loop.getDelayedCalls()


def run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_autobahn_brings_neither_its_native_code_nor_a_reactor() -> None:
    modules = run("import ipyproxy.websocket.handshake, sys; print(*sys.modules)").split()
    assert "autobahn.nvx._utf8validator" not in modules
    assert "pycparser" not in modules
    assert "twisted.internet.reactor" not in modules
