"""Names get their certificates, and get them again in time."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.logger import capturedLogs

from ipyproxy.acme.account import Authority
from ipyproxy.acme.applicant import Policy
from ipyproxy.acme.store import Store
from ipyproxy.tls import Certificate, CertificateError
from tests.acme.authority import URL, FakeAuthority
from tests.acme.office import DAY, HOUR, HUB, START, Office, no_challenge


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path / "acme").start()
    yield made
    made.keeper.stop()


class TestTheFirstCertificate:
    def test_is_there_within_a_minute(self, office: Office) -> None:
        office.wait(10)
        (served,) = office.served
        assert served.names == (HUB,)
        assert served.certificate == office.store.path(HUB)
        assert office.authority.methods_tried == ["tls-alpn-01"]
        assert office.authority.contacts == [["mailto:admin@example.org"]]

    def test_nobody_asks_again_while_it_is_good(self, office: Office) -> None:
        office.wait(10)
        office.wait(DAY, step=HOUR)
        assert office.attempts() == 1
        assert len(office.served) == 1

    def test_files_are_for_the_service_alone_and_no_proof_is_left(
        self, office: Office, tmp_path: Path
    ) -> None:
        office.wait(10)
        for path in (tmp_path / "acme").rglob("*"):
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), path
        assert list((tmp_path / "acme" / "challenges").iterdir()) == []

    def test_an_answer_may_take_its_time(self, office: Office, tmp_path: Path) -> None:
        office.keeper.stop()
        slow = Office(tmp_path / "slow")
        slow.authority.faults.slow = 3
        slow.start().wait(60)
        assert len(slow.served) == 1
        slow.keeper.stop()

    def test_nonces_may_be_bad(self, tmp_path: Path) -> None:
        office = Office(tmp_path)
        office.authority.faults.bad_nonces = 15
        office.start().wait(10)
        assert len(office.served) == 1
        office.keeper.stop()

    def test_an_address_gets_one_under_the_profile_for_addresses(self, tmp_path: Path) -> None:
        for name in ("192.0.2.7", "2001:db8::7"):
            office = Office(tmp_path / name, name)
            office.authority.profiles = {"classic": "", "shortlived": ""}
            office.start().wait(10)
            assert office.served[0].names == (name,)
            assert office.authority.orders[0].profile == "shortlived"
            office.keeper.stop()

    def test_it_is_asked_for_under_the_profile_that_is_configured(self, tmp_path: Path) -> None:
        office = Office(tmp_path, asks=Authority(URL, profile="shortlived"))
        office.authority.profiles = {"shortlived": ""}
        office.start().wait(10)
        assert office.authority.orders[0].profile == "shortlived"
        assert office.authority.contacts == [None]
        office.keeper.stop()

    def test_an_authority_may_want_to_know_us(self, tmp_path: Path) -> None:
        known = Office(tmp_path / "a", asks=Authority(URL, binding=("kid-1", b"secret")))
        unknown = Office(tmp_path / "b")
        wrong = Office(tmp_path / "c", asks=Authority(URL, binding=("kid-1", b"guess")))
        for office in known, unknown, wrong:
            office.authority.binding = ("kid-1", b"secret")
            office.start().wait(10)
            office.keeper.stop()
        assert [len(office.served) for office in (known, unknown, wrong)] == [1, 0, 0]
        assert "tls.eab_kid" in unknown.store.attempts(HUB).why

    def test_an_rsa_key_where_that_is_configured(self, tmp_path: Path) -> None:
        office = Office(tmp_path, policy=Policy("rsa")).start()
        office.wait(10)
        assert isinstance(office.served[0].private_key, rsa.RSAPrivateKey)
        office.keeper.stop()


class TestRenewal:
    def test_after_two_thirds_of_its_life_with_a_new_key(self, office: Office) -> None:
        office.wait(10)
        office.wait(59 * DAY, step=4 * HOUR)
        assert office.attempts() == 1
        office.wait(4 * DAY, step=HOUR)
        assert office.attempts() == 2
        first, second = office.served
        assert first.private_key.public_key() != second.private_key.public_key()
        assert len(office.authority.accounts) == 1

    def test_after_half_of_a_short_life(self, tmp_path: Path) -> None:
        office = Office(tmp_path, lifetime=160 * HOUR).start()
        office.wait(10)
        office.wait(78 * HOUR, step=HOUR)
        assert office.attempts() == 1
        office.wait(6 * HOUR, step=HOUR)
        assert office.attempts() == 2
        office.keeper.stop()

    def test_a_key_that_is_pinned_stays(self, tmp_path: Path) -> None:
        office = Office(tmp_path, policy=Policy(pinned=True)).start()
        office.wait(10)
        office.wait(65 * DAY, step=4 * HOUR)
        first, second = office.served
        assert first.private_key.public_key() == second.private_key.public_key()
        office.keeper.stop()

    def test_when_the_authority_would_like_it_and_it_is_told_what_is_replaced(
        self, office: Office
    ) -> None:
        windows = {1: (START + 30 * DAY, START + 31 * DAY), 2: (2 * START, 2 * START)}
        office.authority.windows = lambda _: windows[len(office.authority.issued)]
        office.wait(30 * DAY, step=HOUR)
        assert office.attempts() == 1
        office.wait(1.1 * DAY, step=HOUR)
        assert office.attempts() == 2
        told = next(url for url in office.authority.requests if "/ari/" in url)
        assert told.endswith(f"/ari/{office.authority.orders[1].replaces}")
        office.wait(100 * DAY, step=4 * HOUR)  # its word counts for more than a share of the life
        assert office.attempts() == 2

    def test_without_its_word_for_as_long_as_it_is_silent(self, office: Office) -> None:
        office.authority.windows = lambda _: (START + 80 * DAY, START + 80 * DAY)
        office.wait(DAY, step=HOUR)
        office.authority.windows = None
        office.wait(78 * DAY, step=4 * HOUR)
        assert office.attempts() == 1  # the last word still holds
        office.wait(2 * DAY, step=HOUR)
        assert office.attempts() == 2

    def test_a_certificate_that_is_revoked_is_replaced_at_once(self, office: Office) -> None:
        office.authority.windows = lambda _: (START + 60 * DAY, START + 61 * DAY)
        office.authority.window_again = 21600
        office.wait(10)
        first = office.authority.issued[0]
        office.wait(DAY, step=HOUR)
        told = [url for url in office.authority.requests if "/ari/" in url]
        office.authority.windows = lambda identifier: (
            (START - DAY, START - HOUR) if told[0].endswith(identifier) else (2 * START, 2 * START)
        )
        office.wait(8 * HOUR, step=300)
        assert len(office.served) == 2
        assert office.authority.issued[1].serial_number != first.serial_number
        assert told[0].endswith(office.authority.orders[1].replaces or "?")
        office.wait(10 * DAY, step=4 * HOUR)
        assert office.attempts() == 2

    def test_the_authority_is_asked_about_it_as_seldom_as_it_likes(self, office: Office) -> None:
        office.authority.windows = lambda _: (START + 60 * DAY, START + 61 * DAY)
        office.wait(10)
        office.authority.window_again = 43200
        office.wait(6 * HOUR, step=60)
        before = sum("/ari/" in url for url in office.authority.requests)
        office.wait(5 * DAY, step=HOUR)
        assert sum("/ari/" in url for url in office.authority.requests) - before <= 10

    def test_what_another_node_has_replaced_is_no_obstacle(self, office: Office) -> None:
        office.authority.windows = lambda _: (START + 60 * DAY, START + 61 * DAY)
        office.wait(10)
        office.wait(60, step=5)
        told = next(url for url in office.authority.requests if "/ari/" in url)
        office.authority.replaced.add(told.rpartition("/")[2])
        office.store.ask(HUB)
        office.wait(10)
        assert len(office.served) == 2
        assert office.authority.orders[-1].replaces is None

    def test_at_once_when_somebody_asks(self, office: Office) -> None:
        office.wait(10)
        office.store.ask(HUB)
        office.wait(10)
        assert len(office.served) == 2
        assert office.store.asked() == {}

    def test_at_once_when_another_authority_or_kind_of_key_is_configured(
        self, office: Office, tmp_path: Path
    ) -> None:
        office.wait(10)
        office.keeper.stop()
        other = Office(tmp_path / "acme", policy=Policy("rsa"), asks=office.asks)
        other.start().wait(15)
        other.keeper.stop()
        assert other.attempts() == 1
        moved = Office(
            tmp_path / "acme",
            policy=Policy("rsa"),
            asks=Authority("https://acme.example/dir?other"),
        )
        moved.start().wait(15)
        moved.keeper.stop()
        assert moved.attempts() == 1
        assert moved.authority.orders[0].replaces is None


class TestTheStore:
    def test_lost_it_is_filled_again(self, office: Office, tmp_path: Path) -> None:
        office.wait(10)
        (tmp_path / "acme").rename(tmp_path / "gone")
        office.wait(HOUR / 4)
        assert len(office.served) == 2
        assert office.store.load()[0].names == (HUB,)

    def test_copied_it_serves_elsewhere_at_once(self, office: Office, tmp_path: Path) -> None:
        office.wait(10)
        copy = Store(tmp_path / "acme", [HUB])
        assert copy.load() == office.served
        elsewhere = Office(tmp_path / "acme", authority=office.authority).start()
        elsewhere.wait(10)
        assert elsewhere.served == office.served
        assert office.attempts() == 1
        elsewhere.keeper.stop()

    def test_of_several_nodes_one_gets_and_the_others_read(self, tmp_path: Path) -> None:
        first = Office(tmp_path)
        first.authority.faults.slow = 5
        second = Office(tmp_path, clock=first.clock, authority=first.authority)
        first.start()
        second.start()
        first.wait(300)
        assert first.attempts() == 1
        assert first.served == second.served
        assert len(first.served) == 1
        first.keeper.stop()
        second.keeper.stop()

    def test_every_node_shows_what_one_of_them_proves(self, tmp_path: Path) -> None:
        first = Office(tmp_path)
        first.authority.faults.slow = 10**9
        second = Office(tmp_path, clock=first.clock, authority=first.authority)
        first.start()
        second.start()
        first.wait(15)
        shown = second.store.challenge(HUB)
        assert shown is not None
        assert shown == first.store.challenge(HUB)
        first.keeper.stop()
        second.keeper.stop()
        assert first.store.challenge(HUB) is None

    def test_one_that_is_stopped_lets_others_ask(self, tmp_path: Path) -> None:
        first = Office(tmp_path)
        first.authority.faults.slow = 10**9
        first.start().wait(60)
        first.keeper.stop()
        second = Office(tmp_path).start()
        second.wait(10)
        assert len(second.served) == 1
        second.keeper.stop()

    def test_one_that_was_spoiled_is_got_anew(self, office: Office) -> None:
        office.wait(10)
        path = office.store.path(HUB)
        path.write_bytes(path.read_bytes()[:-200])
        assert office.store.load() == []
        with pytest.raises(CertificateError):
            office.store.certificate(HUB)
        office.wait(HOUR / 4)
        assert len(office.served) == 2

    def test_one_that_others_may_write_to_is_not_used_and_that_is_told_once(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "acme").mkdir()
        (tmp_path / "acme").chmod(0o777)
        office = Office(tmp_path / "acme")
        with capturedLogs() as events:
            office.start().wait(60)
        told = [event for event in events if "cannot be kept" in (event["log_format"] or "")]
        assert len(told) == 1
        assert "others may write" in str(told[0]["error"])
        (concern,) = office.keeper.concerns()
        assert concern.startswith("certificates are not looked after: ")
        assert office.attempts() == 0
        (tmp_path / "acme").chmod(0o700)
        office.wait(10)
        assert len(office.served) == 1
        assert list(office.keeper.concerns()) == []
        office.keeper.stop()

    def test_no_name_that_a_stranger_sends_is_looked_for(self, tmp_path: Path) -> None:
        store = Store(tmp_path, [HUB])
        store.prepare()
        (tmp_path / "secret.pem").write_bytes(b"")
        for name in ("", "../secret", "other.example.org", "\0", "x" * 5000):
            assert store.challenge(name) is None


def test_a_certificate_that_can_not_be_served_is_told_of_only(tmp_path: Path) -> None:
    def refuse(_: Certificate) -> None:
        raise CertificateError("OpenSSL refuses it")

    office = Office(tmp_path, serve=refuse)
    office.start().wait(60)
    assert office.attempts() == 1
    office.keeper.stop()


def test_the_authority_is_a_fake_one_only_here(tmp_path: Path) -> None:
    """It takes no proof that is not there."""
    office = Office(tmp_path)
    assert isinstance(office.authority, FakeAuthority)
    office.store.challenge = no_challenge  # type: ignore[method-assign]
    office.start().wait(10)
    assert office.served == []
    assert "no certificate for acme-tls/1" in office.store.attempts(HUB).why
    office.keeper.stop()
