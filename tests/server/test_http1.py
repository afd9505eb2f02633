"""One connection as a conversation: bytes in, bytes out, and what the clock does to it."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from twisted.internet.protocol import Protocol

from ipyproxy.errors import Problem, ProxyError
from ipyproxy.http.forwarding import TrustedProxies
from ipyproxy.http1.head import HeadLimits
from ipyproxy.net.tcp import FIRST_READ, MANY_PIECES, READ_SIZE
from ipyproxy.server.channel import LINGER, LONGEST_LINGER, MOST_AT_ONCE
from ipyproxy.server.clients import Rate
from ipyproxy.server.phases import Phase
from ipyproxy.server.request import Request
from tests.front import Body, House

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"
OK_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes"


def refusal(status: int) -> bytes:
    return b"HTTP/1.1 %d Refused\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n" % status


def say_yes(request: Request) -> None:
    request.respond(200, b"OK", [], b"yes")


@pytest.fixture
def house() -> House:
    made = House()
    made.desk.answer = say_yes
    return made


@pytest.fixture
def quiet() -> House:
    """A house whose site answers only when the test does."""
    return House()


class TestHeads:
    def test_a_request_is_answered_and_the_connection_kept(self, house: House) -> None:
        browser = house.connect()
        assert browser.get() == OK
        assert browser.get() == OK
        assert browser.is_connected
        assert not browser.wire.is_shut

    def test_a_head_may_come_byte_by_byte(self, house: House) -> None:
        browser = house.connect()
        head = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
        heard = [browser.say(head[at : at + 1]) for at in range(len(head))]
        assert heard == [b""] * (len(head) - 1) + [OK]

    def test_an_empty_line_before_a_request_is_skipped(self, house: House) -> None:
        # RFC 9112 section 2.2.
        assert house.connect().say(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n") == OK

    def test_the_site_gets_the_request_as_it_came(self, quiet: House) -> None:
        quiet.connect("192.0.2.9").get(b"/a%2Fb?c=d")
        request = quiet.desk.next()
        assert (request.head.target, request.client) == (b"/a%2Fb?c=d", "192.0.2.9")

    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            (b"GET / HTTP/1.1\nHost: a\n\n", 400),
            (b"\nGET / HTTP/1.1\r\n\r\n", 400),
            (b"nonsense\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
            (b"GET /%b HTTP/1.1\r\n\r\n" % (b"a" * 8192), 414),
            (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n", 431),
            (b"GET / HTTP/1.1\r\nA: " + b"a" * 40000, 431),
            (b"GET / HTTP/1.1\r\nA: " + b"a" * 40000 + b"\r\n\r\n", 431),
            (b"GET /" + b"a" * 40000, 414),
        ],
    )
    def test_what_is_no_request_is_refused_and_the_connection_closed(
        self, house: House, sent: bytes, status: int
    ) -> None:
        browser = house.connect()
        assert browser.say(sent + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n") == refusal(status)
        assert browser.wire.has_ended
        assert house.desk.requests == []
        assert house.statuses == [status]

    def test_after_a_refusal_nothing_is_taken_for_a_request(self, house: House) -> None:
        browser = house.connect()
        browser.say(b"nonsense\r\n\r\n")
        assert browser.get() == b""
        assert house.desk.requests == []


class TestPersistence:
    @pytest.mark.parametrize(
        ("version", "lines", "answer"),
        [
            (b"HTTP/1.1", [b"Connection: close"], OK_CLOSE),
            (b"HTTP/1.1", [b"Connection: Keep-Alive, Close"], OK_CLOSE),
            (b"HTTP/1.0", [], OK_CLOSE),
            (b"HTTP/1.0", [b"Connection: close, keep-alive"], OK_CLOSE),
        ],
    )
    def test_a_client_that_wants_no_more_gets_no_more(
        self, house: House, version: bytes, lines: list[bytes], answer: bytes
    ) -> None:
        browser = house.connect()
        assert browser.get(b"/", *lines, version=version) == answer
        assert browser.wire.has_ended

    def test_an_http_1_0_client_may_ask_to_be_kept(self, house: House) -> None:
        browser = house.connect()
        kept = OK.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")
        assert browser.get(b"/", b"Connection: keep-alive", version=b"HTTP/1.0") == kept
        assert browser.get(b"/", version=b"HTTP/1.0") == OK_CLOSE
        assert browser.wire.has_ended

    def test_after_the_last_answer_the_client_gets_a_moment_to_close(self, house: House) -> None:
        browser = house.connect()
        browser.get(b"/", b"Connection: close")
        assert browser.wire.is_shut
        browser.say(b"what is still on its way is read, so that no reset destroys the answer")
        house.wait(LINGER - 1)
        assert browser.is_connected
        house.wait(1)
        assert browser.wire.has_ended
        assert not browser.is_connected

    def test_a_client_that_goes_on_sending_is_read_for_longer(self, house: House) -> None:
        """It reads the answer only when it has sent all; Chromium shows a 413 then, or a reset."""
        house.desk.answer = lambda request: request.refuse(ProxyError(Problem.BODY_TOO_LARGE))
        browser = house.connect()
        heard = browser.say(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        assert heard == refusal(413)
        for _ in range(5):
            house.wait(LINGER - 1)
            browser.say(b"x" * 1000)
            assert browser.is_connected
        house.wait(LINGER - 1)
        browser.say(b"x" * 1000)
        house.wait(LONGEST_LINGER - 6 * (LINGER - 1))
        assert not browser.is_connected

    def test_a_stop_waits_for_no_connection_whose_client_takes_its_time(self, quiet: House) -> None:
        """An answer that waits to be taken is the last one, and not followed by an idle phase."""
        quiet.desk.answer = lambda request: request.respond(200, b"OK", [], b"x" * 200_000)
        browser = quiet.connect()
        browser.wire.room = 0
        browser.get()
        assert browser.channel.phase is Phase.FLUSH
        quiet.server.drain()
        browser.wire.room = None
        assert browser.hear().endswith(b"x" * 1000)
        assert browser.channel.phase.name == "LINGER"
        assert browser.wire.is_shut
        assert not browser.channel.is_busy

    def test_a_client_that_closes_ends_the_lingering(self, house: House) -> None:
        browser = house.connect()
        browser.get(b"/", b"Connection: close")
        browser.hang_up()
        assert not browser.is_connected
        assert house.server.channels == set()


class TestPipelining:
    def test_a_thousand_requests_are_answered_in_order(self, quiet: House) -> None:
        quiet.desk.answer = lambda request: request.respond(200, b"OK", [], request.head.target)
        browser = quiet.connect()
        heard = browser.say(
            b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(1000))
        )
        bodies = [answer.split(b"\r\n\r\n")[1] for answer in heard.split(b"HTTP/1.1 200 OK")[1:]]
        assert bodies == [b"/%d" % number for number in range(1000)]

    def test_a_thousand_requests_that_are_answered_later_are_answered_in_order(
        self, quiet: House
    ) -> None:
        quiet.desk.answer = lambda request: quiet.loop.callLater(
            0, request.respond, 200, b"OK", [], request.head.target
        )
        browser = quiet.connect()
        heard = browser.say(
            b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(1000))
        )
        bodies = [answer.split(b"\r\n\r\n")[1] for answer in heard.split(b"HTTP/1.1 200 OK")[1:]]
        assert bodies == [b"/%d" % number for number in range(1000)]

    def test_the_second_request_waits_for_the_answer_to_the_first(self, quiet: House) -> None:
        browser = quiet.connect()
        browser.say(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        first = quiet.desk.next()
        assert quiet.desk.requests == []
        say_yes(first)
        assert browser.hear() == OK
        assert quiet.desk.next().target == b"/2"

    def test_too_much_sent_ahead_makes_the_client_wait(self, quiet: House) -> None:
        browser = quiet.connect()
        browser.get(b"/1")
        browser.say(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n" * 5000)
        assert not browser.channel.transport.is_reading
        quiet.desk.answer = say_yes
        say_yes(quiet.desk.next())
        assert browser.hear() == OK * 5001
        assert browser.channel.transport.is_reading

    def test_requests_are_not_begun_while_the_client_takes_no_answers(self, quiet: House) -> None:
        quiet.desk.answer = lambda request: request.respond(200, b"OK", [], b"x" * 30000)
        browser = quiet.connect()
        browser.wire.room = 0
        browser.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
        assert len(quiet.desk.requests) == 3
        assert browser.channel.phase is Phase.FLUSH
        assert browser.channel.transport.bytes_waiting < 65536 + 30200
        browser.wire.room = None
        assert browser.hear().count(b"HTTP/1.1 200 OK") == 1000

    def test_a_request_behind_a_refused_body_is_never_begun(self, quiet: House) -> None:
        quiet.desk.answer = lambda request: request.refuse(ProxyError(Problem.ORIGIN_DENIED))
        browser = quiet.connect()
        heard = browser.say(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n"
            b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        assert heard == refusal(403)
        assert browser.say(b"x" * 50 + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n") == b""
        assert len(quiet.desk.requests) == 1


class TestTurns:
    """One connection against all others: what one turn of the event loop does for it is bounded."""

    def test_of_many_requests_in_one_read_a_few_are_answered_in_a_turn(self, house: House) -> None:
        greedy = house.connect()
        greedy.wire.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
        greedy.be_read_once()
        assert greedy.wire.hear() == OK * MOST_AT_ONCE
        assert not greedy.channel.transport.is_reading
        assert greedy.hear() == OK * (1000 - MOST_AT_ONCE)

    def test_others_are_served_between(self, house: House) -> None:
        greedy, good = house.connect(), house.connect()
        greedy.wire.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
        greedy.be_read_once()
        assert good.wire.hear() == b""
        good.wire.say(b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n")
        house.loop.turn()
        assert good.wire.hear() == OK
        assert len(greedy.wire.hear()) <= 2 * MOST_AT_ONCE * len(OK)

    def test_what_waits_is_forgotten_with_its_client(self, house: House) -> None:
        greedy = house.connect()
        greedy.wire.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
        greedy.be_read_once()
        greedy.wire.reset()
        house.loop.settle()
        assert len(house.desk.requests) <= 2 * MOST_AT_ONCE

    def test_who_asks_too_fast_gets_one_answer_and_is_closed(self) -> None:
        house = House(requests=Rate(1, 2))
        house.desk.answer = say_yes
        browser = house.connect()
        heard = browser.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
        assert heard == OK * 2 + refusal(429)
        assert browser.wire.is_shut

    def test_a_proxy_that_brings_many_clients_keeps_its_connection(self) -> None:
        proxies = TrustedProxies([ip_network("192.0.2.0/24")])
        house = House(requests=Rate(1, 1), proxies=proxies)
        house.desk.answer = say_yes
        proxy = house.connect("192.0.2.1")
        greedy, good = b"X-Forwarded-For: 10.0.0.1", b"X-Forwarded-For: 10.0.0.2"
        assert proxy.get(b"/", greedy) == OK
        assert proxy.get(b"/", greedy).startswith(b"HTTP/1.1 429 ")
        assert proxy.get(b"/", good) == OK

    def test_a_body_of_tiny_chunks_is_read_in_smaller_pieces(self, quiet: House) -> None:
        browser = quiet.connect()
        browser.say(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        body = Body(quiet.desk.next())
        browser.wire.say(b"1\r\nx\r\n" * 30_000)
        reads = []
        while browser.wire.unread:
            before = browser.wire.unread
            browser.be_read_once()
            reads.append(before - browser.wire.unread)
        assert reads[0] == 2 * FIRST_READ, "the head was read before"
        assert max(reads[1:]) <= 6 * (2 * MANY_PIECES + 1), "few chunks in each from then on"
        assert body.data == b"x" * 30_000
        browser.wire.say(b"8000\r\n" + bytes(0x8000) + b"\r\n")
        browser.hear()
        browser.wire.say(b"F0000\r\n" + bytes(0xF0000))
        for _ in range(10):
            browser.be_read_once()
        left = browser.wire.unread
        browser.be_read_once()
        assert left - browser.wire.unread == READ_SIZE, "large ones are read as before"


class TestBodies:
    def test_bytes_of_a_body_are_handed_on_as_they_come(self, quiet: House) -> None:
        browser = quiet.connect()
        browser.say(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
        body = Body(quiet.desk.next())
        seen = []
        for piece in (b"0123", b"456", b"789"):
            browser.say(piece)
            seen.append((body.data, body.ended))
        assert seen == [(b"0123", False), (b"0123456", False), (b"0123456789", True)]

    def test_a_body_in_the_same_packet_as_its_head(self, quiet: House) -> None:
        bodies: list[Body] = []
        quiet.desk.answer = lambda request: bodies.append(Body(request))
        browser = quiet.connect()
        browser.say(
            b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
            b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        assert (bodies[0].data, bodies[0].ended) == (b"abc", True)
        say_yes(quiet.desk.next())
        assert browser.hear() == OK
        assert quiet.desk.next().target == b"/next"

    def test_chunks_are_taken_apart(self, quiet: House) -> None:
        browser = quiet.connect()
        browser.say(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        body = Body(quiet.desk.next())
        browser.say(b"3;x=y\r\nabc\r\n2\r")
        browser.say(b"\nde\r\n0\r\nTrailer: dropped\r\n\r\n")
        assert (body.data, body.ended) == (b"abcde", True)

    def test_a_broken_chunk_ends_the_exchange(self, quiet: House) -> None:
        browser = quiet.connect()
        browser.say(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        body = Body(quiet.desk.next())
        assert browser.say(b"3\r\nabcd\r\n") == refusal(400)
        assert body.lost
        assert browser.wire.has_ended

    def test_a_body_that_says_it_is_too_large_is_refused_at_once(self) -> None:
        house = House(body_bytes=1000)
        browser = house.connect()
        heard = browser.say(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n")
        assert heard == refusal(413)
        assert house.desk.requests == []

    def test_a_body_that_outgrows_the_limit_ends_the_exchange(self) -> None:
        house = House(body_bytes=1000)
        browser = house.connect()
        browser.say(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        body = Body(house.desk.next())
        assert browser.say(b"3e8\r\n%b\r\n" % (b"x" * 1000)) == b""
        assert browser.say(b"1\r\ny\r\n") == refusal(413)
        assert body.lost

    def test_an_answer_before_the_body_is_whole_says_that_it_is_the_last(
        self, quiet: House
    ) -> None:
        browser = quiet.connect()
        browser.say(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        request = quiet.desk.next()
        Body(request)
        browser.say(b"x" * 1000)
        request.respond(200, b"OK", [], b"yes")
        assert browser.hear() == OK_CLOSE
        # The client may go on sending; it is read, dropped, and never taken for a request.
        assert browser.say(b"x" * 200000) == b""
        assert browser.channel.transport.is_reading
        assert browser.wire.is_shut

    def test_an_early_answer_is_taken_even_if_the_client_was_made_to_wait(
        self, quiet: House
    ) -> None:
        browser = quiet.connect()
        browser.say(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        request = quiet.desk.next()
        request.transport.pauseProducing()
        request.respond(200, b"OK", [], b"yes")
        browser.say(b"x" * 200000)
        assert browser.channel.transport.is_reading


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

    def test_a_log_that_fails_costs_no_answer(self, house: House) -> None:
        def fail(request: Request, duration: float) -> None:
            raise OSError("the disk is full")

        house.server._record = fail
        browser = house.connect()
        assert browser.get() == OK
        assert browser.get() == OK


class TestDeadlines:
    def test_a_handshake_has_ten_seconds(self, house: House) -> None:
        browser = house.knock()
        house.wait(9)
        assert browser.is_connected
        house.wait(1)
        assert browser.wire.was_reset
        assert house.log == []

    def test_the_first_head_has_ten_seconds_from_the_handshake(self, house: House) -> None:
        browser = house.connect()
        browser.say(b"GET / HTTP/1.1\r\n")
        house.wait(9)
        assert browser.hear() == b""
        house.wait(1)
        assert browser.hear() == refusal(408)
        assert house.statuses == [408]

    def test_a_head_that_comes_in_drops_gains_no_time(self, house: House) -> None:
        browser = house.connect()
        assert browser.get() == OK
        heard = b""
        for _ in range(12):
            heard += browser.say(b"A")
            house.wait(1)
        assert heard + browser.hear() == refusal(408)

    def test_empty_lines_gain_no_time_either(self, house: House) -> None:
        browser = house.connect()
        for _ in range(12):
            if browser.is_connected:
                browser.wire.say(b"\r\n")
            house.wait(1)
        assert not browser.is_connected

    def test_on_plain_http_the_first_byte_starts_the_clock(self, house: House) -> None:
        browser = house.knock()
        house.wait(5)
        browser.say(b"GET / HTTP/1.1\r\n")
        house.wait(9)
        assert browser.hear() == b""
        house.wait(1)
        assert browser.hear() == refusal(408)

    def test_a_connection_made_in_advance_is_closed_without_a_reset(self, house: House) -> None:
        browser = house.connect()
        house.wait(10)
        assert browser.hear() == b""
        assert browser.wire.has_ended
        assert not browser.is_connected

    def test_an_idle_connection_is_kept_for_75_seconds(self, house: House) -> None:
        browser = house.connect()
        browser.get()
        house.wait(74)
        assert browser.get() == OK
        house.wait(74)
        assert browser.is_connected
        house.wait(1)
        assert not browser.is_connected
        assert browser.wire.has_ended

    def test_a_body_may_pause_for_60_seconds(self, quiet: House) -> None:
        browser = quiet.connect()
        browser.say(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        body = Body(quiet.desk.next())
        browser.say(b"x" * 60000)
        quiet.wait(61)
        assert browser.hear() == b""
        quiet.wait(1)
        assert browser.hear() == refusal(408)
        assert body.lost

    def test_a_body_must_keep_512_bytes_a_second(self, quiet: House) -> None:
        browser = quiet.connect()
        browser.say(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        Body(quiet.desk.next())
        heard = b""
        for _ in range(65):
            heard += browser.say(b"x" * 500)
            quiet.wait(1)
        assert heard == refusal(408)

    def test_a_body_that_keeps_the_pace_may_take_its_time(self, quiet: House) -> None:
        browser = quiet.connect()
        browser.say(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 180000\r\n\r\n")
        body = Body(quiet.desk.next())
        for _ in range(300):
            assert browser.say(b"x" * 600) == b""
            quiet.wait(1)
        assert body.ended

    def test_a_client_that_is_made_to_wait_is_not_late(self, quiet: House) -> None:
        browser = quiet.connect()
        browser.say(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        request = quiet.desk.next()
        body = Body(request)
        request.transport.pauseProducing()
        quiet.wait(600)
        assert browser.hear() == b""
        assert not body.lost

    def test_a_reader_that_stalls_is_cut_off_after_60_seconds(self, quiet: House) -> None:
        browser = quiet.connect()
        browser.get()
        request = quiet.desk.next()
        body = Body(request)
        browser.wire.room = 1000
        request.begin(200, b"OK", b"", 100000)
        request.write(b"x" * 50000)
        quiet.wait(60)
        assert browser.is_connected
        quiet.wait(1)
        assert browser.wire.was_reset
        assert body.lost
        assert quiet.log == [(200, "192.0.2.1", "the client read too slowly")]

    def test_a_reader_must_keep_512_bytes_a_second(self, quiet: House) -> None:
        browser = quiet.connect()
        browser.get()
        request = quiet.desk.next()
        browser.wire.room = 0
        request.begin(200, b"OK", b"", 100000)
        request.write(b"x" * 100000)
        for _ in range(65):
            browser.wire.room = 500
            quiet.wait(1)
        assert browser.wire.was_reset

    def test_a_reader_that_keeps_the_pace_gets_all(self, quiet: House) -> None:
        browser = quiet.connect()
        browser.get()
        request = quiet.desk.next()
        browser.wire.room = 0
        request.respond(200, b"OK", [], b"x" * 60000)
        for _ in range(120):
            browser.wire.room = 600
            quiet.wait(1)
        assert browser.hear().endswith(b"x" * 60000)
        assert not browser.wire.was_reset

    def test_pages_that_nobody_reads_are_given_up(self, house: House) -> None:
        browser = house.connect()
        browser.wire.room = 10
        browser.say(b"nonsense\r\n\r\n")
        house.wait(62)
        assert browser.wire.was_reset
        assert house.server.channels == set()

    def test_an_unread_answer_does_not_outlive_the_idle_time(self, house: House) -> None:
        browser = house.connect()
        browser.wire.room = 10
        browser.get()
        house.wait(62)
        assert not browser.is_connected
        assert house.server.channels == set()

    def test_an_answer_takes_as_long_as_it_takes(self, quiet: House) -> None:
        browser = quiet.connect()
        browser.get()
        quiet.wait(3600)
        say_yes(quiet.desk.next())
        assert browser.hear() == OK


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


class Tunnel(Protocol):
    def __init__(self) -> None:
        self.data = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: object = None) -> None:
        self.lost = True


class TestHandingOver:
    def test_a_tunnel_gets_all_that_comes_and_no_deadline_holds(self, quiet: House) -> None:
        browser = quiet.connect()
        browser.get()
        request, tunnel = quiet.desk.next(), Tunnel()
        request.connection.hand_over(tunnel)
        browser.say(b"frames")
        quiet.wait(3600)
        browser.say(b" and more")
        browser.hang_up()
        assert (tunnel.data, tunnel.lost) == (b"frames and more", True)

    def test_what_was_sent_ahead_goes_first_and_reading_goes_on(self, quiet: House) -> None:
        browser = quiet.connect()
        browser.get()
        browser.say(b"ahead" * 20000)
        assert not browser.channel.transport.is_reading
        tunnel = Tunnel()
        quiet.desk.next().connection.hand_over(tunnel)
        browser.say(b"!")
        assert tunnel.data == b"ahead" * 20000 + b"!"


def test_head_limits_are_those_configured() -> None:
    house = House(head=HeadLimits(head_bytes=1024, head_fields=10, target_bytes=256))
    house.desk.answer = say_yes
    assert house.connect().get(b"/" + b"a" * 256) == refusal(414)
    assert house.connect().get(b"/", *[b"A: b"] * 10) == refusal(431)
    assert house.connect().get(b"/", b"A: " + b"a" * 1024) == refusal(431)
