"""How a connection ends: by its browser, by an answer, or by a drain."""

from __future__ import annotations

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.server.request import Request
from tests.front import Body, House
from tests.server.answers import OK, OK_CLOSE, say_yes


class TestEndings:
    def test_a_client_that_goes_away_ends_its_exchange(self, quiet: House) -> None:
        browser = quiet.connect()
        browser.get()
        body = Body(quiet.desk.next())
        browser.hang_up()
        assert body.lost
        assert quiet.log == [(499, "192.0.2.1", "the client went away")]

    def test_writing_to_a_client_that_is_gone_does_nothing(self, quiet: House) -> None:
        browser = quiet.connect()
        browser.get()
        request = quiet.desk.next()
        browser.hang_up()
        request.respond(200, b"OK", [], b"yes")
        request.refuse(ProxyError(Problem.UPSTREAM_BROKEN))
        assert browser.hear() == b""
        assert len(quiet.log) == 1

    def test_a_cut_answer_resets_the_connection(self, quiet: House) -> None:
        browser = quiet.connect()
        browser.get()
        request = quiet.desk.next()
        request.begin(200, b"OK", b"", 1000)
        request.write(b"only this")
        request.cut()
        assert browser.hear().endswith(b"\r\n\r\nonly this")
        assert browser.wire.was_reset

    def test_a_chunked_answer_that_is_cut_has_no_last_chunk(self, quiet: House) -> None:
        browser = quiet.connect()
        browser.get()
        request = quiet.desk.next()
        request.begin(200, b"OK", b"", None)
        request.write(b"only this")
        request.refuse(ProxyError(Problem.UPSTREAM_BROKEN))
        assert browser.hear().endswith(b"\r\n\r\n9\r\nonly this\r\n")
        assert browser.wire.was_reset

    def test_a_site_that_fails_costs_one_answer(self, quiet: House) -> None:
        def fail(request: Request) -> None:
            raise RuntimeError("a mistake of ours")

        quiet.desk.answer = fail
        browser = quiet.connect()
        heard = browser.get()
        assert heard == b"HTTP/1.1 500 Refused\r\nContent-Length: 3\r\n\r\nno\n"
        quiet.desk.answer = say_yes
        assert browser.get() == OK

    def test_a_site_that_fails_after_it_began_ends_what_it_began(self, quiet: House) -> None:
        bodies: list[Body] = []

        def fail(request: Request) -> None:
            bodies.append(Body(request))
            request.begin(200, b"OK", b"", 100)
            request.flush()
            raise RuntimeError("a mistake of ours")

        quiet.desk.answer = fail
        browser = quiet.connect()
        browser.get()
        assert bodies[0].lost
        assert browser.wire.was_reset

    def test_a_log_that_fails_costs_no_answer(self) -> None:
        class Full(House):
            def record(self, request: Request, duration: float) -> None:
                raise OSError("the disk is full")

        house = Full()
        house.desk.answer = say_yes
        browser = house.connect()
        assert browser.get() == OK
        assert browser.get() == OK


class TestDrain:
    def test_idle_connections_close_at_once(self, house: House) -> None:
        idle = house.connect()
        idle.get()
        house.server.drain()
        house.loop.settle()
        assert not idle.is_connected
        assert idle.wire.has_ended

    def test_whoever_has_only_just_connected_is_served_if_it_asks_soon(self, house: House) -> None:
        asking, silent, knocking, stuck = (
            *(house.connect() for _ in range(2)),
            *(house.knock() for _ in range(2)),
        )
        house.server.drain()
        house.wait(1)
        knocking.channel.handshakeCompleted()
        assert [browser.get() for browser in (asking, knocking)] == [OK_CLOSE] * 2
        assert [silent.is_connected, stuck.is_connected] == [True, True]
        house.wait(2)
        assert [silent.is_connected, stuck.is_connected] == [False, False]

    def test_a_request_that_the_kernel_holds_already_is_served(self, house: House) -> None:
        browser = house.connect()
        browser.get()
        browser.wire.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        house.server.drain()
        assert browser.hear() == OK_CLOSE

    def test_an_open_exchange_is_finished_and_then_the_connection_closed(
        self, quiet: House
    ) -> None:
        browser = quiet.connect()
        browser.get()
        quiet.server.drain()
        quiet.wait(20)
        say_yes(quiet.desk.next())
        assert browser.hear() == OK_CLOSE
        assert browser.wire.has_ended
        assert not browser.channel.is_busy

    def test_a_head_that_has_begun_is_still_served(self, house: House) -> None:
        browser = house.connect()
        browser.say(b"GET / HTTP/1.1\r\n")
        house.server.drain()
        assert browser.say(b"Host: a\r\n\r\n") == OK_CLOSE
