"""An open status page: what it is sent and when, and that it can take nothing from others."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ipyproxy.status.facts import MOST_SHOWN
from ipyproxy.status.live import MOST_REDRAWN, MOST_VIEWERS, QUIET
from ipyproxy.upstream.states import Outcome
from tests.front import Browser, status_of

from .office import START, Office


class Viewer:
    """An open page: the stream as its browser takes it apart."""

    def __init__(self, office: Office, since: bytes = b"0") -> None:
        self.office = office
        self.browser: Browser = office.connect()
        start = b"GET /_ipyproxy/live?since=%b HTTP/1.1" % since
        self.started = self.browser.say(start + b"\r\nHost: localhost\r\n\r\n")
        self.head, _, self._begun = self.started.partition(b"\r\n\r\n")
        self.last_id = 0

    def stream(self) -> str:
        """What has come since the last call, without its chunks."""
        data, self._begun = self._begun + self.browser.hear(), b""
        text = b""
        while data:
            size, _, rest = data.partition(b"\r\n")
            length = int(size, 16)
            text += rest[:length]
            data = rest[length + 2 :]
        return text.decode()

    def events(self) -> list[Any]:
        """The events among it."""
        found = []
        for block in self.stream().split("\n\n"):
            if match := re.fullmatch(r"id: (\d+)\ndata: (.*)", block):
                assert int(match[1]) > self.last_id
                self.last_id = int(match[1])
                found.append(json.loads(match[2]))
        return found


def office_with(*ports: int) -> Office:
    office = Office()
    for port in ports:
        office.upstreams.notebook(port).observe(Outcome.ANSWERED, START, fall=1, rise=1)
    return office


def test_a_viewer_without_anything_is_sent_everything() -> None:
    viewer = Viewer(office_with(10000, 10001))
    assert viewer.head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
    (first,) = viewer.events()
    assert first["rows"] == ["port-10000", "port-10001"]
    assert set(first["parts"]) == {
        *("phase", "summary", "hour", "rest", "daemon"),
        *("port-10000", "port-10001"),
    }


def test_a_viewer_that_has_the_page_is_sent_what_changes() -> None:
    office = office_with(10000, 10001)
    shown = office.read(b"").decode()
    at = re.search(r'<body data-at="(\d+)">', shown)
    assert at is not None
    viewer = Viewer(office, since=at[1].encode())
    assert viewer.events() == []
    office.count(10001, 200, 0.01, 0, 0)
    office.wait(1)
    (event,) = viewer.events()
    assert set(event["parts"]) == {"summary", "hour", "port-10001"}
    assert "rows" not in event
    assert '<td class="figure" data-label="Requests">1</td>' in event["parts"]["port-10001"]


def test_a_viewer_that_comes_back_goes_on_where_it_was() -> None:
    office = office_with(10000)
    first = Viewer(office)
    first.events()
    first.browser.hang_up()
    office.count(10000, 200, 0.01, 0, 0)
    again = Viewer(office, since=b"%d" % first.last_id)
    (event,) = again.events()
    assert set(event["parts"]) == {"summary", "hour", "port-10000"}


@pytest.mark.parametrize("said", [b"x", b"-1", b"1" * 16, b"", b"0x1", b"1.5"])
def test_a_viewer_that_says_what_is_no_stamp_has_nothing(said: bytes) -> None:
    viewer = Viewer(office_with(10000), since=said)
    assert len(viewer.events()[0]["parts"]) == 6


def test_news_come_once_a_second_however_much_happens() -> None:
    office = office_with(10000)
    viewer = Viewer(office)
    viewer.events()
    for _ in range(5):
        for _ in range(100):
            office.count(10000, 200, 0.01, 0, 0)
            office.loop.advance(0.01)
    assert 4 <= len(viewer.events()) <= 5


def test_a_notebook_that_comes_is_sent_with_the_order_of_all() -> None:
    office = office_with(10000, 10002)
    viewer = Viewer(office)
    viewer.events()
    office.upstreams.notebook(10001)
    office.wait(1)
    (event,) = viewer.events()
    assert event["rows"] == ["port-10000", "port-10001", "port-10002"]
    assert "port-10001" in event["parts"]
    assert "port-10000" not in event["parts"]


def test_a_notebook_that_comes_back_among_the_many_is_sent_again() -> None:
    office = office_with(*range(10000, 10000 + MOST_SHOWN))
    for upstream in office.upstreams.all():
        upstream.wanted_at = START
    viewer = Viewer(office)
    viewer.events()
    office.upstreams.notebook(10000).wanted_at = START - 1
    office.upstreams.notebook(14999).wanted_at = START
    office.wait(1)
    (event,) = viewer.events()
    assert "port-10000" not in event["rows"]
    assert "port-14999" in event["parts"]
    office.upstreams.notebook(10000).wanted_at = START + 1
    office.wait(1)
    (event,) = viewer.events()
    assert "port-10000" in event["rows"]
    assert "port-10000" in event["parts"]


def test_where_nothing_happens_a_comment_shows_that_we_are_there() -> None:
    office = office_with(10000)
    viewer = Viewer(office)
    viewer.events()
    office.wait(QUIET - 1)
    assert viewer.stream() == ""
    office.wait(1)
    assert viewer.stream() == ":\n\n"


def test_nothing_is_drawn_while_nobody_looks() -> None:
    office = office_with(10000)
    idle = len(office.loop.getDelayedCalls())
    viewer, other = Viewer(office), Viewer(office)
    assert len(office.loop.getDelayedCalls()) == idle + 1
    viewer.browser.hang_up()
    assert len(office.loop.getDelayedCalls()) == idle + 1
    other.browser.hang_up()
    assert len(office.loop.getDelayedCalls()) == idle


def test_a_viewer_that_does_not_read_fills_no_memory() -> None:
    office = office_with(*range(10000, 10100))
    viewer = Viewer(office)
    size = len(viewer.started)
    viewer.browser.wire.room = 0
    transport = viewer.browser.channel.transport
    most = 0
    for _ in range(40):
        for port in range(10000, 10100):
            office.count(port, 200, 0.01, 0, 0)
        office.wait(1)
        most = max(most, transport.bytes_waiting)
    assert 0 < most < 2 * size
    viewer.browser.wire.room = None
    viewer.events()
    office.wait(1)
    (event,) = viewer.events()
    assert '"Requests">40</td>' in event["parts"]["port-10099"]


def test_a_viewer_that_never_reads_again_is_cut_off() -> None:
    office = office_with(10000)
    viewer = Viewer(office)
    viewer.browser.wire.room = 0
    for _ in range(100):
        office.count(10000, 200, 0.01, 0, 0)
        office.wait(1)
    assert not viewer.browser.is_connected


def test_there_are_only_so_many_viewers() -> None:
    office = office_with(10000)
    viewers = [Viewer(office) for _ in range(MOST_VIEWERS)]
    assert status_of(Viewer(office).started) == 503
    viewers[0].browser.hang_up()
    assert status_of(Viewer(office).started) == 200


def test_only_so_many_rows_are_drawn_in_one_second_and_the_others_are_next() -> None:
    ports = range(10000, 10000 + 2 * MOST_REDRAWN + 50)
    office = office_with(*ports)
    viewer = Viewer(office)
    assert len(viewer.events()[0]["rows"]) == len(ports)
    office.pass_minutes(1)
    seen: list[str] = []
    for _ in range(3):
        (event,) = viewer.events()
        rows = [name for name in event["parts"] if name.startswith("port-")]
        assert len(rows) <= MOST_REDRAWN
        seen += rows
        office.loop.advance(1.0)
    assert sorted(set(seen)) == [f"port-{port}" for port in ports]
    assert len(seen) == len(ports)


def test_a_page_that_cannot_be_drawn_ends_no_stream() -> None:
    office = office_with(10000)
    viewer = Viewer(office)
    viewer.events()
    broken: Any = None
    recent, office.lag.recent = office.lag.recent, broken
    office.wait(3)
    office.lag.recent = recent
    office.count(10000, 200, 0.01, 0, 0)
    office.wait(1)
    assert len(viewer.events()) == 1


def test_the_stream_is_for_reading_only() -> None:
    office = Office()
    for method in (b"HEAD", b"POST"):
        start = method + b" /_ipyproxy/live HTTP/1.1\r\nHost: localhost\r\n"
        answer = office.connect().say(start + b"Content-Length: 0\r\n\r\n")
        assert status_of(answer) == 405


def test_at_the_end_no_stream_is_left() -> None:
    office = office_with(10000)
    viewer, other = Viewer(office), Viewer(office)
    office.sights.live.close()
    assert viewer.browser.hear().endswith(b"0\r\n\r\n")
    assert other.browser.hear().endswith(b"0\r\n\r\n")
    assert office.statuses == [200, 200]
    assert not office.sights.live.viewers
    assert viewer.browser.get(b"/_ipyproxy/healthz").startswith(b"HTTP/1.1 421")
