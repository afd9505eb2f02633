"""Whatever fails, a name is tried again, as often as an authority allows, and keeps what it has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipyproxy.acme.standing import concerns
from ipyproxy.acme.store import Store
from tests.acme.authority import RefusedError, later
from tests.acme.office import DAY, HOUR, HUB, LAB, START, Office, no_challenge


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path / "acme").start()
    yield made
    made.keeper.stop()


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

    def test_a_disk_that_is_full_costs_no_more_attempts(self, tmp_path: Path) -> None:
        class Full(Store):
            def save(self, *_: object) -> None:
                raise OSError(28, "No space left on device")

            def note(self, *_: object) -> None:
                raise OSError(28, "No space left on device")

        office = Office(tmp_path, store=Full)
        office.start().wait(HOUR)
        assert 1 <= office.attempts() <= 4
        office.keeper.stop()


def test_attempts_are_kept_in_a_form_that_other_versions_can_read(tmp_path: Path) -> None:
    store = Store(tmp_path, [HUB])
    path = tmp_path / "attempts" / f"{HUB}.json"
    path.parent.mkdir(mode=0o700)
    for content in ("", "[]", json.dumps({"failures": 3, "wishes": 7}), "\0"):
        path.write_text(content)
        assert store.attempts(HUB).failures == 0
