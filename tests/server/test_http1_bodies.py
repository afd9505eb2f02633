"""Bodies of requests and answers: they are framed, read at the site's pace, or refused."""

from __future__ import annotations

from tests.front import Body, House
from tests.server.answers import OK, OK_CLOSE, refusal, say_yes


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
