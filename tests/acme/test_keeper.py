"""Names get their certificates, and get them again in time, whatever fails meanwhile."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.logger import capturedLogs

from ipyproxy.acme.account import Authority
from ipyproxy.acme.applicant import Policy
from ipyproxy.acme.material import Reason
from ipyproxy.acme.proofs import Dns, LastingRecord, TlsAlpn
from ipyproxy.acme.standing import concerns
from ipyproxy.acme.store import Store
from ipyproxy.tls import Certificate, CertificateError
from tests.acme.authority import URL, FakeAuthority, RefusedError, later
from tests.acme.office import DAY, HOUR, HUB, LAB, START, Office, at_once


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path / "acme").start()
    yield made
    made.keeper.stop()


def no_challenge(asked_for: str) -> Certificate | None:
    return None


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


class TestFailures:
    def test_never_more_than_a_few_attempts_an_hour_and_what_works_stays(
        self, tmp_path: Path
    ) -> None:
        office = Office(tmp_path, lifetime=11 * DAY).start()
        office.wait(10)
        office.wait(7.2 * DAY, step=4 * HOUR)
        office.authority.faults.forbidden.add(HUB)
        times: list[float] = []
        for _ in range(2 * 24 * 60):
            before = office.attempts()
            office.wait(60, step=60)
            times += [office.now()] * (office.attempts() - before)
        assert len(times) > 4
        for at in times:
            assert sum(at <= other < at + HOUR for other in times) <= 4
        assert len(office.served) == 1
        (told,) = concerns(office.keeper.standings, office.now())
        assert told.startswith(f"{HUB}: ")
        assert "unauthorized: forbidden" in told
        office.authority.faults.forbidden.clear()
        office.wait(12 * HOUR, step=300)
        assert len(office.served) == 2
        assert list(concerns(office.keeper.standings, office.now())) == []
        office.keeper.stop()

    def test_one_name_that_fails_beside_one_that_works(self, tmp_path: Path) -> None:
        office = Office(tmp_path, HUB, LAB)
        office.authority.faults.forbidden.add(HUB)
        office.start().wait(20)
        assert [each.names for each in office.served] == [(LAB,)]
        office.wait(3 * DAY, step=HOUR / 2)
        assert [each.names for each in office.served] == [(LAB,)]
        office.keeper.stop()

    def test_the_next_attempt_proves_it_in_another_way(self, tmp_path: Path) -> None:
        office = Office(tmp_path)
        office.store.challenge = no_challenge  # type: ignore[method-assign]
        office.start().wait(100)
        assert office.authority.methods_tried == ["tls-alpn-01", "http-01"]
        assert len(office.served) == 1
        office.keeper.stop()

    @pytest.mark.parametrize("as_date", [False, True])
    def test_a_rate_limit_is_waited_for(self, tmp_path: Path, as_date: bool) -> None:
        office = Office(tmp_path)
        wish = later(9 * HOUR, office.now()) if as_date else str(int(9 * HOUR))
        office.authority.faults.refuse_orders = RefusedError(
            "rateLimited", "too many certificates", 429, **{"retry-after": wish}
        )
        office.start().wait(10)
        office.authority.faults.refuse_orders = None
        asked = len(office.authority.requests)
        office.wait(8.9 * HOUR, step=300)
        assert len(office.authority.requests) == asked
        office.wait(3 * HOUR, step=300)
        assert len(office.served) == 1
        office.keeper.stop()

    def test_an_authority_that_is_down_for_days(self, office: Office) -> None:
        office.wait(10)
        office.wait(58 * DAY, step=4 * HOUR)
        office.authority.faults.silent = True
        office.wait(12 * DAY, step=HOUR / 2)
        assert len(office.served) == 1
        office.authority.faults.silent = False
        office.wait(8 * HOUR, step=300)
        assert len(office.served) == 2

    def test_the_nearer_the_end_the_more_often_but_not_more_than_hourly(
        self, tmp_path: Path
    ) -> None:
        office = Office(tmp_path, lifetime=160 * HOUR).start()
        office.wait(10)
        office.authority.faults.silent = True
        office.wait(150 * HOUR, step=HOUR)
        asked = office.keeper.failed
        office.wait(8 * HOUR, step=60)
        assert 4 <= office.keeper.failed - asked <= 8
        office.keeper.stop()

    def test_a_restart_does_not_begin_anew(self, office: Office, tmp_path: Path) -> None:
        office.authority.faults.forbidden.add(HUB)
        for _ in range(50):
            office.keeper.stop()
            office = Office(
                tmp_path / "acme", clock=office.clock, authority=office.authority
            ).start()
            office.wait(60, step=5)
        assert office.attempts() <= 5
        office.keeper.stop()

    def test_a_person_may_hurry_it_but_not_without_end(self, tmp_path: Path) -> None:
        office = Office(tmp_path)
        office.authority.faults.forbidden.add(HUB)
        office.start()
        for _ in range(100):
            office.store.ask(HUB)
            office.wait(30)
        assert office.attempts() <= 5
        office.keeper.stop()

    def test_a_clock_that_is_set_costs_one_attempt(self, tmp_path: Path) -> None:
        office = Office(tmp_path)
        office.authority.faults.forbidden.add(HUB)
        office.offset = START + 20 * 365 * DAY
        office.start().wait(10)
        assert office.attempts() == 1
        office.offset = START
        office.authority.faults.forbidden.clear()
        office.wait(60)
        assert len(office.served) == 1
        office.keeper.stop()

    def test_a_clock_that_is_months_ahead_does_not_use_up_what_one_may_ask_for(
        self, tmp_path: Path
    ) -> None:
        office = Office(tmp_path)
        office.authority.now = lambda: START - 80 * DAY + office.clock.seconds()
        office.start().wait(DAY, step=60)
        assert 1 <= office.attempts() <= 5
        office.keeper.stop()

    def test_nor_does_an_authority_that_wants_all_to_be_renewed_at_once(
        self, tmp_path: Path
    ) -> None:
        office = Office(tmp_path)
        office.authority.windows = lambda _: (START - DAY, START - HOUR)
        office.start().wait(DAY, step=60)
        assert 1 <= office.attempts() <= 5
        office.keeper.stop()

    @pytest.mark.parametrize("fault", ["wrong_key", "garbled"])
    def test_an_authority_that_answers_nonsense_changes_nothing(
        self, office: Office, fault: str
    ) -> None:
        office.wait(10)
        setattr(office.authority.faults, fault, True)
        office.store.ask(HUB)
        office.wait(60)
        assert len(office.served) == 1
        assert office.store.attempts(HUB).failures == 1

    def test_one_that_does_not_answer_is_given_up(self, tmp_path: Path) -> None:
        office = Office(tmp_path)
        office.authority.faults.slow = 10**9
        office.start().wait(700)
        assert "gave up after 10 minutes" in office.store.attempts(HUB).why
        assert list((tmp_path / "challenges").iterdir()) == []
        office.keeper.stop()

    def test_a_disk_that_is_full_costs_no_more_attempts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        office = Office(tmp_path)

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(office.store, "save", full)
        monkeypatch.setattr(office.store, "note", full)
        office.start().wait(HOUR)
        assert 1 <= office.attempts() <= 4
        office.keeper.stop()


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


class TestRevocations:
    def test_the_old_one_once_there_is_another(self, office: Office) -> None:
        office.wait(10)
        office.store.ask(HUB, Reason.SUPERSEDED)
        office.wait(20)
        first, second = (each.chain[0] for each in office.served)
        assert office.authority.revoked == {first.serial_number: 4}
        assert office.store.is_revoked(first)
        assert not office.store.is_revoked(second)
        office.wait(DAY, step=HOUR)
        assert len(office.authority.revoked) == 1

    def test_not_if_no_other_can_be_got(self, office: Office) -> None:
        office.wait(10)
        office.authority.faults.forbidden.add(HUB)
        office.store.ask(HUB, Reason.SUPERSEDED)
        office.wait(HOUR)
        assert office.authority.revoked == {}
        assert len(office.served) == 1

    def test_but_whatever_happens_if_others_may_have_its_key_which_is_not_used_again(
        self, tmp_path: Path
    ) -> None:
        office = Office(tmp_path, policy=Policy(pinned=True)).start()
        office.wait(10)
        office.authority.faults.forbidden.add(HUB)
        office.store.ask(HUB, Reason.COMPROMISED)
        office.wait(20)
        (first,) = office.served
        assert office.authority.revoked == {first.chain[0].serial_number: 1}
        office.authority.faults.forbidden.clear()
        office.store.ask(HUB, Reason.COMPROMISED)
        office.wait(20)
        assert office.served[1].private_key.public_key() != first.private_key.public_key()
        assert len(office.authority.revoked) == 1, "it was so already"
        office.keeper.stop()

    def test_an_authority_that_refuses_is_asked_again_every_hour_and_that_is_told(
        self, office: Office, tmp_path: Path
    ) -> None:
        office.wait(10)
        office.authority.faults.refuse_revocations = True
        office.store.ask(HUB, Reason.SUPERSEDED)
        office.wait(20)
        (told,) = office.keeper.concerns()
        assert told.endswith("is not revoked: serverInternal: come back later")
        office.wait(10 * HOUR, step=60)
        asked = [url for url in office.authority.requests if url.endswith("/revoke")]
        assert 9 <= len(asked) <= 11
        # A restart forgets nothing of it.
        office.keeper.stop()
        office.authority.faults.refuse_revocations = False
        again = Office(tmp_path / "acme", clock=office.clock, authority=office.authority).start()
        again.wait(10)
        assert len(office.authority.revoked) == 1
        assert list(again.keeper.concerns()) == []
        again.keeper.stop()


class TestTheAccountsKey:
    def test_is_changed_and_the_account_stays(self, office: Office) -> None:
        office.wait(10)
        before = dict(office.authority.accounts)
        office.store.ask_for_account_key()
        office.wait(10)
        assert not office.store.wants_account_key()
        (account, key), *others = office.authority.accounts.items()
        assert others == []
        assert key != before[account]
        assert key == office.store.account_key().jwk
        office.store.ask(HUB)
        office.wait(10)
        assert len(office.served) == 2
        assert len(office.authority.accounts) == 1

    def test_before_there_is_an_account_it_is_the_one_that_opens_it(self, office: Office) -> None:
        office.store.prepare()
        before = office.store.account_key().jwk
        office.store.ask_for_account_key()
        office.wait(20)
        assert len(office.served) == 1
        assert before not in office.authority.accounts.values()

    def test_an_answer_that_is_lost_loses_nothing(self, office: Office) -> None:
        office.wait(10)
        office.authority.faults.lose_answers = True
        office.store.ask_for_account_key()
        office.wait(10)
        assert office.store.wants_account_key()
        (told,) = office.keeper.concerns()
        assert told.startswith("the account's key is not changed: ")
        office.authority.faults.lose_answers = False
        office.wait(2 * HOUR, step=60)
        assert not office.store.wants_account_key()
        office.store.ask(HUB)
        office.wait(10)
        assert len(office.served) == 2
        assert len(office.authority.accounts) == 1

    def test_the_other_nodes_take_it_over(self, tmp_path: Path) -> None:
        first = Office(tmp_path).start()
        first.wait(10)
        second = Office(tmp_path, clock=first.clock, authority=first.authority).start()
        first.authority.store = second.store
        first.keeper.stop()
        second.store.ask(HUB)
        second.wait(10)
        third = Office(tmp_path, clock=first.clock, authority=first.authority).start()
        third.store.ask_for_account_key()
        third.wait(10)
        third.keeper.stop()
        second.store.ask(HUB)
        second.wait(10)
        assert len(second.served) == 3
        assert len(first.authority.accounts) == 1
        second.keeper.stop()


class TestARecordThatLasts:
    """dns-persist-01: a person puts it into the DNS, once."""

    STAR = "*.notebooks.example.org"

    def office(self, tmp_path: Path, *names: str) -> Office:
        made = Office(
            tmp_path,
            *names,
            proofs=lambda store: [TlsAlpn(store, at_once), LastingRecord()],
        )
        made.authority.offers.append("dns-persist-01")
        return made

    def test_is_told_and_then_a_wildcard_needs_no_program(self, tmp_path: Path) -> None:
        office = self.office(tmp_path, self.STAR).start()
        office.wait(10)
        why = office.store.attempts(self.STAR).why
        assert "No TXT records found; with tls.dns_persist the DNS has to have" in why
        name, _, value = why.rpartition(": ")[2].partition(". TXT ")
        assert name == "_validation-persist.notebooks.example.org"
        office.authority.dns[name] = value.strip('"')
        office.wait(300)
        (served,) = office.served
        assert served.names == (self.STAR,)
        # It is there for the next one too, and for another key of the account.
        office.store.ask_for_account_key()
        office.wait(10)
        office.store.ask(self.STAR)
        office.wait(10)
        assert len(office.served) == 2
        office.keeper.stop()

    def test_is_for_a_name_that_nobody_can_connect_to(self, tmp_path: Path) -> None:
        office = self.office(tmp_path, HUB)
        office.store.challenge = no_challenge  # type: ignore[method-assign]
        account = "https://acme.example/accounts/0"
        office.authority.dns[f"_validation-persist.{HUB}"] = (
            f"authority.example; accounturi={account}"
        )
        office.start().wait(100)
        assert office.authority.methods_tried == ["tls-alpn-01", "dns-persist-01"]
        assert len(office.served) == 1
        office.keeper.stop()

    def test_where_the_authority_does_not_offer_it_that_is_told(self, tmp_path: Path) -> None:
        office = self.office(tmp_path, self.STAR)
        office.authority.offers.remove("dns-persist-01")
        office.start().wait(10)
        why = office.store.attempts(self.STAR).why
        assert why == "the authority offers dns-01, and here is dns-persist-01"
        office.keeper.stop()


HOOK = """\
#!/bin/sh
echo "$@" >> "{log}"
"""


def test_a_wildcard_is_proved_in_the_dns_by_a_program(tmp_path: Path) -> None:
    log, hook = tmp_path / "log", tmp_path / "hook"
    hook.write_text(HOOK.format(log=log))
    hook.chmod(0o755)
    star = "*.notebooks.example.org"
    office = Office(tmp_path / "acme", star, proofs=lambda _: [Dns(hook, at_once)])
    see = office.authority._see

    def look(*told: object) -> str:
        for line in log.read_text().splitlines():
            verb, name, value = line.split()
            office.authority.dns.update({name: value} if verb == "set" else {})
        return see(*told)  # type: ignore[arg-type]

    office.authority._see = look  # type: ignore[assignment,method-assign]
    office.start().wait(10)
    assert office.served[0].names == (star,)
    said = [line.split()[:2] for line in log.read_text().splitlines()]
    assert said == [
        ["set", "_acme-challenge.notebooks.example.org"],
        ["clear", "_acme-challenge.notebooks.example.org"],
    ]
    office.keeper.stop()


def test_a_program_that_fails_is_told_of_and_a_wildcard_without_one(tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\necho no such zone\nexit 3\n")
    hook.chmod(0o755)
    star = "*.example.org"
    office = Office(tmp_path / "a", star, proofs=lambda _: [Dns(hook, at_once)]).start()
    office.wait(10)
    assert "ended with status 3 (no such zone)" in office.store.attempts(star).why
    office.keeper.stop()
    without = Office(tmp_path / "b", star).start()
    without.wait(10)
    assert "tls.dns_hook" in without.store.attempts(star).why
    assert without.attempts() == 0
    without.keeper.stop()


def test_attempts_are_kept_in_a_form_that_other_versions_can_read(tmp_path: Path) -> None:
    store = Store(tmp_path, [HUB])
    path = tmp_path / "attempts" / f"{HUB}.json"
    path.parent.mkdir(mode=0o700)
    for content in ("", "[]", json.dumps({"failures": 3, "wishes": 7}), "\0"):
        path.write_text(content)
        assert store.attempts(HUB).failures == 0


def test_a_certificate_that_can_not_be_served_is_told_of_only(tmp_path: Path) -> None:
    office = Office(tmp_path)

    def refuse(_: Certificate) -> None:
        raise CertificateError("OpenSSL refuses it")

    office.keeper._serve = refuse
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
