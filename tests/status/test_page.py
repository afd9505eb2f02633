"""The status page as bytes: whole, self-contained, and with nothing on it that a client chose."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from ipyproxy.records.statistics import Hour, Tally
from ipyproxy.status import words
from ipyproxy.status.condition import Renewals
from ipyproxy.status.plot import plot
from ipyproxy.upstream.states import Outcome

from .office import START, Office, certificate, keep

VOID = {"meta", "br", "path"}


class Reader(HTMLParser):
    """Reads a page strictly: every element ends where it should."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            self.attributes.append((name, value or ""))
            if name == "id":
                self.ids.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data


def busy() -> Office:
    office = Office()
    for port in (10000, 10001, 10002):
        office.upstreams.notebook(port).observe(Outcome.ANSWERED, START, fall=1, rise=1)
        office.count(port, 200, 0.012, 0, 0)
    office.count(10001, 502, 0.3, 0, 0)
    office.upstreams.notebook(10001).observe(Outcome.REFUSED, START, fall=1, rise=1)
    office.pass_minutes(5)
    return office


def page(office: Office) -> str:
    return office.read(b"").decode()


def test_the_page_is_well_formed_and_its_ids_are_its_own() -> None:
    reader = Reader(page(busy()))
    assert len(reader.ids) == len(set(reader.ids))
    assert {"port-10000", "port-10001", "port-10002", "summary", "daemon"} < set(reader.ids)


def test_the_page_tells_of_every_notebook() -> None:
    text = Reader(page(busy())).text
    assert re.search(r"10001\s*dead for 5 min\s*connection refused", text)
    assert "Upstreams up2" in text.replace("\n", "")
    assert re.search(r"10000\s*up for 5 min", text)


def test_a_page_without_notebooks_says_so() -> None:
    assert "Nobody has asked for a notebook yet" in Reader(page(Office())).text


def test_applications_are_not_called_notebooks() -> None:
    text = Reader(page(busy())).text
    assert "Notebooks and applications" in text
    assert "Notebooks up" not in text


def test_the_page_asks_for_nothing_elsewhere_and_runs_nothing_but_its_own() -> None:
    office = busy()
    text = page(office)
    for name, value in Reader(text).attributes:
        assert name != "style"
        assert not name.startswith("on")
        if name in ("href", "src"):
            assert value.startswith("/_ipyproxy/")
    head = office.ask(b"").partition(b"\r\n\r\n")[0].decode()
    policy = re.search(r"Content-Security-Policy: (.*)\r\n", head)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; ")
    assert "unsafe" not in policy[1]
    for element in ("style", "script"):
        inline = re.search(f"<{element}>(.*?)</{element}>", text, re.DOTALL)
        assert inline is not None
        digest = base64.b64encode(hashlib.sha256(inline[1].encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy[1]


def test_names_on_certificates_are_text() -> None:
    office = Office()
    office.condition.certificates = (certificate("<script>alert(1)</script>"),)
    assert "<script>alert" not in page(office)
    assert "<script>alert(1)</script>" in Reader(page(office)).text


def test_without_scripts_the_page_comes_anew_by_itself() -> None:
    assert '<noscript><meta http-equiv="refresh" content="10"></noscript>' in page(Office())


def test_a_certificate_that_soon_ends_is_an_alarm() -> None:
    office = Office()
    for days, kind in (30, "<div>"), (3, '<div class="alarm">'), (-1, '<div class="alarm">'):
        office.condition.certificates = (
            certificate("late.example", not_after=START + 100 * 86400),
            certificate("hub.example", not_after=START + days * 86400 + 1),
        )
        figure = "expired" if days < 0 else words.age(days * 86400)
        card = f"{kind}<h2>Certificate left</h2><p>{figure}</p><small>hub.example</small></div>"
        assert card in page(office)


def bars(svg: str, kind: str) -> list[tuple[int, float]]:
    """Minute and height of each bar."""
    drawn = re.search(f'<path class="{kind}" d="(.*?)"/>', svg)
    found = re.findall(r"M(\d+)\.5 24v-([\d.]+)", drawn[1]) if drawn else []
    return [(int(minute), float(height)) for minute, height in found]


def test_a_plot_has_a_bar_for_each_minute_with_requests() -> None:
    requests, errors = [0] * 60, [0] * 60
    requests[0], requests[58], requests[59], errors[58] = 10, 1000, 500, 1
    svg = plot(Hour.of(requests, errors, []))
    assert bars(svg, "all") == [(0, 1.5), (58, 24.0), (59, 12.0)]
    assert bars(svg, "failed") == [(58, 1.5)]
    assert "1510 requests in the last hour, 1 of them failed; 1000 in a minute at most" in svg


def test_an_idle_hour_is_a_line() -> None:
    svg = plot(Tally().hour(100))
    assert svg.count("<path") == 1


@pytest.mark.parametrize(("seconds", "text"), [
    (None, "–"), (0.0004, "0.4 ms"), (0.00996, "10 ms"), (0.0142, "14 ms"), (0.9, "900 ms"),
    (1.234, "1.2 s"), (12.3, "12 s"), (99.4, "99 s"), (130.0, "2 min"),
])  # fmt: skip
def test_durations_are_told_in_two_or_three_digits(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [
    (59.9, "less than a minute"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"),
    (172799, "47 h"), (172800, "2 days"),
])  # fmt: skip
def test_ages_are_told_in_their_largest_unit(seconds: float, text: str) -> None:
    assert words.age(seconds) == text


def test_certificates_that_do_not_come_are_told_of() -> None:
    office = Office()
    assert "Renewals" not in Reader(office.read(b"").decode()).text
    office.condition.renewals = lambda: Renewals(2, 7, ("hub.example: <it> is due",))
    text = Reader(office.read(b"").decode()).text
    assert "2 got, 7 attempts failed since the start" in text
    assert "hub.example: <it> is due" in text


def test_what_compression_has_kept() -> None:
    office = Office()
    keep(office)
    told = "1 answer kept, 0.0 MiB of at most 64.0 MiB; sent 2 times, compressed 3 times"
    assert told in Reader(office.read(b"").decode()).text


def test_times_are_exact_for_whoever_points_at_them() -> None:
    assert words.ago(START, START + 125) == (
        '<time datetime="2027-01-15T08:00:00Z" title="2027-01-15 08:00:00 UTC">2 min ago</time>'
    )
    assert ">just now<" in words.ago(START, START + 5)
    assert ">for 2 min<" in words.lasting(START, START + 125)
    assert words.ago(None, START) == "–"


def test_counts_are_grouped() -> None:
    assert words.some(1, "error", "errors") == "1 error"
    assert words.some(1234567, "error", "errors") == "1\u202f234\u202f567 errors"
