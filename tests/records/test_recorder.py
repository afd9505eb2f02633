"""What is kept of requests: all that are served have a line, and a flood of refusals has few."""

from __future__ import annotations

import pytest
from twisted.logger import capturedLogs

from ipyproxy.http1.head import HeadLimits, parse_request
from ipyproxy.records.accesslog import AccessLog
from ipyproxy.records.recorder import Recorder
from ipyproxy.records.statistics import Statistics
from ipyproxy.server.clients import Clients, ClientsLimits
from ipyproxy.server.request import Request
from tests.front import House

ALICE, MALLORY = "192.0.2.7", "192.0.2.66"
MIB = 2**20


class Office:
    """A recorder, the lines it has written, and what it counts."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self._connection = House().connect().channel
        self.statistics = Statistics(0.0)
        log = AccessLog(self.lines.append, "combined", lambda: 1_800_000_000.0)
        self.recorder = Recorder(self.statistics, log, Clients(ClientsLimits(100, 100)))

    def ask(
        self, client: str, at: float, *, refused: bool = False, agent: bytes = b"Browser"
    ) -> None:
        """Let a request of ``client`` end at that time."""
        block = b"GET /a HTTP/1.1\r\nHost: h\r\nUser-Agent: " + agent
        head = parse_request(block, HeadLimits(head_bytes=65536))
        request = Request(self._connection, head, None)
        request.client, request.started = client, at
        request.status, request.refused = (404 if refused else 200), refused
        self.recorder.record(request, 0.0)

    def lines_of(self, client: str) -> int:
        return sum(line.startswith(client.encode()) for line in self.lines)


def test_of_a_flood_of_refusals_the_first_have_lines_and_the_rest_is_counted() -> None:
    office = Office()
    with capturedLogs() as events:
        for number in range(3000):
            office.ask(MALLORY, number / 1000, refused=True)
        office.ask(ALICE, 3.0, refused=True)
        for now in range(3, 200):
            office.recorder.sweep(now)
    assert office.lines_of(MALLORY) == 23
    assert office.lines_of(ALICE) == 1
    (event,) = events
    assert (event["client"], event["count"]) == (MALLORY, 2977)
    assert office.statistics.tallies[None].requests == 3001


def test_whoever_is_served_has_a_line_each_time() -> None:
    office = Office()
    for number in range(3000):
        office.ask(ALICE, number / 1000)
    assert office.lines_of(ALICE) == 3000


@pytest.mark.parametrize("byte", [b"a", b"\xff"])
def test_one_client_does_not_fill_the_log_nor_make_another_s_lines_short(byte: bytes) -> None:
    office = Office()
    for number in range(10_000):
        office.ask(MALLORY, number / 1000, agent=byte * 16000)
    written = sum(map(len, office.lines))
    assert office.lines_of(MALLORY) == 10_000
    # At length for a while, and then as long as anybody's line.
    assert written < 4 * MIB + 10 * MIB / 4 + 10_000 * 300
    office.ask(ALICE, 10.0, agent=b"b" * 900)
    assert b"b" * 900 in office.lines[-1]
    # When it has been quiet for a while, all is well again.
    office.ask(MALLORY, 30.0, agent=b"c" * 900)
    assert b"c" * 900 in office.lines[-1]


def test_short_lines_make_no_line_of_the_client_s_shorter() -> None:
    office = Office()
    for number in range(60_000):
        office.ask(ALICE, number / 10_000, agent=b"b" * 70)
    assert len(office.lines[-1]) < 200
    office.ask(ALICE, 6.0, agent=b"b" * 900)
    assert b"b" * 900 in office.lines[-1]


def test_neither_do_many_together() -> None:
    office = Office()
    for number in range(30_000):
        office.ask(f"10.0.{number >> 8}.{number & 255}", 0.0, agent=b"\xff" * 8000)
    assert sum(map(len, office.lines)) < 32 * MIB + 30_000 * 300


def test_what_was_not_told_is_told_once_a_minute() -> None:
    office = Office()
    with capturedLogs() as events:
        for second in range(180):
            for _ in range(10):
                office.ask(MALLORY, second, refused=True)
            office.recorder.sweep(second)
    assert len(events) == 2
