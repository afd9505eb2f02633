"""One connection as a conversation, request after request: bytes in, bytes out."""

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
from tests.front import Body, House
from tests.server.answers import OK, OK_CLOSE, refusal, say_yes


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
