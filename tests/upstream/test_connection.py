"""Connections to upstreams as conversations: what is kept, what is told, and for how long."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.protocol import Protocol

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http1.framing import Decoder
from ipyproxy.http1.head import ResponseHead
from ipyproxy.upstream.connection import ClientLimits, UpstreamConnection
from ipyproxy.upstream.pool import JUST_USED, Pool
from ipyproxy.upstream.upstream import UpstreamTable
from tests.wires import Attempt, Dialler, Loop, Wire

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"
LIMITS = ClientLimits(
    idle_connections=1000,
    response_head_bytes=65536,
    buffer_bytes=65536,
    connect_timeout=2.0,
    response_timeout=60.0,
    idle_timeout=15.0,
)


class Asker:
    """Sends one request, and notes all that it is told."""

    def __init__(
        self,
        method: bytes = b"GET",
        head: bytes = GET,
        *,
        ended: bool = True,
        upgrades: bool = False,
    ) -> None:
        self.events: list[Any] = []
        self.data = b""
        self.connection: UpstreamConnection | None = None
        self._request = (method, head)
        self._ended = ended
        self._upgrades = upgrades

    @property
    def transport(self) -> Any:
        assert self.connection is not None
        return self.connection.transport

    def connected(self, connection: UpstreamConnection) -> None:
        self.connection = connection
        method, head = self._request
        connection.send(method, head, self, ended=self._ended)
        if self._upgrades:
            connection.switched = self.switched

    def interim(self, head: ResponseHead) -> None:
        self.events.append(head.status)

    def response_begun(self, head: ResponseHead, body: Decoder | None) -> None:
        self.events.append(head.status)

    def response_received(self, data: bytes) -> None:
        self.data += data

    def response_waiting(self) -> None:
        self.events.append("waiting")

    def response_ended(self) -> None:
        self.events.append("ended")

    def switched(self, block: bytes, rest: bytes) -> None:
        self.events.append((block, rest))

    def stale(self) -> None:
        self.events.append("stale")

    def failed(self, error: ProxyError) -> None:
        self.events.append(error.problem)


class Town:
    """A pool, its clock and its dials."""

    def __init__(self, dialler: Dialler, limits: ClientLimits = LIMITS) -> None:
        self.loop = Loop()
        self.pool = Pool(self.loop, self.loop, limits, lambda upstream, now, mark: None, dialler)
        self.table = UpstreamTable()
        self.dialler = dialler

    def ask(self, asker: Asker, *, once: bool = False, port: int = 10000) -> Wire:
        """Send on a new connection; its other end."""
        self.pool.connect(self.table.notebook(port), asker, once=once)
        wire = self.dialler.next().succeed()
        self.loop.settle()
        return wire

    def ask_again(self, asker: Asker, *, once: bool = False) -> None:
        """Send on a kept connection; it is a failure of the test if there is none."""
        assert self.pool.connect(self.table.notebook(10000), asker, once=once) is None
        self.loop.settle()

    def tell(self, wire: Wire, data: bytes) -> None:
        wire.say(data)
        self.loop.settle()

    def wait(self, seconds: float) -> None:
        self.loop.pass_time(seconds, self.pool.sweep)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left of any connection."""
        return not self.pool._idle and not self.pool._connections


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


class TestKeeping:
    def test_a_connection_is_used_again(self, town: Town) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        second = Asker()
        town.ask_again(second)
        town.tell(wire, OK)
        assert second.events == [200, "ended"]
        assert wire.hear() == GET + GET

    def test_it_is_kept_for_15_seconds(self, town: Town) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        town.wait(14)
        assert not wire.is_closed
        town.wait(1)
        assert wire.has_ended
        assert town.is_empty

    def test_use_starts_the_time_anew(self, town: Town) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        town.wait(14)
        town.ask_again(Asker())
        town.tell(wire, OK)
        town.wait(14)
        assert not wire.is_closed

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes",
            b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nyes",
            OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        ],
        ids=["close", "1.0", "bytes behind the answer"],
    )
    def test_it_is_closed_if_no_further_answer_can_be_trusted(
        self, town: Town, answer: bytes
    ) -> None:
        asker = Asker()
        wire = town.ask(asker)
        town.tell(wire, answer)
        assert (asker.events, asker.data) == ([200, "ended"], b"yes")
        assert wire.is_closed
        assert town.is_empty

    def test_bytes_that_nobody_asked_for_close_it(self, town: Town) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        town.tell(wire, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        assert wire.is_closed
        assert town.is_empty

    def test_a_connection_that_is_being_closed_is_given_to_nobody(self, town: Town) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        (connection,) = town.pool._connections
        connection.dataReceived(b"nobody asked")
        assert town.pool.connect(town.table.notebook(10000), Asker(), once=False) is not None

    def test_one_that_is_expiring_is_given_to_nobody(self, town: Town) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        town.loop.advance(15)
        town.pool.sweep()
        assert town.pool.connect(town.table.notebook(10000), Asker(), once=False) is not None

    def test_it_belongs_to_its_port(self, town: Town) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        assert town.pool.connect(town.table.notebook(10001), Asker(), once=False) is not None
        assert town.dialler.next().address == ("127.0.0.1", 10001)

    def test_an_answer_before_the_request_is_whole_closes_it(self, town: Town) -> None:
        asker = Asker(b"PUT", ended=False)
        wire = town.ask(asker)
        town.tell(wire, OK)
        assert asker.events == [200, "ended"]
        assert wire.is_closed
        assert town.is_empty

    @pytest.mark.parametrize("ended", [False, True])
    def test_unsent_bytes_do_not_hold_it_open(self, town: Town, ended: bool) -> None:
        asker = Asker(b"PUT", ended=ended)
        wire = town.ask(asker)
        wire.room = 0
        asker.transport.write(b"x" * 100000)
        town.tell(wire, OK)
        assert asker.events == [200, "ended"]
        assert wire.was_reset
        assert town.is_empty

    def test_closing_the_pool_closes_what_is_idle_and_nothing_else(self, town: Town) -> None:
        idle, busy = Asker(), Asker()
        first = town.ask(idle)
        second = town.ask(busy)
        town.tell(first, OK)
        town.pool.close()
        town.loop.settle()
        assert (first.is_closed, second.is_closed) == (True, False)
        town.tell(second, OK)
        assert busy.events == [200, "ended"]


def test_so_many_are_kept_and_no_more(dialler: Dialler) -> None:
    town = Town(dialler, replace(LIMITS, idle_connections=2))
    wires = [town.ask(Asker()) for _ in range(3)]
    for wire in wires:
        town.tell(wire, OK)
    assert [wire.is_closed for wire in wires] == [False, False, True]
    wires[0].hang_up()
    town.loop.settle()
    town.ask_again(Asker())
    town.tell(wires[1], OK)
    third = town.ask(Asker(), port=10001)
    town.tell(third, OK)
    assert [wires[1].is_closed, third.is_closed] == [False, False]
    town.wait(16)
    assert town.is_empty
    assert town.pool._kept == 0


class TestStale:
    def test_a_kept_connection_that_ends_before_any_answer_is_stale(self, town: Town) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        second = Asker()
        town.ask_again(second)
        wire.hang_up()
        town.loop.settle()
        assert second.events == ["stale"]

    @pytest.mark.parametrize("begun", [b"HTTP/1.1 2", b"HTTP/1.1 100 Continue\r\n\r\n"])
    def test_one_that_has_said_something_has_failed(self, town: Town, begun: bytes) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        second = Asker()
        town.ask_again(second)
        town.tell(wire, begun)
        wire.hang_up()
        town.loop.settle()
        assert second.events[-1] is Problem.UPSTREAM_BROKEN

    @pytest.mark.parametrize("ending", ["hang up", "reset", "say"])
    def test_what_cannot_be_sent_again_is_not_sent_where_it_would_be_lost(
        self, town: Town, ending: str
    ) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        match ending:
            case "hang up":
                wire.hang_up()
            case "reset":
                wire.reset()
            case "say":
                wire.say(b"nobody asked")
        asker = Asker(b"POST")
        fresh = town.ask(asker, once=True)
        town.tell(fresh, OK)
        assert asker.events == [200, "ended"]
        assert wire.is_closed

    def test_a_connection_that_was_just_used_serves_it_too(self, town: Town) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        town.loop.advance(JUST_USED)
        town.ask_again(Asker(b"POST"), once=True)

    def test_one_that_was_not_does_not_but_is_kept_for_others(self, town: Town) -> None:
        # The server may be about to close it: uvicorn after 5 s, gunicorn after 2.
        wire = town.ask(Asker())
        town.tell(wire, OK)
        town.loop.advance(JUST_USED + 0.1)
        fresh = town.ask(Asker(b"POST"), once=True)
        assert (fresh.hear(), wire.is_closed) == (GET, False)
        town.ask_again(Asker())
        assert wire.hear() == GET + GET

    def test_the_one_that_was_used_last_is_taken(self, town: Town) -> None:
        early, late = town.ask(Asker()), town.ask(Asker())
        town.tell(early, OK)
        town.loop.advance(JUST_USED)
        town.tell(late, OK)
        town.loop.advance(JUST_USED)
        town.ask_again(Asker(b"POST"), once=True)
        assert (early.hear(), late.hear()) == (GET, GET + GET)


class TestUnaskedAnswers:
    """What comes on a kept connection belongs to no request, and must never become an answer."""

    UNASKED = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

    @pytest.mark.parametrize("once", [False, True])
    def test_one_that_waits_unread_is_not_the_next_answer(self, town: Town, once: bool) -> None:
        wire = town.ask(Asker())
        town.tell(wire, OK)
        wire.say(self.UNASKED)  # and the reactor has not turned since
        asker = Asker()
        fresh = town.ask(asker, once=once)
        town.tell(fresh, OK)
        assert (asker.events, asker.data) == ([200, "ended"], b"yes")
        assert wire.is_closed

    def test_all_that_are_kept_are_looked_at(self, town: Town) -> None:
        wires = [town.ask(Asker()) for _ in range(3)]
        for wire in wires:
            town.tell(wire, OK)
        for wire in wires[1:]:
            wire.say(self.UNASKED)
        asker = Asker()
        town.ask_again(asker)
        town.tell(wires[0], OK)
        assert asker.data == b"yes"
        assert [wire.is_closed for wire in wires] == [False, True, True]


class TestWhatTheServerSays:
    """``Keep-Alive: timeout=5``: it closes the connection after five idle seconds."""

    @staticmethod
    def answer(said: bytes) -> bytes:
        return b"HTTP/1.1 200 OK\r\nKeep-Alive: %b\r\nContent-Length: 3\r\n\r\nyes" % said

    @pytest.mark.parametrize(
        ("said", "seconds"),
        [
            (b"timeout=5", 4),
            (b"timeout=5, max=100", 4),
            (b"max=100, Timeout=3", 2),
            (b"timeout=600", 15),
            (b"timeout=-1", 15),
            (b"timeout=", 15),
            (b"timeout=99999999999999999999", 15),
        ],
    )
    def test_we_close_it_before_that(self, town: Town, said: bytes, seconds: int) -> None:
        wire = town.ask(Asker())
        town.tell(wire, self.answer(said))
        town.wait(seconds - 1)
        assert not wire.is_closed
        town.wait(1)
        assert wire.has_ended

    @pytest.mark.parametrize("said", [b"timeout=0", b"timeout=1"])
    def test_one_that_closes_at_once_is_not_kept(self, town: Town, said: bytes) -> None:
        wire = town.ask(Asker())
        town.tell(wire, self.answer(said))
        assert wire.has_ended
        assert town.is_empty

    def test_it_is_used_no_more_when_its_time_is_over_though_no_sweep_came(
        self, town: Town
    ) -> None:
        wire = town.ask(Asker())
        town.tell(wire, self.answer(b"timeout=5"))
        town.loop.advance(4)
        assert town.ask(Asker()) is not wire


class TestDialling:
    @pytest.mark.parametrize(
        ("code", "problem"),
        [
            (errno.ECONNREFUSED, Problem.UPSTREAM_DEAD),
            (errno.ETIMEDOUT, Problem.CONNECT_TIMEOUT),
            (errno.ECONNRESET, Problem.UPSTREAM_BROKEN),
            (errno.EMFILE, Problem.OVERLOADED),
            (errno.EADDRNOTAVAIL, Problem.OVERLOADED),
        ],
    )
    def test_what_goes_wrong_has_a_name(self, town: Town, code: int, problem: Problem) -> None:
        asker = Asker()
        town.pool.connect(town.table.notebook(10000), asker, once=False)
        town.dialler.next().fail(code)
        assert asker.events == [problem]
        assert problem.status == (502 if code == errno.ECONNRESET else 503)

    def test_it_goes_to_the_literal_loopback_address(self, town: Town) -> None:
        town.pool.connect(town.table.notebook(10007), Asker(), once=False)
        assert town.dialler.next().address == ("127.0.0.1", 10007)

    def test_a_request_that_cannot_be_made_fails_and_leaves_nothing(self, town: Town) -> None:
        class Broken(Asker):
            def connected(self, connection: UpstreamConnection) -> None:
                raise RuntimeError("a mistake of ours")

        asker = Broken()
        attempt = town.pool.connect(town.table.notebook(10000), asker, once=False)
        assert isinstance(attempt, Attempt)
        wire = attempt.succeed()
        town.loop.settle()
        assert asker.events == [Problem.INTERNAL]
        assert wire.was_reset
        assert town.is_empty


class TestDeadlines:
    def test_an_answer_is_due_in_60_seconds(self, town: Town) -> None:
        asker = Asker()
        wire = town.ask(asker)
        town.wait(59)
        assert asker.events == []
        town.wait(1)
        assert asker.events == [Problem.UPSTREAM_TIMEOUT]
        assert wire.was_reset
        assert town.is_empty

    def test_the_time_counts_from_the_end_of_the_request(self, town: Town) -> None:
        asker = Asker(b"PUT", ended=False)
        town.ask(asker)
        town.wait(300)
        assert asker.connection is not None
        asker.connection.end_request()
        town.wait(59)
        assert asker.events == []
        town.wait(1)
        assert asker.events == [Problem.UPSTREAM_TIMEOUT]

    def test_interim_answers_gain_no_time(self, town: Town) -> None:
        asker = Asker()
        wire = town.ask(asker)
        for _ in range(60):
            town.tell(wire, b"HTTP/1.1 102 Processing\r\n\r\n")
            town.wait(1)
        assert asker.events[-1] is Problem.UPSTREAM_TIMEOUT

    def test_an_answer_that_has_begun_may_take_its_time(self, town: Town) -> None:
        asker = Asker()
        wire = town.ask(asker)
        town.tell(wire, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        town.wait(3600)
        assert asker.events == [200, "waiting"]

    def test_an_upload_that_is_not_taken_for_60_seconds_fails(self, town: Town) -> None:
        asker = Asker(b"PUT", ended=False)
        wire = town.ask(asker)
        wire.room = 1000
        asker.transport.write(b"x" * 50000)
        town.wait(60)
        assert asker.events == []
        town.wait(2)
        assert asker.events == [Problem.UPSTREAM_TIMEOUT]
        assert town.is_empty

    def test_an_upload_that_is_taken_slowly_does_not(self, town: Town) -> None:
        asker = Asker(b"PUT", ended=False)
        wire = town.ask(asker)
        wire.room = 0
        asker.transport.write(b"x" * 50000)
        for _ in range(20):
            wire.room = 1
            town.wait(30)
        assert asker.events == []

    def test_without_a_deadline_nothing_is_late(self, dialler: Dialler) -> None:
        limits = ClientLimits(1000, 65536, 65536, 2.0, response_timeout=0.0, idle_timeout=15.0)
        town = Town(dialler, limits)
        asker, upload = Asker(), Asker(b"PUT", ended=False)
        town.ask(asker)
        wire = town.ask(upload)
        wire.room = 0
        upload.transport.write(b"x" * 50000)
        town.wait(3600)
        assert asker.events == upload.events == []


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
