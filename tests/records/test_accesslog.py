"""The access log: what a line holds, what it can never hold, and how long it may be."""

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipyproxy.http1.head import RequestHead
from ipyproxy.http1.lines import Fields, SpecialFields
from ipyproxy.net.address import TCPAddress, loopback
from ipyproxy.records.accesslog import (
    FIELD_BYTES,
    SHORT_FIELD_BYTES,
    SHORT_LINE_BYTES,
    AccessLog,
    redact,
)
from ipyproxy.server.request import Request
from ipyproxy.upstream.upstream import Upstream
from tests.front import House

NOON = 1_700_049_600.25  # 15 November 2023, 12:00:00.25 UTC
FACTS: dict[str, Any] = {
    "client": "192.0.2.17",
    "user": "ada",
    "method": b"GET",
    "target": b"/ipython/10001/lab?reset",
    "minor": 1,
    "status": 200,
    "body_bytes": 5120,
    "referer": b"https://hub.example/",
    "user_agent": b"Mozilla/5.0 (X11; Linux x86_64)",
    "duration": 0.125,
    "port": 10001,
    "note": "the client went away",
    "bridge": {"close_code": 1000, "bytes_up": 3, "messages_up": 1},
}


Ended = tuple[Request, float]
"""A request that has ended, and how long it took."""
CHANNEL = House().connect().channel


def ended(**changes: Any) -> Ended:
    """A request with the usual facts, but for ``changes``."""
    facts = {**FACTS, **changes}
    special = SpecialFields()
    if facts["user_agent"] is not None:
        special[b"user-agent"] = [facts["user_agent"]]
    loose = () if facts["referer"] is None else (facts["referer"],)
    fields = Fields(b"", special, loose)
    request = Request(
        CHANNEL, RequestHead(facts["method"], facts["target"], facts["minor"], fields), None
    )
    if "application" in facts:
        request.upstream = Upstream(TCPAddress("192.0.2.80", 80), facts["application"])
    elif facts["port"] is not None:
        request.upstream = Upstream(loopback(facts["port"]), "notebook", facts["port"])
    request.client, request.user = facts["client"], facts["user"]
    request.status, request.body_bytes_sent = facts["status"], facts["body_bytes"]
    request.note, request.bridge = facts["note"], facts["bridge"]
    request.public = facts.get("public", b"")
    return request, facts["duration"]


USUAL = ended()
QUOTED = rb'"((?:[^"\\]|\\.)*)"'
COMBINED = re.compile(
    rb"([^ ]+) - ([^ ]+) \[([^\]]+)\] " + QUOTED + rb" (\d{3}) (\d+|-) " + QUOTED + b" " + QUOTED
)


def combined(entry: Ended, now: float = NOON) -> bytes:
    lines: list[bytes] = []
    AccessLog(lines.append, "combined", lambda: now).record(*entry)
    [line] = lines
    return line


def as_json(entry: Ended, now: float = NOON) -> dict[str, Any]:
    lines: list[bytes] = []
    AccessLog(lines.append, "json", lambda: now).record(*entry)
    [line] = lines
    assert line.endswith(b"\n")
    assert all(0x20 <= byte < 0x7F for byte in line[:-1])
    document: dict[str, Any] = json.loads(line)
    return document


def unescaped(value: bytes) -> bytes:
    """What Apache's escaping was made from."""
    letters = {b"b": b"\b", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}

    def plain(match: re.Match[bytes]) -> bytes:
        escape = match[1]
        if len(escape) == 3:
            return bytes.fromhex(escape[1:].decode())
        return letters.get(escape, escape)

    return re.sub(rb"\\(x[0-9a-f]{2}|.)", plain, value)


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    def move(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    move("UTC0")
    yield move
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("zone")
class TestCombined:
    def test_a_bridge_has_its_note_behind_the_fields(self) -> None:
        plain = combined(ended(status=101, note=""))
        line = combined(ended(status=101, note='close 1000, "x"\n'))
        assert plain.endswith(b' ""\n')
        assert line == plain[:-3] + rb'"close 1000, \"x\"\n"' + b"\n"
        assert combined(ended(note="of no bridge")) == combined(USUAL)

    def test_is_apaches_combined_format(self) -> None:
        assert combined(USUAL) == (
            b"192.0.2.17 - ada [15/Nov/2023:12:00:00 +0000] "
            b'"GET /ipython/10001/lab?reset HTTP/1.1" 200 5120 '
            b'"https://hub.example/" "Mozilla/5.0 (X11; Linux x86_64)"\n'
        )

    def test_writes_a_hyphen_for_what_there_is_none_of(self) -> None:
        nothing = ended(user=None, method=b"", body_bytes=0, referer=None, user_agent=None)
        assert combined(nothing) == (
            b'192.0.2.17 - - [15/Nov/2023:12:00:00 +0000] "-" 200 - "-" "-"\n'
        )

    def test_tells_an_empty_field_from_none(self) -> None:
        assert combined(ended(user_agent=b"")).endswith(b' ""\n')

    def test_escapes_as_apache_does(self) -> None:
        line = combined(ended(user_agent=b'"\\\n\r\t\v\b\f\0\x7f\xc3\xbc'))
        assert line.endswith(rb' "\"\\\n\r\t\v\b\x0c\x00\x7f\xc3\xbc"' + b"\n")

    def test_a_client_cannot_forge_a_second_line(self) -> None:
        forged = b'x"\n203.0.113.9 - root [15/Nov/2023:12:00:00 +0000] "GET / HTTP/1.1" 200 1 "-" "'
        line = combined(ended(user_agent=forged))
        assert line.count(b"\n") == 1
        assert b"203.0.113.9 - root" in line

    def test_a_user_cannot_forge_the_fields_behind_it(self) -> None:
        line = combined(ended(user='eve [now] "GET'))
        assert line.startswith(rb"192.0.2.17 - eve\x20[now]\x20\"GET [15/Nov/2023")

    def test_secrets_are_redacted_in_target_and_referer(self) -> None:
        line = combined(
            ended(target=b"/lab?token=s3cret", referer=b"https://hub/lab?token=s3cret&a=1")
        )
        assert b"s3cret" not in line
        assert b"/lab?token=REDACTED HTTP/1.1" in line
        assert b'"https://hub/lab?token=REDACTED&a=1"' in line

    @given(
        client=st.text(min_size=1),
        user=st.none() | st.text(min_size=1),
        method=st.binary(min_size=1),
        target=st.binary(),
        status=st.integers(100, 599),
        body_bytes=st.integers(0, 2**63),
        referer=st.binary(),
        user_agent=st.binary(),
    )
    @example(
        client="\ud800",
        user="\N{SNOWMAN} ",
        method=b'"',
        target=b"\\",
        status=200,
        body_bytes=0,
        referer=b'\\"',
        user_agent=b'"""""""\n',
    )
    def test_whatever_comes_is_one_line_of_printable_ascii_that_reads_back(
        self, **fields: Any
    ) -> None:
        line = combined(ended(**fields))
        facts = {**FACTS, **fields}
        assert line.endswith(b"\n")
        assert all(0x20 <= byte < 0x7F for byte in line[:-1])
        match = COMBINED.match(line)
        assert match
        client, user, _, request, status, size, referer, agent = match.groups()
        assert unescaped(client) == facts["client"].encode("utf-8", "backslashreplace")
        assert unescaped(user) == (facts["user"] or "-").encode("utf-8", "backslashreplace")
        asked = b"%b %b HTTP/1.1" % (facts["method"], redact(facts["target"]))
        assert unescaped(request) == asked
        assert int(status) == facts["status"]
        assert (0 if size == b"-" else int(size)) == facts["body_bytes"]
        assert unescaped(referer) == redact(facts["referer"] or b"")
        assert unescaped(agent) == facts["user_agent"]


class TestTime:
    @pytest.mark.parametrize(
        ("name", "stamp"),
        [
            ("UTC0", b"[15/Nov/2023:12:00:00 +0000]"),
            ("CET-1CEST,M3.5.0,M10.5.0/3", b"[15/Nov/2023:13:00:00 +0100]"),
            ("EST5EDT,M3.2.0,M11.1.0", b"[15/Nov/2023:07:00:00 -0500]"),
            ("<+0545>-5:45", b"[15/Nov/2023:17:45:00 +0545]"),
            ("<-0330>3:30", b"[15/Nov/2023:08:30:00 -0330]"),
        ],
    )
    def test_is_local_and_says_how_far_from_utc(
        self, zone: Callable[[str], None], name: str, stamp: bytes
    ) -> None:
        zone(name)
        assert stamp in combined(USUAL)

    @pytest.mark.usefixtures("zone")
    def test_is_when_the_request_began(self) -> None:
        assert b"[15/Nov/2023:11:59:59 +0000]" in combined(ended(duration=0.5))

    @pytest.mark.usefixtures("zone")
    def test_moves_on_from_line_to_line(self) -> None:
        lines: list[bytes] = []
        times = [NOON, NOON + 0.5, NOON + 1, NOON + 86400 * 60, NOON]
        log = AccessLog(lines.append, "combined", iter(times).__next__)
        for _ in times:
            log.record(*USUAL)
        stamps = [line.split(b"[")[1].split(b" ")[0] for line in lines]
        assert stamps == [
            b"15/Nov/2023:12:00:00",
            b"15/Nov/2023:12:00:00",
            b"15/Nov/2023:12:00:01",
            b"14/Jan/2024:12:00:00",
            b"15/Nov/2023:12:00:00",
        ]


class TestJson:
    def test_carries_everything(self, zone: Callable[[str], None]) -> None:
        zone("CET-1")
        assert as_json(USUAL) == {
            "time": "2023-11-15T13:00:00.125+01:00",
            "client": "192.0.2.17",
            "user": "ada",
            "method": "GET",
            "host": None,
            "target": "/ipython/10001/lab?reset",
            "version": "HTTP/1.1",
            "status": 200,
            "body_bytes": 5120,
            "referer": "https://hub.example/",
            "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
            "duration": 0.125,
            "port": 10001,
            "note": "the client went away",
            "bridge": {"close_code": 1000, "bytes_up": 3, "messages_up": 1},
        }

    def test_has_null_for_what_there_is_none_of(self) -> None:
        document = as_json(ended(user=None, referer=None, user_agent=None, port=None, bridge=None))
        assert [name for name, value in document.items() if value is None] == [
            "user",
            "host",
            "referer",
            "user_agent",
            "port",
            "bridge",
        ]

    def test_names_the_server_of_an_application(self) -> None:
        document = as_json(ended(application="grafana"))
        assert (document["port"], document["upstream"]) == (None, "grafana")
        assert "upstream" not in as_json(USUAL)

    def test_several_names_are_told_apart(self) -> None:
        assert as_json(ended(public=b"https://galaxy.example.org"))["host"] == "galaxy.example.org"

    def test_secrets_are_redacted(self) -> None:
        secret = b"/lab?token=s3cret"
        document = as_json(ended(target=secret, referer=secret))
        assert document["target"] == document["referer"] == "/lab?token=REDACTED"

    @given(st.binary(), st.binary(), st.text())
    def test_whatever_comes_is_one_object_on_one_line(
        self, target: bytes, agent: bytes, note: str
    ) -> None:
        document = as_json(ended(target=target, user_agent=agent, note=note))
        assert document["user_agent"] == agent.decode("utf-8", "backslashreplace")
        assert document["note"] == note


class TestLongFields:
    """Whatever a client sends, its line is of a few KiB, and says what is missing."""

    FIELDS = ("target", "referer", "user_agent", "method")

    @pytest.mark.parametrize("field", FIELDS)
    def test_are_cut_with_a_mark(self, field: str) -> None:
        line = combined(ended(**{field: b"/" + b"a" * 4999}))
        assert b"/" + b"a" * (FIELD_BYTES - 1) + b"[cut:3976]" in line
        document = as_json(ended(**{field: b"/" + b"a" * 4999}))
        assert document[field] == "/" + "a" * (FIELD_BYTES - 1) + "[cut:3976]"

    @pytest.mark.parametrize("field", FIELDS)
    def test_that_have_to_be_escaped_are_cut_sooner(self, field: str) -> None:
        entry = ended(**{field: b"\xff" * 5000})
        assert rb"\xff" * (FIELD_BYTES // 4) + b"[cut:4744]" in combined(entry)
        assert as_json(entry)[field].endswith(r"\xff[cut:4744]")

    def test_are_no_longer_than_that_all_together(self) -> None:
        longest = dict.fromkeys(self.FIELDS, b"\xff" * 16384)
        entry = ended(**longest, user="\U0001f600" * 5000, note="\n" * 5000)
        assert len(combined(entry)) < 6 * FIELD_BYTES
        lines: list[bytes] = []
        AccessLog(lines.append, "json", lambda: NOON).record(*entry)
        assert len(lines[0]) < 12 * FIELD_BYTES

    def test_of_a_usual_length_stay_as_they_are(self) -> None:
        agent = b"a" * FIELD_BYTES
        assert agent + b'"' in combined(ended(user_agent=agent))

    @pytest.mark.parametrize("before", range(FIELD_BYTES - 30, FIELD_BYTES + 3))
    def test_show_no_part_of_a_secret_where_they_are_cut(self, before: int) -> None:
        secret = b"qzqzqzqzqzqzqzqz"
        target = b"/?" + b"a" * (before - 3) + b"&token=" + secret * 100 + b"&x=y"
        assert b"qz" not in combined(ended(target=target)).split(b'"')[1]
        referer = b"https://h/login?next=" + b"a" * before + b"%3Ftoken%3D" + secret * 100
        assert b"qz" not in combined(ended(referer=referer)).split(b'"')[3]

    def test_of_few_bytes_make_a_line_that_can_not_be_cut(self) -> None:
        brief = dict.fromkeys(self.FIELDS, b"a" * SHORT_FIELD_BYTES)
        assert len(combined(ended(**brief, user="a" * SHORT_FIELD_BYTES))) > SHORT_LINE_BYTES

    def test_are_shorter_still_for_whoever_has_filled_the_log(self) -> None:
        lines: list[bytes] = []
        log = AccessLog(lines.append, "combined", lambda: NOON)
        longest = dict.fromkeys(self.FIELDS, b"\xff" * 16384)
        written = log.record(*ended(**longest, user="a" * 500), SHORT_FIELD_BYTES)
        assert written == len(lines[0]) < 600
