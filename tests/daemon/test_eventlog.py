"""Lines of the daemon's own log, as systemd's journal wants them and as a file has them."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from twisted.logger import Logger, LogLevel, LogPublisher

from ipyproxy.daemon.eventlog import JournalObserver, is_journal, observer


def written(*events: tuple[str, LogLevel, str]) -> list[str]:
    """The lines for events, each of a namespace, a level and a text."""
    out = io.StringIO()
    publisher = LogPublisher(JournalObserver(out))
    for namespace, level, text in events:
        Logger(namespace, observer=publisher).emit(level, "{text}", text=text)
    return out.getvalue().splitlines()


def test_a_line_has_its_priority_and_no_time() -> None:
    assert written(
        ("ipyproxy.service", LogLevel.info, "reloaded"),
        ("ipyproxy.audit", LogLevel.warn, "refused 192.0.2.7: 401"),
        ("ipyproxy.service", LogLevel.error, "NOT RELOADED"),
    ) == [
        "<6>[ipyproxy.service#info] reloaded",
        "<4>[ipyproxy.audit#warn] refused 192.0.2.7: 401",
        "<3>[ipyproxy.service#error] NOT RELOADED",
    ]


def test_each_line_of_a_traceback_has_it() -> None:
    lines = written(("ipyproxy.x", LogLevel.critical, "one\ntwo\nthree"))
    assert [line[:3] for line in lines] == ["<2>"] * 3


def test_the_journal_is_known_by_its_stream(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as out:
        status = os.fstat(out.fileno())
        told = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert is_journal(out, told)
        assert not is_journal(out, {})
        assert not is_journal(out, {"JOURNAL_STREAM": "1:1"})
    assert not is_journal(io.StringIO(), told)


def test_twisteds_own_doings_are_left_out_unless_they_are_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "log").open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        publisher = LogPublisher(observer("-", {}))
        Logger("twisted.internet.protocol.Factory", observer=publisher).info("Starting factory")
        Logger("log_legacy", observer=publisher).info("Factory starting on 443")
        Logger("twisted.internet", observer=publisher).warn("no room")
        Logger("ipyproxy.service", observer=publisher).info("reloaded")
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.partition("] ")[2] for line in lines] == ["no room", "reloaded"]


def test_a_file_of_twistds_has_times(tmp_path: Path) -> None:
    publisher = LogPublisher(observer(str(tmp_path / "t.log"), {}))
    Logger("ipyproxy.service", observer=publisher).info("reloaded")
    (line,) = (tmp_path / "t.log").read_text().splitlines()
    assert line[:2] == "20"
    assert line.endswith("[ipyproxy.service#info] reloaded")
