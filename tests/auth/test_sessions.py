"""Sessions that were ended stay ended, over restarts too, and what is kept of them is bounded."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from twisted.internet.defer import execute
from twisted.logger import capturedLogs, formatEvent

from ipyproxy.access.facts import Lack
from ipyproxy.access.sessions import BROWSER_COOKIE, COOKIE, Session
from ipyproxy.auth.sessions import MOST_ENDED, MOST_LEFT, Sessions
from tests.auth.asking import PlayedThreads

HOUR = 3600
PROOFS = {"alice": "$2y$1", "bob": "$2y$2"}


class Host:
    """One host, whose proxy can be started anew."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "sessions.json"
        self.now = 1_000_000.0
        self.threads = PlayedThreads()
        self.start()

    def start(self) -> None:
        self.sessions = Sessions(self.threads.run, lambda: self.now)
        self.sessions.keep(self.file)

    def write(self) -> None:
        """Write all that is to be written."""
        while self.threads.waiting:
            self.threads.work()

    def begin(self, user: str = "alice", seconds: int = HOUR) -> list[bytes]:
        value = self.sessions.begin(user, PROOFS[user], seconds)
        return [COOKIE + b"=" + value]

    def find(self, cookies: list[bytes]) -> Session | Lack:
        return self.sessions.find(cookies, PROOFS.get)

    def end(self, cookies: list[bytes]) -> None:
        session = self.find(cookies)
        assert isinstance(session, Session)
        self.sessions.end(session)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    tmp_path.chmod(0o700)
    return Host(tmp_path)


def test_a_session_is_of_its_user_and_its_time(host: Host) -> None:
    session = host.find(host.begin())
    assert isinstance(session, Session)
    assert (session.user, session.issued, session.expires) == ("alice", 1_000_000, 1_003_600)
    assert not host.sessions.has_ended(session)
    host.now += HOUR
    assert host.sessions.has_ended(session)


def test_no_two_are_alike(host: Host) -> None:
    assert host.begin() != host.begin()


def test_what_was_ended_counts_no_more(host: Host) -> None:
    one, other, bobs = host.begin(), host.begin(), host.begin("bob")
    host.end(one)
    assert host.find(one) is Lack.EXPIRED
    assert isinstance(host.find(other), Session)
    assert isinstance(host.find(bobs), Session)


def test_nor_after_a_restart(host: Host) -> None:
    one, other = host.begin(), host.begin()
    host.end(one)
    host.write()
    host.start()
    assert host.find(one) is Lack.EXPIRED
    assert isinstance(host.find(other), Session)


def test_what_is_not_written_yet_is_written_at_the_end(host: Host) -> None:
    one = host.begin()
    host.write()
    host.end(one)
    told: list[None] = []
    host.sessions.written().addCallback(told.append)
    assert told == []
    host.write()
    assert told == [None]
    host.start()
    assert host.find(one) is Lack.EXPIRED


def test_without_the_file_nobody_is_logged_in_any_more(host: Host) -> None:
    cookies = host.begin()
    host.write()
    host.file.unlink()
    host.start()
    assert host.find(cookies) is Lack.FOREIGN


def test_the_file_is_made_when_it_is_needed_and_for_the_service_alone(host: Host) -> None:
    host.write()
    assert not host.file.exists()
    host.begin()
    host.write()
    assert stat.S_IMODE(host.file.stat().st_mode) == 0o600


def test_it_is_written_once_at_a_time_and_off_the_reactor(host: Host) -> None:
    for _ in range(3):
        host.end(host.begin())
    assert host.threads.begun == 1
    host.threads.work()
    assert host.threads.begun == 2
    host.threads.work()
    assert host.threads.begun == 2


def test_whoever_logs_out_very_often_fills_nothing_and_revives_nothing(host: Host) -> None:
    ended = []
    for _ in range(20 * MOST_ENDED):
        host.now += 1
        cookies = host.begin()
        host.end(cookies)
        ended.append(cookies)
    host.now += 1
    fresh = host.begin()
    host.write()
    kept = json.loads(host.file.read_bytes())["ended"]["alice"]
    assert len(kept[1]) == MOST_ENDED
    for _ in range(2):
        assert all(host.find(cookies) is Lack.EXPIRED for cookies in ended)
        assert isinstance(host.find(fresh), Session)
        host.start()


def test_browsers_that_have_left_are_remembered_so_far_and_over_restarts(host: Host) -> None:
    known = [host.sessions.meet([])[0] for _ in range(MOST_LEFT + 1)]
    for browser in known:
        host.sessions.leave(browser)
        host.sessions.leave(browser)
    host.write()
    host.start()
    assert not host.sessions.has_left(known[0])
    assert all(host.sessions.has_left(browser) for browser in known[1:])


def test_a_browser_is_known_again_until_it_leaves(host: Host) -> None:
    known, value = host.sessions.meet([])
    cookies = [b"a=b; " + BROWSER_COOKIE + b"=" + value]
    assert host.sessions.meet(cookies) == (known, value)
    host.write()
    host.start()
    assert host.sessions.browser(cookies) == known
    host.sessions.leave(known)
    assert host.sessions.meet(cookies)[0] != known


def test_what_has_expired_is_not_kept(host: Host) -> None:
    host.end(host.begin(seconds=60))
    host.now += 61
    host.end(host.begin())
    host.write()
    assert len(json.loads(host.file.read_bytes())["ended"]["alice"][1]) == 1


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"key": {}, "ended": {}}', b"\xff"])
def test_a_file_that_makes_no_sense_logs_everybody_out(host: Host, content: bytes) -> None:
    cookies = host.begin()
    host.write()
    host.file.write_bytes(content)
    host.start()
    assert host.find(cookies) is Lack.FOREIGN
    assert isinstance(host.find(host.begin()), Session)


def test_a_disk_that_takes_nothing_is_told_of(host: Host, tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"no directory")
    file = tmp_path / "state" / "sessions.json"
    host.sessions = Sessions(execute, lambda: host.now)
    with capturedLogs() as events:
        host.sessions.keep(file)
        cookies = host.begin()
    [told] = [formatEvent(event) for event in events if event["done"] == "written"]
    assert told.startswith(f"{file} cannot be written (File exists): when the proxy is restarted")
    assert isinstance(host.find(cookies), Session)


def test_where_others_may_write_nothing_is_read(host: Host) -> None:
    cookies = host.begin()
    host.write()
    host.file.parent.chmod(0o777)
    host.start()
    assert host.find(cookies) is Lack.FOREIGN
