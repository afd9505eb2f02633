"""Certificates are revoked, and the account gets another key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ipyproxy.acme.applicant import Policy
from ipyproxy.acme.material import Reason
from tests.acme.office import DAY, HOUR, HUB, Office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path / "acme").start()
    yield made
    made.keeper.stop()


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
