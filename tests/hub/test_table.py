"""The table that nodes share, on a real server of PostgreSQL's that stops, hangs and comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from ipyproxy.database import postgresql
from ipyproxy.database.place import read_database
from ipyproxy.database.watch import AwayError
from ipyproxy.hub import table as table_module
from ipyproxy.hub.store import Use
from ipyproxy.hub.table import AT_ONCE, KEPT, MAKE, Page, RoutesTable
from tests.integration.postgres import Database

pytest.importorskip("psycopg", reason="pip install 'ipyproxy[postgresql]'")
pytestmark = pytest.mark.integration

TARGET = "http://127.0.0.1:8001"


@pytest.fixture(scope="module")
def server() -> Iterator[Database]:
    made = Database()
    yield made
    made.kill()


@pytest.fixture
def database(server: Database) -> Iterator[Database]:
    yield server
    server.sql("DROP TABLE IF EXISTS ipyproxy_hub, ipyproxy_hub_routes")


class Fleet:
    """Nodes that share a table; each has looked once."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.nodes: list[RoutesTable] = []

    def join(self) -> RoutesTable:
        place = read_database(self.database.url)
        assert place is not None
        self.nodes.append(RoutesTable(place.conninfo))
        return self.nodes[-1]


@pytest.fixture
def fleet(database: Database) -> Iterator[Fleet]:
    made = Fleet(database)
    yield made
    for node in made.nodes:
        node.close()


def told(page: Page) -> dict[str, object]:
    return {change.use.path: change.data for change in page.changes}


def everything(node: RoutesTable) -> dict[str, object]:
    """All routes, as a node that has just come sees them."""
    page = node.look()
    assert page.begins
    found = told(page)
    while not page.is_last:
        found |= told(page := node.look())
        assert not page.begins
    return {path: data for path, data in found.items() if data is not None}


class TestChanges:
    def test_what_one_writes_the_others_see_once(self, fleet: Fleet) -> None:
        one, other = fleet.join(), fleet.join()
        assert everything(one) == everything(other) == {}
        one.add("/user/ann", TARGET, '{"user": "ann"}')
        there = {"/user/ann": {"target": TARGET, "user": "ann"}}
        for node in one, other:
            assert told(node.look()) == there
            assert told(node.look()) == {}
        other.add("/user/ann", "http://127.0.0.1:2", "{}")
        assert told(one.look()) == {"/user/ann": {"target": "http://127.0.0.1:2"}}
        assert other.remove("/user/ann")
        assert told(one.look()) == {"/user/ann": None}
        assert not one.remove("/user/ann")
        assert everything(fleet.join()) == {}

    def test_a_notification_wakes_the_others(
        self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgresql, "POLL", 60.0)
        one, other = fleet.join(), fleet.join()
        other.look()
        for number in range(3):
            writing = threading.Timer(0.1, one.add, [f"/{number}", TARGET, "{}"])
            writing.start()
            assert told(other.look(waits=True)) == {f"/{number}": {"target": TARGET}}
            writing.join()

    def test_a_ring_wakes_a_node(self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(postgresql, "POLL", 60.0)
        node = fleet.join()
        node.look()
        ringing = threading.Timer(0.1, node.ring)
        ringing.start()
        assert told(node.look(waits=True)) == {}
        ringing.join()

    def test_a_change_is_found_without_a_notification(
        self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgresql, "POLL", 0.1)
        node = fleet.join()
        node.look()
        fleet.database.sql(
            "UPDATE ipyproxy_hub SET revision = 1; INSERT INTO ipyproxy_hub_routes VALUES"
            f" ('/by/hand', '{TARGET}', 'nonsense', 1, now(), now())"
        )
        assert told(node.look(waits=True)) == {"/by/hand": {"target": TARGET}}

    def test_all_are_read_a_few_at_a_time(self, fleet: Fleet) -> None:
        node = fleet.join()
        node.look()
        number = 2 * AT_ONCE + 1
        fleet.database.sql(
            f"UPDATE ipyproxy_hub SET revision = {number}; INSERT INTO ipyproxy_hub_routes SELECT"
            f" '/' || n, '{TARGET}', '{{}}', n, now(), now() FROM generate_series(1, {number}) n"
        )
        node.remove("/2")
        page = fleet.join().look()
        assert (len(page.changes), page.is_last) == (AT_ONCE, False)
        there = {f"/{n}" for n in range(1, number + 1)} - {"/2"}
        assert set(everything(fleet.join())) == there

    def test_two_that_write_at_once_both_count(self, fleet: Fleet) -> None:
        nodes = [fleet.join() for _ in range(4)]

        def write(node: RoutesTable, name: str) -> None:
            for number in range(20):
                node.add(f"/{name}/{number}", TARGET, "{}")
                node.add("/shared", f"http://127.0.0.1:{number + 1}", "{}")
                node.tell([Use(f"/{name}/{number}", 0.0, 0.0), Use("/shared", 0.0, 0.0)])

        watching = fleet.join()
        seen = everything(watching)
        threads = [
            threading.Thread(target=write, args=(node, str(number)))
            for number, node in enumerate(nodes)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            seen |= told(watching.look())
        while changes := told(watching.look()):
            seen |= changes
        assert len(seen) == 81
        assert seen == everything(fleet.join())
        assert fleet.database.sql("SELECT revision FROM ipyproxy_hub").strip() == "160"


class TestWhoeverIsFarBehind:
    def test_one_that_has_missed_what_is_forgotten_reads_everything(self, fleet: Fleet) -> None:
        one, other = fleet.join(), fleet.join()
        other.add("/stays", TARGET, "{}")
        everything(other)
        for number in range(6):
            if number == 4:
                # As if so many other changes had been made.
                fleet.database.sql(f"UPDATE ipyproxy_hub SET revision = revision + {KEPT}")
            one.add(f"/{number}", TARGET, "{}")
            one.remove(f"/{number}")
        assert fleet.database.sql("SELECT count(*) FROM ipyproxy_hub_routes").strip() == "3"
        page = other.look()
        assert page.begins
        assert told(page) == {"/stays": {"target": TARGET}, "/4": None, "/5": None}
        assert not other.look().begins

    def test_a_server_without_the_last_changes(self, fleet: Fleet) -> None:
        node, database = fleet.join(), fleet.database
        node.add("/a", TARGET, "{}")
        database.sql("CREATE TABLE before AS TABLE ipyproxy_hub_routes")
        node.add("/b", TARGET, "{}")
        everything(node)
        database.stop()
        database.start()
        with pytest.raises(AwayError):
            node.look()
        assert not node.look().begins  # nothing has happened in between
        # As after a fail-over to a server that was a moment behind; then it is written on.
        database.sql(
            "DELETE FROM ipyproxy_hub_routes; INSERT INTO ipyproxy_hub_routes TABLE before;"
            "DROP TABLE before; UPDATE ipyproxy_hub SET revision = 1"
        )
        fleet.join().add("/c", TARGET, "{}")
        node.close()
        page = node.look()
        assert page.begins
        assert sorted(told(page)) == ["/a", "/c"]

    def test_a_server_without_the_last_numbers_that_changed_nothing(self, fleet: Fleet) -> None:
        node, database = fleet.join(), fleet.database
        node.add("/a", TARGET, "{}")
        everything(node)
        for _ in range(3):
            assert not node.remove("/nothing")
        node.look()
        # As after a fail-over to a server that was a moment behind; then it is written on.
        node.close()
        database.sql("UPDATE ipyproxy_hub SET revision = 1")
        other = fleet.join()
        for path in "/b", "/c", "/d", "/e":
            other.add(path, TARGET, "{}")
        assert {"/b", "/c", "/d", "/e"} <= told(node.look()).keys()

    def test_a_table_that_was_dropped_is_made_again_and_empty(self, fleet: Fleet) -> None:
        node = fleet.join()
        node.add("/a", TARGET, "{}")
        everything(node)
        fleet.database.sql("DROP TABLE ipyproxy_hub, ipyproxy_hub_routes")
        with pytest.raises(AwayError, match='relation "ipyproxy_hub" does not exist'):
            node.look()
        assert everything(node) == {}


class TestUse:
    def test_the_last_use_of_all_nodes_counts_and_no_clock_but_the_servers(
        self, fleet: Fleet
    ) -> None:
        one, other = fleet.join(), fleet.join()
        one.add("/a", TARGET, "{}")
        fleet.database.sql(
            "UPDATE ipyproxy_hub_routes SET last_activity = now() - interval '1 day'"
        )
        one.tell([Use("/a", 3600.0, float("inf"))])
        other.tell([Use("/a", 7200.0, 9000.0), Use("/gone", 0.0, 0.0)])
        (use,) = fleet.join().uses()
        assert use.path == "/a"
        assert use.active_ago == pytest.approx(3600, abs=60)
        assert use.person_ago == pytest.approx(9000, abs=60)

    def test_another_target_is_another_server(self, fleet: Fleet) -> None:
        node = fleet.join()
        node.add("/a", TARGET, "{}")
        node.tell([Use("/a", 0.0, 50.0)])
        node.add("/a", TARGET, '{"more": 1}')
        assert node.uses()[0].person_ago == pytest.approx(50, abs=40)
        node.add("/a", TARGET + "/below", "{}")
        assert node.uses()[0].person_ago == float("inf")
        assert node.uses()[0].active_ago < 60


class TestWhatIsThereAlready:
    def test_many_that_come_at_once_make_one(self, fleet: Fleet) -> None:
        problems: list[Exception] = []

        def come() -> None:
            try:
                fleet.join().look()
            except Exception as error:
                problems.append(error)

        threads = [threading.Thread(target=come) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []
        assert fleet.database.sql("SELECT count(*) FROM ipyproxy_hub").strip() == "1"

    def test_a_table_of_another_version_is_left_alone(self, fleet: Fleet) -> None:
        node = fleet.join()
        node.look()
        fleet.database.sql("UPDATE ipyproxy_hub SET version = 2, revision = 7")
        for work in (
            node.look,
            lambda: node.add("/a", TARGET, "{}"),
            lambda: node.remove("/a"),
            fleet.join().look,
        ):
            with pytest.raises(AwayError, match="of version 2, and this ipyproxy knows version 1"):
                work()
        left = "SELECT revision FROM ipyproxy_hub; SELECT count(*) FROM ipyproxy_hub_routes"
        assert fleet.database.sql(left).split() == ["7", "0"]

    def test_a_role_that_may_only_use_them(self, fleet: Fleet) -> None:
        fleet.database.sql("DROP ROLE IF EXISTS node")
        fleet.database.sql("CREATE ROLE node LOGIN PASSWORD 'node'")
        place = read_database(f"postgresql://node:node@127.0.0.1:{fleet.database.port}/galaxy")
        assert place is not None
        node = RoutesTable(place.conninfo)
        with pytest.raises(AwayError, match="permission denied for schema public"):
            node.look()
        fleet.database.sql(MAKE)
        fleet.database.sql(
            "GRANT SELECT, UPDATE ON ipyproxy_hub TO node;"
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ipyproxy_hub_routes TO node"
        )
        assert everything(node) == {}
        node.add("/a", TARGET, "{}")
        assert node.remove("/a")
        node.close()


class TestWhatIsAway:
    def test_a_server_that_stops_and_comes_back(self, fleet: Fleet) -> None:
        node = fleet.join()
        node.add("/a", TARGET, "{}")
        everything(node)
        fleet.database.stop()
        for work in node.look, lambda: node.add("/b", TARGET, "{}"), lambda: node.remove("/a"):
            with pytest.raises(AwayError):
                work()
        fleet.database.start()
        assert told(node.look()) == {}
        node.add("/b", TARGET, "{}")
        assert list(told(node.look())) == ["/b"]

    def test_a_lock_that_is_held_is_given_up(
        self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(table_module, "STATEMENT_TIMEOUT", 100)
        node = fleet.join()
        everything(node)
        holding = threading.Thread(
            target=fleet.database.sql,
            args=["BEGIN; UPDATE ipyproxy_hub SET revision = 1; SELECT pg_sleep(1); ROLLBACK"],
        )
        holding.start()
        while "pg_sleep" not in fleet.database.sql("SELECT query FROM pg_stat_activity"):
            time.sleep(0.01)
        with pytest.raises(AwayError, match="statement timeout"):
            node.add("/a", TARGET, "{}")
        holding.join()
        assert told(node.look()) == {}
