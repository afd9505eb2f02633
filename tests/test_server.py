"""All connections together: caps, whose connection it is, sweeps and the drain."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from twisted.logger import capturedLogs

from ipyproxy.forwarding import TrustedProxies
from ipyproxy.request import Request
from tests.front import House

PROXY = "10.0.0.5"
PROXIES = TrustedProxies([ip_network("10.0.0.0/8")])


def say_yes(request: Request) -> None:
    request.respond(200, b"OK", [], b"yes")


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ")[1])


class TestCaps:
    def test_a_client_may_have_so_many_connections_and_no_more(self) -> None:
        house = House(connections_per_client=3)
        first, *_ = [house.connect("192.0.2.1") for _ in range(3)]
        assert house.try_to_connect("192.0.2.1") is None
        assert house.try_to_connect("192.0.2.2") is not None
        first.hang_up()
        assert house.try_to_connect("192.0.2.1") is not None
        assert house.try_to_connect("192.0.2.1") is None

    def test_all_clients_together_may_have_so_many(self) -> None:
        house = House(connections=3)
        first, *_ = [house.connect(f"192.0.2.{number}") for number in range(3)]
        assert house.try_to_connect("192.0.2.9") is None
        first.hang_up()
        assert house.try_to_connect("192.0.2.9") is not None

    def test_an_ipv6_subscriber_is_one_client_with_all_its_addresses(self) -> None:
        house = House(connections_per_client=2)
        house.connect("2001:db8:1:2::1")
        house.connect("2001:db8:1:2:ffff::2")
        assert house.try_to_connect("2001:db8:1:2::3") is None
        assert house.try_to_connect("2001:db8:1:3::1") is not None

    def test_every_kind_of_ending_makes_room(self) -> None:
        house = House(connections=1, connections_per_client=1)
        for end in ("hang up", "reset", "handshake", "idle", "refused", "stalled"):
            browser = house.knock()
            house.desk.answer = say_yes
            match end:
                case "hang up":
                    browser.hang_up()
                case "reset":
                    browser.wire.reset()
                    house.loop.settle()
                case "handshake":
                    house.wait(10)
                case "idle":
                    browser.channel.handshakeCompleted()
                    browser.get()
                    house.wait(75)
                case "refused":
                    browser.say(b"nonsense\r\n\r\n")
                    house.wait(6)
                case "stalled":
                    browser.wire.room = 0
                    browser.get()
                    house.wait(70)
            assert not browser.is_connected, end
            assert house.server.channels == set(), end
            assert house.server._crowd.connections == 0, end
            assert not house.server._crowd._clients, end


class TestTrustedProxies:
    def test_the_client_is_who_a_trusted_proxy_says(self) -> None:
        house = House(proxies=PROXIES)
        house.desk.answer = say_yes
        house.connect(PROXY).get(b"/", b"X-Forwarded-For: 192.0.2.7")
        assert house.log == [(200, "192.0.2.7", "")]

    def test_nobody_else_is_believed(self) -> None:
        house = House(proxies=PROXIES)
        house.desk.answer = say_yes
        house.connect("192.0.2.1").get(b"/", b"X-Forwarded-For: 192.0.2.7")
        assert house.log == [(200, "192.0.2.1", "")]

    def test_a_proxy_may_have_more_connections_than_one_client(self) -> None:
        house = House(proxies=PROXIES, connections=20, connections_per_client=2)
        assert all(house.try_to_connect(PROXY) for _ in range(20))
        assert house.try_to_connect(PROXY) is None

    def test_each_of_its_clients_may_have_so_many_requests_at_once(self) -> None:
        house = House(proxies=PROXIES, connections_per_client=2)
        alice, bob = b"X-Forwarded-For: 192.0.2.7", b"X-Forwarded-For: 192.0.2.8"
        browsers = [house.connect(PROXY) for _ in range(4)]
        assert browsers[0].get(b"/1", alice) == b""
        assert browsers[1].get(b"/2", alice) == b""
        assert status_of(browsers[2].get(b"/3", alice)) == 429
        assert browsers[3].get(b"/4", bob) == b""
        say_yes(house.desk.next())
        assert status_of(browsers[0].hear()) == 200
        assert browsers[2].get(b"/5", alice) == b""

    @pytest.mark.parametrize("end", ["answered", "cut", "gone", "refused"])
    def test_every_ending_of_a_request_makes_room(self, end: str) -> None:
        house = House(proxies=PROXIES, connections_per_client=1)
        browser = house.connect(PROXY)
        sent = b"nonsense\r\n\r\n" if end == "refused" else b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        browser.say(sent)
        match end:
            case "answered":
                say_yes(house.desk.next())
            case "cut":
                house.desk.next().cut()
            case "gone":
                browser.hang_up()
        house.wait(6)
        assert not house.server._crowd._clients
        assert not house.server._brought_by_proxies


def test_one_line_tells_of_all_that_were_turned_away() -> None:
    house = House(connections=1)
    house.connect()
    with capturedLogs() as events:
        assert [house.try_to_connect() for _ in range(1000)] == [None] * 1000
        house.wait(3)
    assert [event["count"] for event in events if "count" in event] == [1000]
