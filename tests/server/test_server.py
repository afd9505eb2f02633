"""All connections together: caps, whose connection it is, sweeps and the drain."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_network

import pytest
from twisted.logger import capturedLogs

from ipyproxy.config import Config
from ipyproxy.daemon.limits import clients_limits
from ipyproxy.errors import Problem
from ipyproxy.http.forwarding import TrustedProxies
from ipyproxy.server.clients import MOST_TOLD, Rate
from ipyproxy.server.refusals import Untold
from ipyproxy.server.request import Request
from tests.front import House, status_of

PROXY = "10.0.0.5"
PROXIES = TrustedProxies([ip_network("10.0.0.0/8")])


def say_yes(request: Request) -> None:
    request.respond(200, b"OK", [], b"yes")


def has_room_for(house: House, host: str = "192.0.2.1") -> bool:
    """Whether a new connection of *host* is served; it is gone afterwards."""
    browser = house.connect(host)
    status = status_of(browser.get())
    browser.hang_up()
    return status == 200


class TestCaps:
    def test_a_client_may_have_so_many_connections_and_no_more(self) -> None:
        house = House(connections_per_client=3)
        house.desk.answer = say_yes
        first, *_ = [house.connect("192.0.2.1") for _ in range(3)]
        assert not has_room_for(house, "192.0.2.1")
        assert has_room_for(house, "192.0.2.2")
        first.hang_up()
        assert has_room_for(house, "192.0.2.1")

    def test_all_clients_together_may_have_so_many(self) -> None:
        house = House(connections=3)
        house.desk.answer = say_yes
        first, *_ = [house.connect(f"192.0.2.{number}") for number in range(3)]
        assert not has_room_for(house, "192.0.2.9")
        first.hang_up()
        assert has_room_for(house, "192.0.2.9")

    def test_an_idle_connection_of_a_client_gives_way_before_it_is_refused(self) -> None:
        house = House(connections_per_client=3)
        house.desk.answer = say_yes
        longest, later, busy = (house.connect() for _ in range(3))
        assert status_of(longest.get()) == 200
        house.wait(5)
        assert status_of(later.get()) == 200
        assert status_of(house.connect().get()) == 200
        assert not longest.is_connected
        assert later.is_connected
        assert busy.is_connected, "it has not asked yet, so it is not idle"

    def test_where_all_places_are_taken_the_client_with_most_gives_way(self) -> None:
        house = House(connections=6, connections_per_client=6)
        house.desk.answer = say_yes
        greedy = [house.connect("192.0.2.1") for _ in range(5)]
        modest = house.connect("192.0.2.2")
        for browser in (*greedy, modest):
            assert status_of(browser.get()) == 200
        house.wait(2)
        assert has_room_for(house, "192.0.2.3")
        assert modest.is_connected
        assert [browser.is_connected for browser in greedy].count(False) == 1

    def test_without_a_number_one_client_leaves_half_to_others(self) -> None:
        house = House(connections=20, connections_per_client=0)
        house.desk.answer = lambda request: None
        alone = [house.connect("192.0.2.1") for _ in range(10)]
        assert all(browser.get() == b"" for browser in alone)
        assert status_of(house.connect("192.0.2.1").get()) == 429
        assert house.connect("192.0.2.2").get() == b""

    def test_a_class_of_a_hundred_opens_jupyterlab_behind_one_address(self) -> None:
        """Each opens 8 connections and sends 200 requests, all at once, under the default limits.

        A minute later all load the page again, on the connections that they have.
        """
        limits = clients_limits(Config())
        house = House(
            connections=limits.connections,
            connections_per_client=limits.connections_each,
            connecting=limits.connecting,
            requests=limits.requests,
        )
        house.desk.answer = say_yes
        lab = [house.connect("198.51.100.1") for _ in range(8 * 100)]

        def ask_all(requests_each: int) -> None:
            for browser in lab:
                browser.wire.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * requests_each)
            house.loop.settle()

        ask_all(25)
        house.wait(60)
        ask_all(25)
        assert Counter(house.statuses) == {200: 2 * 20_000}
        assert all(browser.is_connected for browser in lab)

    def test_where_they_come_back_their_idle_connections_make_room(self) -> None:
        house = House(connections=100, connections_per_client=0)
        house.desk.answer = say_yes
        for _ in range(10):
            browsers = [house.connect("198.51.100.1") for _ in range(40)]
            assert {status_of(browser.get()) for browser in browsers} == {200}
            house.wait(2)
        assert house.connections_of("198.51.100.1") <= 50

    def test_what_was_used_since_it_was_looked_at_is_not_closed(self) -> None:
        house = House(connections_per_client=2)
        house.desk.answer = say_yes
        first, second = house.connect(), house.connect()
        first.get()
        house.loop.advance(0.1)
        second.get()
        house.loop.advance(0.1)
        assert house.connect().channel.excess is None
        assert status_of(second.get()) == 200
        assert house.connect().channel.excess is Problem.TOO_MANY_CONNECTIONS
        house.loop.settle()
        assert (first.is_connected, second.is_connected) == (False, True)

    def test_one_that_is_about_to_ask_is_not_closed(self) -> None:
        house = House(connections_per_client=1)
        house.desk.answer = say_yes
        browser = house.connect()
        browser.get()
        browser.wire.say(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert house.connect().channel.excess is Problem.TOO_MANY_CONNECTIONS
        assert status_of(browser.hear()) == 200

    def test_one_that_has_not_taken_its_answer_is_not_closed(self) -> None:
        # It would linger, and its client could have any number of these.
        house = House(connections_per_client=1)
        house.desk.answer = say_yes
        browser = house.connect()
        browser.wire.room = 10
        browser.get()
        assert house.connect().channel.excess is Problem.TOO_MANY_CONNECTIONS

    def test_idle_ones_of_a_client_with_few_do_not_give_way_to_one_with_many(self) -> None:
        house = House(connections=4, connections_per_client=4)
        house.desk.answer = say_yes
        modest = house.connect("192.0.2.2")
        modest.get()
        house.desk.answer = lambda request: None
        for _ in range(3):
            house.connect("192.0.2.1").get()
        assert house.connect("192.0.2.1").channel.excess is Problem.OVERLOADED
        assert modest.is_connected

    def test_a_hundred_idle_clients_give_way_one_by_one(self) -> None:
        house = House(connections=100)
        house.desk.answer = say_yes
        for number in range(100):
            house.connect(f"192.0.2.{number}").get()
        for number in range(100):
            assert has_room_for(house, f"198.51.100.{number}")

    def test_an_ipv6_subscriber_is_one_client_with_all_its_addresses(self) -> None:
        house = House(connections_per_client=2)
        house.desk.answer = say_yes
        house.connect("2001:db8:1:2::1")
        house.connect("2001:db8:1:2:ffff::2")
        assert not has_room_for(house, "2001:db8:1:2::3")
        assert has_room_for(house, "2001:db8:1:3::1")

    @pytest.mark.parametrize(("connections", "of_one", "status"), [(1, 50, 503), (100, 1, 429)])
    def test_whoever_is_one_too_many_is_told_so_once(
        self, connections: int, of_one: int, status: int
    ) -> None:
        house = House(connections=connections, connections_per_client=of_one)
        house.connect()
        browser = house.connect()
        answers = browser.say(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n" * 2)
        assert status_of(answers) == status
        assert answers.count(b"HTTP/1.1") == 1
        assert b"\r\nConnection: close\r\n" in answers
        assert browser.wire.is_shut
        assert not house.desk.requests

    def test_very_many_too_many_are_not(self) -> None:
        house = House(connections=1)
        house.connect()
        told = [house.connect() for _ in range(MOST_TOLD)]
        assert house.try_to_connect() is None
        told[0].hang_up()
        assert house.try_to_connect() is not None
        assert house.try_to_connect() is None

    def test_one_too_many_that_says_nothing_is_closed_in_time(self) -> None:
        house = House(connections=1)
        house.connect()
        house.knock()
        assert house.server._clients.excess == 1
        house.wait(11)
        assert house.server._clients.excess == 0

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
            assert house.server._clients.connections == 0, end
            assert house.connections_of("192.0.2.1") == 0, end


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
        browsers = [house.connect(PROXY) for _ in range(20)]
        for number, browser in enumerate(browsers):
            assert browser.get(b"/", b"X-Forwarded-For: 198.51.100.%d" % number) == b""
        assert not has_room_for(house, PROXY)

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

    def test_they_are_served_on_the_last_of_its_connections_too(self) -> None:
        house = House(proxies=PROXIES, connections=4, connections_per_client=0)
        house.desk.answer = say_yes
        browsers = [house.connect(PROXY) for _ in range(4)]
        who = b"X-Forwarded-For: 192.0.2.7"
        assert [status_of(browser.get(b"/", who)) for browser in browsers] == [200] * 4

    def test_one_of_them_leaves_half_of_what_they_can_have_to_others(self) -> None:
        house = House(proxies=PROXIES, connections=4, connections_per_client=0)
        alice, bob = b"X-Forwarded-For: 192.0.2.7", b"X-Forwarded-For: 192.0.2.8"
        browsers = [house.connect(PROXY) for _ in range(4)]
        assert [browser.get(b"/", alice) for browser in browsers[:2]] == [b"", b""]
        assert status_of(browsers[2].get(b"/", alice)) == 429
        assert browsers[3].get(b"/", bob) == b""

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
        assert house.connections_of("192.0.2.1") == 0
        assert not house.server._brought_by_proxies


class TestRates:
    def test_connections_that_come_too_fast_are_turned_away(self) -> None:
        house = House(connecting=Rate(2, 3))
        assert [house.try_to_connect("192.0.2.1") is not None for _ in range(4)] == [True] * 3 + [
            False
        ]
        assert house.try_to_connect("192.0.2.2") is not None
        house.loop.advance(0.5)
        assert house.try_to_connect("192.0.2.1") is not None
        assert house.try_to_connect("192.0.2.1") is None

    def test_those_of_a_proxy_are_not_its_own(self) -> None:
        house = House(proxies=PROXIES, connecting=Rate(1, 1))
        assert all(house.try_to_connect(PROXY) for _ in range(10))

    def test_requests_that_come_too_fast_get_429_and_when_to_come_again(self) -> None:
        house = House(requests=Rate(0.1, 3))
        house.desk.answer = say_yes
        browsers = [house.connect(), house.connect()]
        statuses = [status_of(browsers[turn % 2].get()) for turn in range(4)]
        assert statuses == [200, 200, 200, 429]
        assert house.desk.refused[-1].retry_after == pytest.approx(10, abs=0.1)
        # The connection goes on, and so does everybody else.
        assert status_of(house.connect("192.0.2.2").get()) == 200
        house.loop.pass_time(10)
        assert status_of(browsers[0].get()) == 200

    def test_those_that_a_proxy_brings_are_its_clients(self) -> None:
        house = House(proxies=PROXIES, requests=Rate(0.1, 1))
        house.desk.answer = say_yes
        alice, bob = b"X-Forwarded-For: 192.0.2.7", b"X-Forwarded-For: 192.0.2.8"
        statuses = [status_of(house.connect(PROXY).get(b"/", who)) for who in (alice, bob, alice)]
        assert statuses == [200, 200, 429]


def test_a_flood_of_refusals_is_told_in_few_lines() -> None:
    house = House(connections=1)
    for _ in range(1 + MOST_TOLD):
        house.connect()
    with capturedLogs() as events:
        assert [house.try_to_connect() for _ in range(1000)] == [None] * 1000
        house.wait(Untold.EVERY + 2)
    told = [event for event in events if event.get("reason") == "overloaded"]
    assert len(told) == 20
    assert [event["count"] for event in events if "count" in event] == [980]


def test_handshakes_are_counted_and_connections_that_ended_before() -> None:
    house = House()
    house.desk.answer = say_yes
    served, gone, late = house.connect(), house.knock(), house.knock()
    assert (house.server.handshakes.done, house.server.handshakes.failed) == (1, 0)
    served.get()
    served.hang_up()
    gone.hang_up()
    assert (house.server.handshakes.done, house.server.handshakes.failed) == (1, 1)
    house.wait(house.limits.handshake_timeout + 1)
    assert not late.is_connected
    assert (house.server.handshakes.done, house.server.handshakes.failed) == (1, 2)


def test_clients_at_a_unix_socket_are_not_one_client() -> None:
    house = House(connections_per_client=1, connecting=Rate(1, 1), requests=Rate(0.1, 1))
    house.desk.answer = say_yes
    browsers = [house.connect("") for _ in range(3)]
    assert [status_of(browser.get()) for browser in browsers] == [200] * 3


def test_a_proxy_at_a_unix_socket_says_who_its_clients_are() -> None:
    house = House(proxies=TrustedProxies(["unix"]), requests=Rate(0.1, 1))
    house.desk.answer = say_yes
    alice, bob = b"X-Forwarded-For: 192.0.2.7", b"X-Forwarded-For: 192.0.2.8"
    statuses = [status_of(house.connect("").get(b"/", who)) for who in (alice, bob, alice)]
    assert statuses == [200, 200, 429]
