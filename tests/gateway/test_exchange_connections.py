"""Connections to a notebook: which are used again, and how clients share the places of a port."""

from __future__ import annotations

import pytest

from ipyproxy.upstream.places import LONGEST_WAIT
from tests.front import Browser, status_of
from tests.web.gate import HOST, Gate, ask, message

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"
PUT = message(b"PUT /ipython/10000/f HTTP/1.1", HOST, b"Content-Length: 10")


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def browser(gate: Gate) -> Browser:
    return gate.connect()


class TestKeptConnections:
    def kept(self, gate: Gate, browser: Browser) -> None:
        ask(browser)
        self.notebook = gate.notebook()
        gate.tell(self.notebook, OK)
        assert browser.hear() == OK
        self.notebook.hear()

    def test_a_stale_one_is_replaced_unseen(self, gate: Gate, browser: Browser) -> None:
        self.kept(gate, browser)
        ask(browser, b"GET /ipython/10000/again HTTP/1.1")
        gate.end(self.notebook)
        assert browser.hear() == b""
        second = gate.notebook()
        assert second.hear().startswith(b"GET /ipython/10000/again ")
        gate.tell(second, OK)
        assert browser.hear() == OK
        assert gate.upstream().errors == 0

    def test_but_only_once(self, gate: Gate, browser: Browser) -> None:
        self.kept(gate, browser)
        ask(browser)
        gate.end(self.notebook)
        gate.end(gate.notebook())
        assert status_of(browser.hear()) == 502
        assert gate.is_at_rest

    @pytest.mark.parametrize(
        "request_bytes",
        [message(b"POST /ipython/10000/ HTTP/1.1", HOST), PUT, PUT + b"0123456789"],
        ids=["POST", "a body to come", "a body"],
    )
    def test_and_never_for_what_cannot_be_repeated(
        self, gate: Gate, browser: Browser, request_bytes: bytes
    ) -> None:
        self.kept(gate, browser)
        browser.say(request_bytes)
        gate.end(self.notebook)
        assert status_of(browser.hear()) == 502
        assert gate.is_at_rest

    def test_what_cannot_be_repeated_avoids_one_that_has_just_closed(
        self, gate: Gate, browser: Browser
    ) -> None:
        self.kept(gate, browser)
        self.notebook.hang_up()
        browser.say(message(b"POST /ipython/10000/ HTTP/1.1", HOST))
        gate.tell(gate.notebook(), OK)
        assert browser.hear() == OK

    def test_a_client_that_is_gone_while_a_stale_one_is_replaced(
        self, gate: Gate, browser: Browser
    ) -> None:
        self.kept(gate, browser)
        ask(browser)
        gate.end(self.notebook)
        attempt = gate.dialler.next()
        browser.hang_up()
        assert attempt.cancelled
        assert gate.is_at_rest


class TestPlaces:
    """A port has so many places, and clients share them."""

    ALICE, BOB = "192.0.2.1", "192.0.2.2"

    @pytest.fixture
    def narrow(self) -> Gate:
        return Gate(per_port=2)

    def test_who_finds_none_waits_for_the_next_that_is_free(self, narrow: Gate) -> None:
        first, second, third = (narrow.connect(self.ALICE) for _ in range(3))
        ask(first)
        notebook = narrow.notebook()
        ask(second)
        narrow.notebook()
        assert ask(third) == b""
        assert not narrow.dialler.attempts, "nothing is dialled for a request that waits"
        narrow.tell(notebook, OK)
        assert first.hear() == OK
        narrow.tell(notebook, OK)
        assert third.hear() == OK

    def test_who_waits_in_vain_gets_503(self, narrow: Gate) -> None:
        for _ in range(2):
            ask(narrow.connect(self.ALICE))
            narrow.notebook()
        late = narrow.connect(self.ALICE)
        assert ask(late) == b""
        narrow.wait(LONGEST_WAIT + 1)
        assert status_of(late.hear()) == 503

    def test_who_leaves_waits_no_more(self, narrow: Gate) -> None:
        first, _, late = (narrow.connect(self.ALICE) for _ in range(3))
        ask(first)
        notebook = narrow.notebook()
        ask(narrow.connect(self.ALICE))
        narrow.notebook()
        ask(late)
        late.hang_up()
        narrow.tell(notebook, OK)
        assert not narrow.dialler.attempts

    def test_other_ports_have_places_of_their_own(self, narrow: Gate) -> None:
        for _ in range(2):
            ask(narrow.connect(self.ALICE))
            narrow.notebook()
        other = narrow.connect(self.ALICE)
        ask(other, b"GET /ipython/10001/ HTTP/1.1")
        narrow.tell(narrow.notebook(), OK)
        assert other.hear() == OK

    def test_who_holds_all_gives_way_to_who_holds_none(self, narrow: Gate) -> None:
        """128 uploads just above the slowest pace took every place of a notebook once."""
        greedy = [narrow.connect(self.ALICE) for _ in range(2)]
        for browser in greedy:
            browser.say(PUT + b"0")
            narrow.notebook()
        own = narrow.connect(self.BOB)
        assert ask(own) == b""
        assert [status_of(answer) for browser in greedy if (answer := browser.hear())] == [503]
        narrow.tell(narrow.notebook(), OK)
        assert own.hear() == OK

    def test_who_is_slow_gives_way_first(self, narrow: Gate) -> None:
        slow, quick = narrow.connect(self.ALICE), narrow.connect(self.ALICE)
        slow.say(PUT + b"0")
        narrow.notebook()
        narrow.wait(3)
        ask(quick)
        narrow.notebook()
        ask(narrow.connect(self.BOB))
        assert status_of(slow.hear()) == 503
        assert quick.hear() == b""

    def test_two_with_equally_many_take_nothing_from_each_other(self, narrow: Gate) -> None:
        ask(narrow.connect(self.ALICE))
        narrow.notebook()
        ask(narrow.connect(self.BOB))
        narrow.notebook()
        assert ask(narrow.connect(self.BOB)) == b""
        assert not narrow.dialler.attempts
