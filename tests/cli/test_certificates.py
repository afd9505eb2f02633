"""What certificates there are, and how one is got at once, for people on a terminal."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ipyproxy.acme.material import Reason, key_pem
from ipyproxy.acme.renewal import Attempts
from ipyproxy.acme.store import Store
from ipyproxy.cli import main
from ipyproxy.cli import renew as renewing
from ipyproxy.cli.rekey import rekey
from ipyproxy.cli.renew import DONE, renew
from ipyproxy.cli.revoke import revoke
from tests.certificates import Authority, pem

HUB, LAB, PLAIN = "hub.example.org", "lab.example.org", "plain.example.org"
NOBODY = 65534
URL = "https://acme.example/dir"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "acme", [HUB, LAB])


@pytest.fixture
def config(tmp_path: Path, authority: Authority) -> Path:
    authority.issue(PLAIN).write(tmp_path)
    file = tmp_path / "ipyproxy.toml"
    file.write_text(
        f'[tls]\nacme = true\nnames = ["{HUB}", "{LAB}", "{PLAIN}"]\n'
        f'acme_directory_url = "{URL}"\ncertificate = "server.pem"\nkey = "server.key"\n'
        '[state]\ndirectory = "."\n'
    )
    return file


def put(store: Store, authority: Authority, name: str) -> None:
    issued = authority.issue(name)
    store.save(name, URL, key_pem(issued.key), pem(issued.certificate))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    status = main(arguments)
    heard = capsys.readouterr()
    return status, (heard.out + heard.err).splitlines()


def test_what_is_there_until_when_and_from_where(
    capsys: pytest.CaptureFixture[str], config: Path, store: Store, authority: Authority
) -> None:
    put(store, authority, HUB)
    failed = Attempts(3, 1.8e9, 1.8e9, (1.8e9,), "unauthorized: nobody listens")
    store.note(LAB, failed)
    status, lines = told(capsys, "certificates", "--config", str(config))
    assert status == 0
    head, plain, hub, lab = lines
    assert head.split() == ["NAME", "UNTIL", "FROM"]
    assert plain.startswith(f"{PLAIN} ")
    assert plain.endswith("server.pem")
    assert hub.startswith(f"{HUB} ")
    assert "(29 days)" in hub
    assert f" {URL} " in hub
    assert "to be renewed about 20" in hub
    assert "none yet" in lab
    assert "3 attempts failed: unauthorized: nobody listens; the next one after 2027-01-15" in lab


def test_without_acme_it_is_files_only(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    config.write_text('[tls]\ncertificate = "server.pem"\nkey = "server.key"\n')
    _, lines = told(capsys, "certificates", "--config", str(config))
    assert [line.split()[0] for line in lines] == ["NAME", PLAIN]
    status, (said,) = told(capsys, "renew", HUB, "--config", str(config))
    assert status == 2
    assert "tls.acme is not on" in said


def test_a_name_that_is_not_got_is_refused(
    capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    for name in PLAIN, "other.example.org":
        status, (said,) = told(capsys, "renew", name, "--config", str(config))
        assert status == 2
        assert said.endswith(f"{name}: certificates are got for {HUB}, {LAB}")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_leaves_word_as_the_one_to_whom_the_directory_belongs(config: Path) -> None:
    """In a child, for what is given up does not come back that simply."""
    # Not below pytest's directories, which are root's own.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as state:
        os.chown(state, NOBODY, NOBODY)
        config.write_text(config.read_text().replace('"."', f'"{state}"'))
        child = os.fork()
        if not child:
            renewing.TAKEN_UP = 0.0
            try:
                os._exit(main(["renew", HUB, "--config", str(config)]))
            finally:
                os._exit(99)
        _, ended = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(ended) == 1
        mark = Path(state) / "acme" / "asked" / HUB
        assert mark.stat().st_uid == NOBODY


class Waiting:
    """Time, during which something happens."""

    def __init__(self, happens: Callable[[], object], at: float) -> None:
        self.now = 0.0
        self._happens: Callable[[], object] | None = happens
        self._at = at

    def seconds(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= self._at and self._happens is not None:
            self._happens()
            self._happens = None


def test_a_new_certificate_is_told_of(store: Store, authority: Authority) -> None:
    put(store, authority, HUB)

    def proxy() -> None:
        assert store.asked() == {HUB: None}
        store.answered(HUB)
        put(store, authority, HUB)

    waiting = Waiting(proxy, 4)
    went_well, said = renew(store, HUB, waiting.seconds, waiting.sleep)
    assert went_well
    assert said.startswith(f"got {store.path(HUB)}, for {HUB}, until 20")


def test_so_is_why_there_is_none(store: Store) -> None:
    def proxy() -> None:
        store.answered(HUB)
        store.note(HUB, Attempts(1, 5.0, 65.0, (5.0,), "caa: forbidden"))

    waiting = Waiting(proxy, 4)
    assert renew(store, HUB, waiting.seconds, waiting.sleep) == (
        False,
        f"no certificate for {HUB}: caa: forbidden",
    )


def test_one_is_replaced_and_the_old_one_revoked(store: Store, authority: Authority) -> None:
    put(store, authority, HUB)
    old = store.certificate(HUB).chain[0]

    def proxy() -> None:
        assert store.asked() == {HUB: Reason.SUPERSEDED}
        store.answered(HUB)
        put(store, authority, HUB)
        store.note_revocation(old, Reason.SUPERSEDED)
        assert store.revocations() == {old: Reason.SUPERSEDED}
        store.note_revoked(old)
        assert store.revocations() == {}

    waiting = Waiting(proxy, 4)
    went_well, said = revoke(store, HUB, Reason.SUPERSEDED, waiting.seconds, waiting.sleep)
    assert went_well
    assert said.endswith(f"; the one before ({old.serial_number:x}) is revoked")


@pytest.mark.parametrize("reason", Reason)
def test_without_another_one_it_is_revoked_only_if_others_may_have_its_key(
    store: Store, authority: Authority, reason: Reason
) -> None:
    put(store, authority, HUB)
    old = store.certificate(HUB).chain[0]

    def proxy() -> None:
        store.note(HUB, Attempts(1, 5.0, 65.0, (5.0,), "caa: forbidden"))
        if reason is Reason.COMPROMISED:
            store.note_revocation(old, reason)
            store.note_revoked(old)

    waiting = Waiting(proxy, 4)
    went_well, said = revoke(store, HUB, reason, waiting.seconds, waiting.sleep)
    assert went_well is (reason is Reason.COMPROMISED)
    assert said.startswith(f"no certificate for {HUB}: caa: forbidden; the ")
    assert said.endswith(" is revoked") is went_well


def test_an_authority_that_does_not_revoke_it_is_told_of(
    store: Store, authority: Authority
) -> None:
    put(store, authority, HUB)
    waiting = Waiting(lambda: put(store, authority, HUB), 4)
    went_well, said = revoke(store, HUB, Reason.SUPERSEDED, waiting.seconds, waiting.sleep)
    assert not went_well
    assert said.endswith("See the log; it is asked again every hour.")


def test_only_what_there_is_can_be_revoked(
    capsys: pytest.CaptureFixture[str], config: Path, store: Store
) -> None:
    status, (said,) = told(capsys, "revoke", HUB, "--config", str(config))
    assert status == 2
    assert said.endswith(f"{HUB} has no certificate")
    status, (said,) = told(capsys, "revoke", PLAIN, "--config", str(config))
    assert status == 2
    assert said.endswith(f"{PLAIN}: certificates are got for {HUB}, {LAB}")


def test_the_account_gets_another_key(store: Store) -> None:
    before = store.account_key().jwk

    def proxy() -> None:
        assert store.wants_account_key()
        key = store.next_account_key()
        assert key.jwk == store.next_account_key().jwk
        store.take_next_account_key()
        assert store.account_key().jwk == key.jwk != before

    waiting = Waiting(proxy, 4)
    went_well, said = rekey(store, waiting.seconds, waiting.sleep)
    assert (went_well, said) == (True, "the account has another key")
    waiting = Waiting(lambda: None, 4)
    went_well, said = rekey(store, waiting.seconds, waiting.sleep)
    assert not went_well
    assert "see the log" in said


def test_so_is_that_nobody_takes_it_up_and_that_it_takes_too_long(store: Store) -> None:
    waiting = Waiting(lambda: None, 4)
    went_well, said = renew(store, HUB, waiting.seconds, waiting.sleep)
    assert (went_well, waiting.now < 20) == (False, True)
    assert "not asked for yet" in said
    waiting = Waiting(lambda: store.answered(HUB), 4)
    _, said = renew(store, HUB, waiting.seconds, waiting.sleep)
    assert waiting.now >= DONE
    assert said.endswith("within 5 minutes; see the log")
