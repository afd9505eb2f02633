"""Upstreams are dialled at loopback, and waited for no longer than configured."""

from __future__ import annotations

import errno

import pytest

from ipyproxy.errors import Problem
from ipyproxy.upstream.connection import ClientLimits, UpstreamConnection
from tests.upstream.town import Asker, Town
from tests.wires import Attempt, Dialler


@pytest.fixture
def dialler() -> Dialler:
    return Dialler()


@pytest.fixture
def town(dialler: Dialler) -> Town:
    return Town(dialler)


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
