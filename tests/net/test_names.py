"""Hosts that are known by name: looked up in a thread, remembered for a moment, tried in turn."""

from __future__ import annotations

import errno
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ipyproxy.net.address import NamedAddress, TCPAddress
from ipyproxy.net.names import FRESH_FOR, WAIT, Names

HUB = NamedAddress("hub", 8081)


class Attempt:
    """One that the test ends."""

    def __init__(self, address: TCPAddress, failed: Callable[[OSError], None]) -> None:
        self.address = address
        self.fail = failed
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Host:
    """Names whose look-ups the test answers, and dials that it ends."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.asked: list[tuple[str, Deferred[list[str]]]] = []
        self.begun: list[Attempt] = []
        self.failed: list[OSError] = []
        self.names = Names(self._look_up, self.clock)

    def _look_up(self, name: str) -> Deferred[list[str]]:
        answer: Deferred[list[str]] = Deferred()
        self.asked.append((name, answer))
        return answer

    def dial(self) -> None:
        def begin(address: TCPAddress, failed: Callable[[OSError], None]) -> Attempt:
            attempt = Attempt(address, failed)
            self.begun.append(attempt)
            return attempt

        self.attempt = self.names.dial(HUB, begin, self.failed.append)


def test_one_question_serves_all_who_wait_and_a_moment_longer() -> None:
    host = Host()
    host.dial()
    host.dial()
    assert [name for name, _ in host.asked] == ["hub"]
    host.asked[0][1].callback(["10.0.0.1"])
    host.dial()
    assert [one.address for one in host.begun] == [TCPAddress("10.0.0.1", 8081)] * 3
    assert host.names.known(HUB) == TCPAddress("10.0.0.1", 8081)
    host.clock.advance(FRESH_FOR)
    host.dial()
    assert len(host.asked) == 2


def test_a_host_that_has_moved_is_found_again() -> None:
    host = Host()
    host.dial()
    host.asked[0][1].callback(["10.0.0.1"])
    host.clock.advance(FRESH_FOR)
    host.dial()
    host.asked[1][1].callback(["10.0.0.2"])
    assert host.begun[-1].address.host == "10.0.0.2"


def test_its_addresses_are_tried_in_turn() -> None:
    host = Host()
    host.dial()
    host.asked[0][1].callback(["::1", "127.0.0.1"])
    refused = OSError(errno.ECONNREFUSED, "refused")
    host.begun[0].fail(refused)
    assert host.begun[1].address.host == "127.0.0.1"
    host.begun[1].fail(refused)
    assert host.failed == [refused]


def test_one_that_nobody_knows_is_told_so() -> None:
    host = Host()
    host.dial()
    host.asked[0][1].errback(OSError(errno.ENOENT, "no such host"))
    assert [one.errno for one in host.failed] == [errno.EHOSTUNREACH]


def test_a_name_server_that_is_away_stops_nobody_who_was_found_before() -> None:
    host = Host()
    host.dial()
    host.asked[0][1].callback(["10.0.0.1"])
    host.clock.advance(FRESH_FOR)
    host.dial()
    host.asked[1][1].errback(OSError(errno.ETIMEDOUT, "away"))
    assert len(host.begun) == 2
    assert not host.failed


def test_a_look_up_that_hangs_ends_the_attempt() -> None:
    host = Host()
    host.dial()
    host.clock.advance(WAIT)
    assert [one.errno for one in host.failed] == [errno.ETIMEDOUT]
    host.asked[0][1].callback(["10.0.0.1"])
    assert not host.begun


def test_a_look_up_that_hangs_stops_nobody_who_was_found_before() -> None:
    host = Host()
    host.dial()
    host.asked[0][1].callback(["10.0.0.1"])
    host.clock.advance(FRESH_FOR)
    host.dial()
    host.clock.advance(WAIT)
    assert [one.address.host for one in host.begun] == ["10.0.0.1"] * 2
    host.asked[1][1].callback(["10.0.0.2"])
    assert len(host.begun) == 2, "the attempt is under way already"
    host.begun[1].fail(OSError(errno.ECONNREFUSED, "refused"))
    assert [one.errno for one in host.failed] == [errno.ECONNREFUSED]


def test_one_that_was_given_up_dials_nothing() -> None:
    host = Host()
    host.dial()
    host.attempt.cancel()
    host.asked[0][1].callback(["10.0.0.1"])
    assert not host.begun
    assert not host.clock.getDelayedCalls()
