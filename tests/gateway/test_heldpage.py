"""When a page's answer begins that waits for what has come of the page."""

from __future__ import annotations

from collections.abc import Callable

from ipyproxy.gateway.heldpage import HeldPage
from ipyproxy.gateway.preloads import LONGEST_PAGE


class Loop:
    """An event loop, and a connection that may have input, until it is said otherwise."""

    def __init__(self) -> None:
        self.has_input = True
        self.begun: list[bytes] = []
        self._due: list[Callable[[], None]] = []
        self.page = HeldPage(self, self._due.append, self.begun.append)

    def turn(self) -> None:
        due = self._due[:]
        self._due.clear()
        for call in due:
            call()


def test_what_has_come_as_a_whole_begins_at_once() -> None:
    loop = Loop()
    loop.has_input = False
    loop.page.received(b"<html>")
    assert loop.begun == [b"<html>"]


def test_what_is_there_already_is_waited_for() -> None:
    loop = Loop()
    loop.page.received(b"<html>")
    loop.turn()
    loop.has_input = False
    loop.page.received(b"</html>")
    assert loop.begun == [b"<html></html>"]
    loop.turn()
    loop.turn()
    assert loop.begun == [b"<html></html>"]


def test_what_is_no_part_of_the_body_is_waited_for_two_turns() -> None:
    loop = Loop()
    loop.page.received(b"<html>")
    loop.turn()
    loop.turn()
    assert loop.begun == [b"<html>"]


def test_a_long_page_is_not_held_whole() -> None:
    loop = Loop()
    loop.page.received(b"x" * LONGEST_PAGE)
    assert len(loop.begun) == 1


def test_an_answer_that_is_given_up_never_begins() -> None:
    loop = Loop()
    loop.page.received(b"<html>")
    loop.page.forget()
    loop.turn()
    loop.turn()
    assert loop.begun == []
