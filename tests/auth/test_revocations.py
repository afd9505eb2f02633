"""When ports changed hands: remembered, and over restarts too."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.defer import execute
from twisted.logger import capturedLogs

from ipyproxy.auth.revocations import Revocations
from tests.auth.asking import PlayedThreads


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "revocations.json"


def kept(file: Path) -> Revocations:
    """What a proxy knows that starts now."""
    revocations = Revocations(execute)
    revocations.keep(file)
    return revocations


def test_the_last_moment_counts_and_time_does_not_run_backwards(file: Path) -> None:
    revocations = kept(file)
    for moment in (10.0, 30.5, 20.0):
        revocations.revoke("10000", moment)
    assert revocations.of("10000") == 30.5
    assert revocations.of("10001") == 0.0


def test_it_outlives_a_restart(file: Path) -> None:
    first = kept(file)
    first.revoke("10000", 20.0)
    first.revoke("10001", 5.0)
    second = kept(file)
    assert (second.of("10000"), second.of("10001")) == (20.0, 5.0)
    second.revoke("10000", 30.0)
    assert (kept(file).of("10000"), kept(file).of("10001")) == (30.0, 5.0)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 1}', '{"10000": "y"}', "\xff", "3"])
def test_a_file_that_is_none_is_started_anew(file: Path, content: str) -> None:
    file.parent.mkdir()
    file.write_bytes(content.encode("latin-1"))
    revocations = kept(file)
    assert revocations.of("10000") == 0.0
    revocations.revoke("10000", 20.0)
    assert kept(file).of("10000") == 20.0


def test_one_that_cannot_be_written_loses_nothing_in_memory(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in the directory's place")
    revocations = Revocations(execute)
    revocations.keep(tmp_path / "state" / "revocations.json")
    revocations.revoke("10000", 20.0)
    assert revocations.of("10000") == 20.0


def test_a_slow_disk_holds_nobody_up_and_gets_all_there_is(file: Path) -> None:
    threads = PlayedThreads()
    revocations = Revocations(threads.run)
    revocations.keep(file)
    told: list[None] = []
    for port in range(10000, 10100):
        revocations.revoke(str(port), 20.0)
        assert revocations.of(str(port)) == 20.0
    revocations.written().addCallback(told.append)
    assert not file.exists()
    threads.work()
    assert (kept(file).of("10000"), kept(file).of("10099")) == (20.0, 0.0)
    assert told == []
    threads.work()
    assert kept(file).of("10099") == 20.0
    assert told == [None]
    assert threads.begun == 2


def test_while_nothing_is_written_nobody_waits(file: Path) -> None:
    told: list[None] = []
    kept(file).written().addCallback(told.append)
    assert told == [None]


def test_no_link_that_somebody_has_put_there_is_followed(file: Path) -> None:
    target = file.parents[1] / "target"
    target.write_text("precious")
    file.parent.mkdir(mode=0o700)
    file.with_suffix(".new").symlink_to(target)
    kept(file).revoke("10000", 20.0)
    assert target.read_text() == "precious"
    assert kept(file).of("10000") == 20.0


def test_where_others_may_write_it_is_not_kept_and_the_log_says_so(file: Path) -> None:
    file.parent.mkdir()
    file.parent.chmod(0o777)
    file.write_text('{"10000": 5}')
    with capturedLogs() as events:
        revocations = kept(file)
        assert revocations.of("10000") == 0.0
        revocations.revoke("10000", 20.0)
    assert revocations.of("10000") == 20.0
    assert file.read_text() == '{"10000": 5}'
    assert ["others may write" in event["why"] for event in events] == [True, True]
