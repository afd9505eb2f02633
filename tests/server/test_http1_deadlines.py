"""What the clock does to a connection: who is waited for, and for how long."""

from __future__ import annotations

from tests.front import Body, House
from tests.server.answers import OK, refusal, say_yes


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
