"""Passwords from a file: every kind of hash, what a check costs, and for how long it counts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bcrypt
import pytest
from twisted.internet.task import Clock

from ipyproxy.access.basic import CHALLENGE
from ipyproxy.access.facts import Failed, Lack, Passed
from ipyproxy.auth import htpasswd
from ipyproxy.auth.htpasswd import WAITING, Htpasswd, user_file, verify
from ipyproxy.auth.lookout import FRESH_FOR
from ipyproxy.auth.watchedfile import UnusableFileError
from ipyproxy.errors import Problem, ProxyError
from tests.auth.asking import Counted, PlayedThreads, Told, asked, typed, watched

PASSWORD = "pässword:1"
# Made by htpasswd, openssl passwd, and argon2's reference library.
HASHES = {
    "bcrypt": "$2y$04$b6Rqbqdd26b/GqlY.sNbtuycZa519eKCYomPRiDcsDDd.LFIbmQke",
    "apr1": "$apr1$abcdefgh$MqmScYjJi/XatCma6WWLd.",
    "sha256": "$5$abcdefgh$X4I2bh.364IANKhXN6zloknPmCs5nGIucRD4WD.G1W5",
    "sha512": "$6$abcdefgh$gHX1GjcqWVuHB5e.DA5LAYuS8DlcNf47dbfAbrzYg4GYkwRb17R6euwYdD6725VdHhgmL"
    ".ztRWCueJ13mG/Zn/",
    "argon2id": "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$nQXhtiW0eF1dMhW1sTgdHw",
    "argon2i": "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$1ySTbfggg/L+RtvDLf+q4Q",
    "argon2d": "$argon2d$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$RJJZHfP3/4xVwpkeJ7nxsg",
}
WRONG = Failed(Lack.WRONG, 401, (CHALLENGE,))


@pytest.mark.parametrize("stored", HASHES.values(), ids=HASHES)
def test_every_kind_of_hash(stored: str) -> None:
    assert verify(PASSWORD, stored)
    for wrong in ("", PASSWORD[:-1], PASSWORD + "1", PASSWORD.upper(), "p\xe4ssword"):
        assert not verify(wrong, stored)


def test_bcrypt_looks_at_72_bytes_as_apache_has_it() -> None:
    stored = bcrypt.hashpw(b"x" * 72, b"$2b$04$8mDVzKBlYlq2VkAeyYuNqu").decode()
    assert verify("x" * 100, stored)
    assert not verify("x" * 71, stored)


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "plain",
        "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "rOK6jOUbGDR0w",  # DES
        "$1$abcdefgh$G4eyaFJWVW5UUPC7fyCI60",
        "$2y$31$b6Rqbqdd26b/GqlY.sNbtuycZa519eKCYomPRiDcsDDd.LFIbmQke",  # for weeks
        "$argon2id$v=19$m=99999999,t=1,p=1$c2FsdHNhbHQ$nQXhtiW0eF1dMhW1sTgdHw",
        "$argon2id$v=16$m=8,t=1,p=1$c2FsdHNhbHQ$nQXhtiW0eF1dMhW1sTgdHw",
        "$5$rounds=99999999$abcdefgh$X4I2bh.364IANKhXN6zloknPmCs5nGIucRD4WD.G1W5",
        "$apr1$abcdefgh$",
        "*",
        "!",
    ],
)
def test_no_other(stored: str) -> None:
    with pytest.raises(ValueError, match="unknown hash"):
        verify("", stored)


class House:
    """A file of users, and the method over it."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.clock = Clock()
        self.threads = PlayedThreads()
        self.attempts = Counted()
        self.write(text)
        self.method = self.another_method()

    def another_method(self) -> Htpasswd:
        users = watched(user_file(self.path), self.clock)
        return Htpasswd(users, self.clock, self.threads, self.attempts)

    def write(self, text: str) -> None:
        """Put a new file in the old one's place, as an editor does, and wait until it counts."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.path)
        self.clock.advance(FRESH_FOR)

    def ask(self, name: str, password: str, client: str = "192.0.2.1") -> Told:
        return Told(self.method, typed(name, password, client=client))

    def answer(self, name: str, password: str) -> object:
        told = self.ask(name, password)
        self.threads.work()
        return told.finding


BOTH = f"# users\nalice:{HASHES['bcrypt']}\n\n bob:{HASHES['argon2id']}:Bob\n"


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "users", BOTH)


def test_who_is_who(house: House) -> None:
    assert house.answer("alice", PASSWORD) == Passed("alice")
    assert house.answer("bob", PASSWORD) == Passed("bob")
    for name, password in (("alice", "x"), ("Alice", PASSWORD), ("carol", PASSWORD), ("", "")):
        assert house.answer(name, password) == WRONG


def test_without_a_password_nothing_is_checked(house: House) -> None:
    nothing = Failed(Lack.NOTHING, 401, (CHALLENGE,))
    for authorization in ([], [b"token abc"], [b"Basic !"]):
        told = Told(house.method, asked(authorization=authorization))
        assert told.finding == nothing
    assert house.threads.begun == 0
    assert house.attempts.tried == house.attempts.failures == []


class TestWhatACheckCosts:
    def test_an_unknown_user_costs_what_a_known_one_does(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        checked: list[str] = []

        def spy(password: str, stored: str) -> bool:
            checked.append(stored)
            return verify(password, stored)

        monkeypatch.setattr(htpasswd, "verify", spy)
        for name in ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan"):
            # Even with the right password of the one whose hash it is.
            assert isinstance(house.answer(name, PASSWORD), Passed) == (name in ("alice", "bob"))
            assert len(checked) == 1
            assert checked.pop() in (HASHES["bcrypt"], HASHES["argon2id"])

    def test_an_unknown_user_costs_the_same_each_time(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        checked: list[str] = []

        def spy(password: str, stored: str) -> bool:
            checked.append(stored)
            return False

        monkeypatch.setattr(htpasswd, "verify", spy)
        for attempt in range(20):
            house.answer("carol", str(attempt))
        assert len(checked) == 20
        assert len(set(checked)) == 1

    def test_without_any_users_there_is_nobody_to_tell_apart(self, tmp_path: Path) -> None:
        house = House(tmp_path / "users", "")
        assert house.answer("alice", PASSWORD) == WRONG
        assert house.threads.begun == 0


class TestWhatIsRemembered:
    def test_an_outcome_counts_for_a_minute(self, house: House) -> None:
        for password, finding in ((PASSWORD, Passed("alice")), ("x", WRONG)):
            before = house.threads.begun
            for _ in range(3):
                assert house.answer("alice", password) == finding
            house.clock.advance(59.9)
            assert house.answer("alice", password) == finding
            assert house.threads.begun == before + 1
            house.clock.advance(0.2)
            assert house.answer("alice", password) == finding
            assert house.threads.begun == before + 2

    def test_at_once_it_is_checked_once_for_all(self, house: House) -> None:
        told = [house.ask("alice", PASSWORD) for _ in range(30)]
        assert house.threads.begun == 1
        assert not any(one.finding for one in told)
        house.threads.work()
        assert all(one.finding == Passed("alice") for one in told)

    def test_nothing_in_memory_gives_a_password_away(self, house: House) -> None:
        house.answer("alice", PASSWORD)
        assert PASSWORD not in repr(vars(house.method._checks))
        again = house.another_method()
        Told(again, typed("alice", PASSWORD))
        house.threads.work()
        assert not set(again._checks._known) & set(house.method._checks._known)


def refusal(told: Told) -> ProxyError:
    """Why somebody does not even hear whether the password is right."""
    assert told.failure is not None
    assert isinstance(told.failure.value, ProxyError)
    return told.failure.value


class TestAChangedFile:
    def test_it_counts_within_a_second(self, house: House) -> None:
        assert house.answer("alice", PASSWORD) == Passed("alice")
        house.write(f"alice:{HASHES['sha256']}\ncarol:{HASHES['apr1']}\n")
        assert house.answer("alice", "x") == WRONG
        assert house.answer("carol", PASSWORD) == Passed("carol")
        assert house.answer("bob", PASSWORD) == WRONG
        house.write("")
        assert house.answer("alice", PASSWORD) == WRONG

    def test_an_unknown_user_who_gets_anothers_hash_is_known(self, tmp_path: Path) -> None:
        house = House(tmp_path / "users", f"alice:{HASHES['bcrypt']}\n")
        assert house.answer("bob", PASSWORD) == WRONG
        house.write(f"alice:{HASHES['bcrypt']}\nbob:{HASHES['bcrypt']}\n")
        assert house.answer("bob", PASSWORD) == Passed("bob")

    def test_while_it_cannot_be_read_nobody_passes(self, house: House) -> None:
        assert house.answer("alice", PASSWORD) == Passed("alice")
        house.path.unlink()
        house.clock.advance(FRESH_FOR)
        error = refusal(house.ask("alice", PASSWORD))
        assert error.problem is Problem.AUTH_UNAVAILABLE
        assert "No such file" in str(error)
        house.write(BOTH)
        assert house.answer("alice", PASSWORD) == Passed("alice")

    def test_a_line_that_is_none_keeps_one_user_out(self, house: House) -> None:
        house.write(f"alice:{HASHES['bcrypt']}\nbob:plain\ncarol\n:x\n")
        assert house.answer("alice", PASSWORD) == Passed("alice")
        assert house.answer("bob", "plain") == WRONG

    def test_of_two_lines_for_one_user_the_first_counts(self, house: House) -> None:
        house.write(f"a:{HASHES['bcrypt']}\na:{HASHES['apr1'].replace('M', 'N')}\n")
        assert house.answer("a", PASSWORD) == Passed("a")

    @pytest.mark.parametrize("spoil", [
        lambda path: path.write_bytes(b"alice:\xff\n"),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.mkdir()),
    ])  # fmt: skip
    def test_one_that_is_none_from_the_start_is_told(
        self, house: House, spoil: Callable[[Path], object]
    ) -> None:
        spoil(house.path)
        with pytest.raises(UnusableFileError) as caught:
            user_file(house.path)
        assert str(house.path) in str(caught.value)


class TestWhoTriesTooOften:
    def test_each_new_guess_is_asked_for_and_each_failure_is_told(self, house: House) -> None:
        for name, password in (("alice", "a"), ("alice", "b"), ("carol", "c"), ("alice", "b")):
            house.answer(name, password)
        assert house.attempts.tried == ["192.0.2.1"] * 3
        assert house.attempts.failures == ["192.0.2.1"] * 3

    def test_a_page_that_goes_on_showing_what_is_wrong_has_failed_once(self, house: House) -> None:
        told = [house.ask("alice", "old") for _ in range(20)]
        house.threads.work()
        told += [house.ask("alice", "old") for _ in range(20)]
        assert all(one.finding == WRONG for one in told)
        assert house.attempts.failures == ["192.0.2.1"]

    def test_one_who_has_to_wait_costs_nothing(self, house: House) -> None:
        assert house.answer("bob", PASSWORD) == Passed("bob")
        house.attempts.refusal = ProxyError(Problem.TOO_MANY_REQUESTS)
        begun = house.threads.begun
        assert refusal(house.ask("alice", PASSWORD)) is house.attempts.refusal
        assert house.threads.begun == begun
        # Who has logged in lately goes on.
        assert house.answer("bob", PASSWORD) == Passed("bob")

    def test_a_good_login_is_no_failure(self, house: House) -> None:
        house.answer("alice", PASSWORD)
        assert house.attempts.failures == []

    def test_a_flood_of_one_client_is_turned_away_and_nobody_else_waits_for_it(
        self, house: House
    ) -> None:
        for number in range(2 + WAITING // 2):
            house.ask("alice", str(number))
        assert house.threads.begun == 2
        assert refusal(house.ask("alice", "one more")).problem is Problem.OVERLOADED
        # What is being checked already, one more may wait for.
        assert house.ask("alice", "0").finding is None
        other = house.ask("bob", PASSWORD, client="192.0.2.2")
        assert house.threads.begun == 3
        house.threads.work()
        assert other.finding == Passed("bob")

    def test_one_locked_out_while_it_waits_for_its_turn_is_not_checked(self, house: House) -> None:
        told = [house.ask("alice", str(number)) for number in range(5)]
        house.attempts.refusal = ProxyError(Problem.TOO_MANY_LOGINS)
        house.threads.work()
        assert house.threads.begun == 2
        assert [one.finding for one in told[:2]] == [WRONG, WRONG]
        for one in told[2:]:
            assert one.failure is not None
            assert one.failure.value is house.attempts.refusal


class TestWhoLeavesBeforeTheEnd:
    def test_a_guess_that_has_begun_counts(self, house: House) -> None:
        house.ask("alice", "guess").deferred.cancel()
        assert house.attempts.under_way == ["192.0.2.1"]
        house.threads.work()
        assert house.attempts.failures == ["192.0.2.1"]
        assert house.attempts.unheard_of == [("192.0.2.1", False)]

    def test_so_does_the_right_password_but_not_as_a_failure(self, house: House) -> None:
        house.ask("alice", PASSWORD).deferred.cancel()
        house.threads.work()
        assert house.attempts.under_way == house.attempts.failures == []
        assert house.attempts.unheard_of == []
        # It was checked once, and not for nothing.
        assert house.ask("alice", PASSWORD).finding == Passed("alice")

    def test_one_whose_turn_has_not_come_is_not_checked(self, house: House) -> None:
        told = [house.ask("alice", str(number)) for number in range(5)]
        for one in told:
            one.deferred.cancel()
        house.threads.work()
        assert house.threads.begun == len(house.attempts.failures) == 2

    def test_the_log_is_told_if_a_page_may_be_behind_it(self, house: House) -> None:
        Told(house.method, typed("alice", "guess", by_page=True)).deferred.cancel()
        house.threads.work()
        assert house.attempts.unheard_of == [("192.0.2.1", True)]


def test_a_check_that_breaks_counts_as_failed(house: House) -> None:
    told = house.ask("alice", PASSWORD)
    _, done = house.threads.waiting.pop()
    done.errback(ValueError("unknown hash"))
    assert told.failure is not None
    assert house.attempts.under_way == []
    assert house.attempts.failures == ["192.0.2.1"]


def test_the_file_may_be_readable_by_all(house: House) -> None:
    house.path.chmod(0o644)
    assert house.answer("alice", PASSWORD) == Passed("alice")


def test_whatever_checks_passwords_can_be_loaded_beforehand() -> None:
    """A process that has given up its rights may not be able to read it any more."""
    code = "import sys; from ipyproxy.auth.htpasswd import prepare; prepare(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    crypts = {"passlib.handlers.md5_crypt", "passlib.handlers.sha2_crypt"}
    assert crypts | {"bcrypt", "argon2.low_level", "argon2.exceptions"} <= set(done.stdout.split())
