"""Connections to upstreams as conversations: what is asked, and what is told."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.protocol import Protocol

from ipyproxy.errors import Problem
from tests.upstream.town import GET, OK, Asker, Town
from tests.wires import Dialler


@pytest.fixture
def dialler() -> Dialler:
    return Dialler()


@pytest.fixture
def town(dialler: Dialler) -> Town:
    return Town(dialler)


class TestAnswers:
    def test_an_answer_in_one_piece(self, town: Town) -> None:
        asker = Asker()
        wire = town.ask(asker)
        assert wire.hear() == GET
        town.tell(wire, OK)
        assert (asker.events, asker.data) == ([200, "ended"], b"yes")

    def test_an_answer_byte_by_byte(self, town: Town) -> None:
        asker = Asker()
        wire = town.ask(asker)
        for at in range(len(OK)):
            town.tell(wire, OK[at : at + 1])
        assert (asker.events, asker.data) == ([200, "waiting", "ended"], b"yes")

    @pytest.mark.parametrize(
        ("method", "answer"),
        [
            (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
            (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
            (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n"),
            (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            (b"GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ],
    )
    def test_answers_without_a_body_end_at_once(
        self, town: Town, method: bytes, answer: bytes
    ) -> None:
        asker = Asker(method)
        wire = town.ask(asker)
        town.tell(wire, answer)
        assert asker.events[-1] == "ended"
        town.ask_again(Asker())
        assert wire.hear() == GET + GET

    def test_interim_answers_come_before_the_answer(self, town: Town) -> None:
        asker = Asker()
        wire = town.ask(asker)
        town.tell(wire, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + OK)
        assert asker.events == [100, 103, 200, "ended"]

    def test_interim_answers_do_not_come_for_ever(self, town: Town) -> None:
        asker = Asker()
        wire = town.ask(asker)
        for _ in range(3000):
            if not wire.is_closed:
                town.tell(wire, b"HTTP/1.1 102 Processing\r\n\r\n")
        assert asker.events[-1] is Problem.UPSTREAM_BROKEN
        assert len(asker.events) < 3000
        assert town.is_empty

    def test_nobody_gets_the_connection_by_a_101_that_was_not_asked_for(self, town: Town) -> None:
        asker = Asker()
        wire = town.ask(asker)
        town.tell(wire, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nframes")
        assert asker.events == [Problem.UPSTREAM_BROKEN]
        assert wire.was_reset
        assert town.is_empty

    def test_an_upgrade_that_was_declined_is_not_granted_to_the_next_request(
        self, town: Town
    ) -> None:
        wire = town.ask(Asker(upgrades=True))
        town.tell(wire, OK)
        asker = Asker()
        town.ask_again(asker)
        town.tell(wire, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nframes")
        assert asker.events == [Problem.UPSTREAM_BROKEN]

    def test_the_connection_after_101_is_the_askers(self, town: Town) -> None:
        asker = Asker(upgrades=True)
        wire = town.ask(asker)
        block = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"
        town.tell(wire, block + b"frames")
        assert asker.events == [(block, b"frames")]
        tunnel = Tunnel()
        assert asker.connection is not None
        asker.connection.hand_over(tunnel)
        town.tell(wire, b"more")
        town.wait(3600)
        wire.hang_up()
        town.loop.settle()
        assert tunnel.events == [b"more", "lost"]
        assert town.is_empty


class Tunnel(Protocol):
    def __init__(self) -> None:
        self.events: list[Any] = []

    def dataReceived(self, data: bytes) -> None:
        self.events.append(data)

    def connectionLost(self, reason: object = None) -> None:
        self.events.append("lost")


class TestBrokenAnswers:
    @pytest.mark.parametrize(
        "answer",
        [
            b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"220 mail.example ESMTP\r\n",
            b"HTTP/2",
            b"h",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70000,
            b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70000 + b"\r\n\r\n",
        ],
    )
    def test_a_head_that_cannot_be_trusted_fails(self, town: Town, answer: bytes) -> None:
        asker = Asker()
        wire = town.ask(asker)
        town.tell(wire, answer)
        assert asker.events == [Problem.UPSTREAM_BROKEN]
        assert wire.was_reset
        assert town.is_empty

    def test_a_broken_chunk_fails_within_the_answer(self, town: Town) -> None:
        asker = Asker()
        wire = town.ask(asker)
        town.tell(wire, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\nx\r\n")
        assert asker.events == [200, Problem.UPSTREAM_BROKEN]
        assert town.is_empty

    def test_hanging_up_without_an_answer_fails(self, town: Town) -> None:
        asker = Asker()
        wire = town.ask(asker)
        wire.hang_up()
        town.loop.settle()
        assert asker.events == [Problem.UPSTREAM_BROKEN]

    @pytest.mark.parametrize(
        "framing", [b"Content-Length: 10", b"Transfer-Encoding: chunked\r\n\r\n5"]
    )
    def test_hanging_up_within_an_answer_fails(self, town: Town, framing: bytes) -> None:
        asker = Asker()
        wire = town.ask(asker)
        town.tell(wire, b"HTTP/1.1 200 OK\r\n%b\r\n\r\nyes" % framing)
        wire.hang_up()
        town.loop.settle()
        assert asker.events[-1] is Problem.UPSTREAM_BROKEN


class TestUntilClose:
    HEAD = b"HTTP/1.0 200 OK\r\n\r\n"

    def test_closing_is_the_end(self, town: Town) -> None:
        asker = Asker()
        wire = town.ask(asker)
        town.tell(wire, self.HEAD + b"all of")
        town.tell(wire, b" it")
        wire.hang_up()
        town.loop.settle()
        assert (asker.events, asker.data) == ([200, "waiting", "ended"], b"all of it")

    def test_a_reset_is_not(self, town: Town) -> None:
        asker = Asker()
        wire = town.ask(asker)
        town.tell(wire, self.HEAD + b"all of")
        wire.reset()
        town.loop.settle()
        assert asker.events == [200, "waiting", Problem.UPSTREAM_BROKEN]

    @pytest.mark.parametrize("rest", [b"", b" this"])
    def test_a_reset_that_a_write_has_met_first_is_not_either(
        self, town: Town, rest: bytes
    ) -> None:
        # The kernel tells of an error once: what is read afterwards looks like a proper end.
        asker = Asker(b"PUT", ended=False)
        wire = town.ask(asker)
        town.tell(wire, self.HEAD + b"all of")
        wire.say(rest)
        wire.reset()
        asker.transport.write(b"more of the body")
        town.loop.settle()
        assert asker.data == b"all of" + rest
        assert asker.events == [200, "waiting", Problem.UPSTREAM_BROKEN]


def test_an_abandoned_exchange_is_closed_and_hears_nothing_more(town: Town) -> None:
    asker = Asker()
    wire = town.ask(asker)
    town.tell(wire, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nyes")
    assert asker.connection is not None
    asker.connection.abandon()
    wire.say(b"1234567")
    town.loop.settle()
    assert asker.events == [200, "waiting"]
    assert wire.was_reset
    assert town.is_empty
