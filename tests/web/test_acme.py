"""An ACME server's questions on plain HTTP: answered from one directory, and nothing beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from twisted.internet.defer import execute
from twisted.internet.task import Clock

from ipyproxy.access.origins import Policy
from ipyproxy.web.acme import MOST_READS, PATIENCE, Challenges
from ipyproxy.web.site import RedirectSite
from tests.auth.asking import PlayedThreads
from tests.front import House

TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
ANSWER = f"{TOKEN}.nP1qzpXGymHBrUEepNY9HCsQk7K8KhOypzEt62jcerQ".encode()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the answers lie; beside it lies a secret."""
    (tmp_path / "secret").write_bytes(b"secret")
    directory = tmp_path / "acme" / ".well-known" / "acme-challenge"
    directory.mkdir(parents=True)
    (directory / TOKEN).write_bytes(ANSWER)
    return directory


@pytest.fixture
def house(directory: Path, tmp_path: Path) -> House:
    policy = Policy(["hub.example"], [])
    return House(site=RedirectSite(policy, 443, Challenges([tmp_path / "acme"], Clock(), execute)))


def asked(
    house: House, path: str, host: bytes = b"hub.example", method: bytes = b"GET"
) -> tuple[int, bytes]:
    """Status and body."""
    head = b"%b %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (method, path.encode(), host)
    heard = house.connect().say(head)
    return int(heard.split(b" ", 2)[1]), heard.partition(b"\r\n\r\n")[2]


def challenge(name: str) -> str:
    return f"/.well-known/acme-challenge/{name}"


@pytest.mark.parametrize("host", [b"hub.example", b"new.example"])
def test_a_challenge_is_answered_whatever_the_host(house: House, host: bytes) -> None:
    assert asked(house, challenge(TOKEN), host) == (200, ANSWER)
    assert asked(house, challenge(TOKEN), host, b"HEAD") == (200, b"")
    assert asked(house, challenge(TOKEN), host, b"POST")[0] == 405


def test_of_several_directories_the_first_that_has_it_answers(
    directory: Path, tmp_path: Path
) -> None:
    others = [tmp_path / "missing", tmp_path / "acme", tmp_path / "later"]
    later = tmp_path / "later" / ".well-known" / "acme-challenge"
    later.mkdir(parents=True)
    (later / TOKEN).write_bytes(b"another")
    (later / "other").write_bytes(b"only here")
    challenges = Challenges(others, Clock(), execute)
    house = House(site=RedirectSite(Policy(["hub.example"], []), 443, challenges))
    assert asked(house, challenge(TOKEN)) == (200, ANSWER)
    assert asked(house, challenge("other")) == (200, b"only here")
    assert asked(house, challenge("nowhere"))[0] == 404


def test_everything_else_still_leads_to_https(house: House) -> None:
    for path in ("/", "/.well-known/acme-challenge", "/.well-known/other", "/ipython/10000/"):
        assert asked(house, path)[0] == 308
    assert asked(house, "/", b"new.example")[0] == 421


@pytest.mark.parametrize("name", [
    "", "other", ".", "..", "a/b", f"{TOKEN}/", f"./{TOKEN}", "../../../secret",
    "..%2f..%2f..%2fsecret", "%2e%2e/secret", f"%65{TOKEN[1:]}", f"{TOKEN}%00", f"{TOKEN}.",
    "a" * 256, "\u0661",
])  # fmt: skip
def test_what_is_no_token_is_not_looked_for(house: House, name: str) -> None:
    status, body = asked(house, challenge(name))
    assert status in (400, 404)
    assert b"secret" not in body


def test_only_a_plain_file_is_an_answer(house: House, directory: Path, tmp_path: Path) -> None:
    (directory / "link").symlink_to(tmp_path / "secret")
    (directory / "directory").mkdir()
    os.mkfifo(directory / "pipe")
    for name in ("link", "directory", "pipe"):
        status, body = asked(house, challenge(name))
        assert status == 404
        assert b"secret" not in body


def test_a_large_file_is_none_of_ours(house: House, directory: Path) -> None:
    (directory / "large").write_bytes(b"x" * 1_000_000)
    assert len(asked(house, challenge("large"))[1]) == 4096


class TestASlowDisk:
    """Whoever asks waits, and nobody else does."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def threads(self) -> PlayedThreads:
        return PlayedThreads()

    @pytest.fixture
    def slow(self, directory: Path, tmp_path: Path, clock: Clock, threads: PlayedThreads) -> House:
        challenges = Challenges([tmp_path / "acme"], clock, threads.run)
        site = RedirectSite(Policy(["hub.example"], []), 443, challenges)
        return House(connections=200, connections_per_client=100, site=site)

    def test_others_do_not_wait(self, slow: House, threads: PlayedThreads) -> None:
        waits = slow.connect()
        assert waits.get(challenge(TOKEN).encode()) == b""
        assert asked(slow, "/")[0] == 308
        threads.work()
        assert waits.hear().endswith(ANSWER)

    def test_it_is_given_up(self, slow: House, clock: Clock, threads: PlayedThreads) -> None:
        waits = slow.connect()
        waits.get(challenge(TOKEN).encode())
        clock.advance(PATIENCE)
        assert waits.hear().startswith(b"HTTP/1.1 503 ")
        threads.work()
        assert waits.hear() == b""

    def test_so_many_wait_and_no_more(self, slow: House, threads: PlayedThreads) -> None:
        browsers = [slow.connect() for _ in range(MOST_READS)]
        for browser in browsers:
            browser.get(challenge(TOKEN).encode())
        assert asked(slow, challenge(TOKEN))[0] == 503
        # Who leaves still has the thread.
        browsers[0].hang_up()
        assert asked(slow, challenge(TOKEN))[0] == 503
        threads.work()
        assert browsers[1].hear().endswith(ANSWER)
        waits = slow.connect()
        waits.get(challenge(TOKEN).encode())
        threads.work()
        assert waits.hear().endswith(ANSWER)


def test_without_a_directory_challenges_are_like_everything_else() -> None:
    house = House(site=RedirectSite(Policy(["hub.example"], []), 443))
    assert asked(house, challenge(TOKEN))[0] == 308
