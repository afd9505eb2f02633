"""How files are sent: piece by piece, and nobody waits for a slow reader or a slow disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ipyproxy.files.opening import MOST_READ
from ipyproxy.net.tcp import HIGH_WATER
from tests.files.shelf import LARGE, Shelf, let_all_wait, read

pytestmark = pytest.mark.usefixtures("nothing_stays_open")


class TestTheWayItIsSent:
    def test_a_reader_that_is_slow_costs_one_piece(self, tree: Path) -> None:
        shelf = Shelf(tree)
        browser = shelf.connect()
        browser.wire.room = 1000
        heard = browser.get(b"/large.bin")
        waiting = browser.channel.transport.bytes_waiting
        assert 0 < waiting <= MOST_READ + HIGH_WATER
        for room in (0, 100_000, 1, 3_000_000):
            browser.wire.room = room
            heard += browser.hear()
            assert browser.channel.transport.bytes_waiting <= MOST_READ + HIGH_WATER
        browser.wire.room = None
        assert read(heard + browser.hear()).body == LARGE

    def test_others_are_served_between_two_pieces(self, tree: Path) -> None:
        shelf = Shelf(tree)
        first, second = shelf.connect(), shelf.connect()
        first.wire.say(b"GET /large.bin HTTP/1.1\r\nHost: here\r\n\r\n")
        shelf.loop.turn()
        second.wire.say(b"GET /none HTTP/1.1\r\nHost: here\r\n\r\n")
        shelf.loop.turn()
        assert second.wire.hear().startswith(b"HTTP/1.1 200")
        assert 0 < len(heard := first.wire.hear()) < len(LARGE)
        assert read(heard + first.hear()).body == LARGE

    def test_whoever_goes_away_leaves_nothing_open(self, tree: Path) -> None:
        shelf = Shelf(tree)
        browser = shelf.connect()
        browser.wire.room = 1000
        browser.get(b"/large.bin")
        browser.hang_up()
        browser.wire.reset()
        browser.wire.room = 0
        shelf.loop.settle()
        assert shelf.log[0][0] == 200

    def test_nothing_waits_for_a_slow_disk(
        self, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        let_all_wait(monkeypatch)
        shelf = Shelf(tree, reads_at_once=False)
        first, second = shelf.connect(), shelf.connect()
        assert first.get(b"/docs/index.html") == b""
        assert second.get(b"/a%20b.txt") == b""
        shelf.disk.answer()
        shelf.disk.answer()
        shelf.disk.answer()
        assert read(first.hear()).body == b"<h1>docs</h1>"
        shelf.disk.answer()
        assert read(second.hear()).body == b"0123456789"

    @pytest.mark.parametrize("answers", [0, 1])
    def test_whoever_goes_away_while_the_disk_is_asked(
        self, tree: Path, monkeypatch: pytest.MonkeyPatch, answers: int
    ) -> None:
        let_all_wait(monkeypatch)
        shelf = Shelf(tree, reads_at_once=False)
        browser = shelf.connect()
        browser.get(b"/large.bin")
        for _ in range(answers):
            shelf.disk.answer()
        browser.wire.reset()
        shelf.loop.settle()
        shelf.disk.answer()
        assert not shelf.disk.waiting
        assert len(shelf.log) == 1

    def test_a_file_that_goes_away_is_still_sent_whole(self, tree: Path) -> None:
        shelf = Shelf(tree)
        browser = shelf.connect()
        browser.wire.room = 1000
        heard = browser.get(b"/large.bin")
        (tree / "large.bin").unlink()
        browser.wire.room = None
        assert read(heard + browser.hear()).body == LARGE

    @pytest.mark.parametrize("change", ["another content", "shorter", "longer"])
    def test_a_file_that_changes_cuts_the_answer(
        self, shelf: Shelf, tree: Path, change: str
    ) -> None:
        browser = shelf.connect()
        browser.wire.room = 1000
        heard = browser.get(b"/large.bin")
        if change == "shorter":
            os.truncate(tree / "large.bin", 100)
        else:
            with (tree / "large.bin").open("ab" if change == "longer" else "r+b") as file:
                file.write(b"new")
        browser.wire.room = None
        heard += browser.hear()
        assert len(heard) < len(LARGE)
        assert browser.wire.was_reset
        assert shelf.log == [(200, "192.0.2.1", "the file has changed while it was sent")]
