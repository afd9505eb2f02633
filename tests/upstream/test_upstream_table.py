"""Records of upstreams: whether one is in use, what its bridges add up to, which are kept."""

from __future__ import annotations

import math

from ipyproxy.upstream.places import LONGEST_WAIT
from ipyproxy.upstream.upstream import ACTIVE_FOR, IN_USE_FOR, Traffic, UpstreamTable
from tests.upstream.observed import ANSWERED, NOW, REFUSED, Bridge, told
from tests.upstreams import notebook


class TestUse:
    def test_it_is_in_use_for_a_while_after_somebody_wanted_it(self) -> None:
        upstream = notebook(10000, wanted_at=NOW)
        assert upstream.is_in_use(NOW + IN_USE_FOR - 0.1)
        assert not upstream.is_in_use(NOW + IN_USE_FOR)
        assert upstream.is_active(NOW + ACTIVE_FOR - 0.1)
        assert not upstream.is_active(NOW + ACTIVE_FOR)

    def test_open_work_keeps_it_in_use(self) -> None:
        assert notebook(10000, bridges={Bridge()}).is_in_use(NOW)
        assert notebook(10000, exchanges=1).is_in_use(NOW)
        assert not notebook(10000).is_in_use(NOW)

    def test_a_quiet_bridge_alone_does_not_make_it_busy(self) -> None:
        assert notebook(10000, exchanges=1).is_active(NOW)
        assert not notebook(10000, bridges={Bridge()}).is_active(NOW)


class TestBridges:
    def test_what_is_open_and_what_has_ended_counts(self) -> None:
        upstream = notebook(10000)
        first = Bridge(traffic=Traffic(1, 20, 300, 4000))
        second = Bridge(traffic=Traffic(5, 50, 500, 5000))
        upstream.bridge_opened(first)
        upstream.bridge_opened(second)
        assert upstream.bridges == {first, second}
        assert upstream.traffic == Traffic(6, 70, 800, 9000)
        upstream.bridge_ended(first)
        assert upstream.bridges == {second}
        assert upstream.traffic == Traffic(6, 70, 800, 9000)
        second.traffic = Traffic(6, 50, 500, 5000)
        assert upstream.traffic == Traffic(7, 70, 800, 9000)

    def test_without_any_there_was_no_traffic_and_no_person(self) -> None:
        assert notebook(10000).traffic == Traffic(0, 0, 0, 0)
        assert notebook(10000).person_active_at == -math.inf

    def test_a_person_is_remembered_when_the_bridge_has_ended(self) -> None:
        upstream = notebook(10000)
        early, late = Bridge(last_activity=NOW), Bridge(last_activity=NOW + 5)
        for bridge in (early, late):
            upstream.bridge_opened(bridge)
        assert upstream.person_active_at == NOW + 5
        upstream.bridge_ended(late)
        assert upstream.person_active_at == NOW + 5
        early.last_activity = NOW + 9
        assert upstream.person_active_at == NOW + 9
        upstream.bridge_ended(early)
        assert upstream.person_active_at == NOW + 9


class Guest:
    """Who holds a place, or waits for one."""

    is_slow = refused = False

    def place_given(self) -> None:
        pass

    def place_refused(self) -> None:
        self.refused = True

    def give_way(self) -> None:
        pass


class TestUpstreamTable:
    def test_there_is_one_record_for_each_port(self) -> None:
        table = UpstreamTable()
        for port in (10002, 10001, 10002, 10001):
            assert table.notebook(port) is table.notebook(port)
        assert [upstream.port for upstream in table.all()] == [10001, 10002]

    def test_none_is_kept_of_where_nobody_ever_answered(self) -> None:
        table = UpstreamTable()
        told(REFUSED, upstream=table.notebook(10001))
        told(ANSWERED, REFUSED, upstream=table.notebook(10002))
        table.notebook(10003).exchanges = 1
        for port in (10001, 10002, 10003, 10004):
            table.release(table.notebook(port))
        assert [upstream.port for upstream in table.all()] == [10002, 10003]

    def test_all_have_equally_many_places_and_a_reload_changes_them(self) -> None:
        table = UpstreamTable(1)
        first = table.notebook(10001)
        assert first.places.ask("alice", Guest(), 0.0)
        assert not first.places.ask("bob", Guest(), 0.0)
        table.resize(3)
        second = table.notebook(10002)
        assert all(second.places.ask(client, Guest(), 0.0) for client in ("a", "b", "c"))
        assert first.places.ask("carol", Guest(), 0.0)

    def test_a_sweep_looks_at_the_places_where_something_is_open(self) -> None:
        table = UpstreamTable(1)
        upstream = table.notebook(10001)
        upstream.exchanges = 2
        upstream.places.ask("alice", Guest(), 0.0)
        waiting = Guest()
        assert not upstream.places.ask("bob", waiting, 0.0)
        table.sweep(LONGEST_WAIT)
        assert waiting.refused
