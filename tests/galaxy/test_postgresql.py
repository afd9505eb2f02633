"""The map in PostgreSQL, on a real server that stops, hangs, and comes back."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from ipyproxy.database import postgresql as connecting
from ipyproxy.database.place import PostgreSQL
from ipyproxy.database.watch import AwayError
from ipyproxy.galaxy import postgresql
from ipyproxy.galaxy.entries import KEY_TYPE, Row
from ipyproxy.galaxy.postgresql import PostgreSQLSource
from ipyproxy.galaxy.source import Part
from ipyproxy.galaxy.spelling import read_place
from tests.certificates import Authority
from tests.galaxy.writing import TABLE, TELLING, UNTELLING, info
from tests.integration.postgres import Database

pytest.importorskip("psycopg", reason="pip install 'ipyproxy[postgresql]'")
pytestmark = pytest.mark.integration

INSERT = (
    "BEGIN; DELETE FROM gxitproxy WHERE key = '{0}'; INSERT INTO gxitproxy VALUES "
    "('{0}', 'interactivetoolentrypoint', 't0k3n', '127.0.0.1', 8000, '{1}'); COMMIT"
)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Database]:
    issued = authority.issue("127.0.0.1")
    made = Database(issued.write(tmp_path_factory.mktemp("tls")))
    yield made
    made.kill()


@pytest.fixture
def table(database: Database) -> Iterator[None]:
    database.sql(TABLE)
    yield
    database.sql(f"{UNTELLING}; DROP TABLE IF EXISTS gxitproxy")


@pytest.fixture
def source(database: Database) -> Iterator[PostgreSQLSource]:
    made = of(database.url)
    yield made
    made.close()


NOTIFY = "NOTIFY gxitproxy"


def of(url: str) -> PostgreSQLSource:
    place = read_place(url)
    assert isinstance(place, PostgreSQL)
    return PostgreSQLSource(place.conninfo)


def save(database: Database, key: str) -> None:
    database.sql(INSERT.format(key, info()))


def sessions(database: Database) -> list[int]:
    """The server's processes that serve us."""
    ours = "SELECT pid FROM pg_stat_activity WHERE application_name = 'ipyproxy'"
    return [int(pid) for pid in database.sql(ours).split()]


def keys(found: Sequence[Row] | Part | None) -> list[str] | None:
    """The keys of all rows."""
    assert not isinstance(found, Part)
    return None if found is None else sorted(row.key for row in found)


def part(found: object) -> tuple[list[str], list[str]]:
    """The keys that may have changed, and those that have a row."""
    assert isinstance(found, Part)
    return sorted(found.keys), sorted(row.key for row in found.rows)


@contextmanager
def locked(database: Database) -> Iterator[None]:
    """The table is locked by somebody, so that nobody can read it."""
    import psycopg

    with psycopg.connect(database.url.replace("+psycopg2", "")) as connection:
        connection.execute("LOCK TABLE gxitproxy")
        yield
        connection.rollback()


@pytest.mark.usefixtures("table")
class TestLooking:
    @pytest.mark.parametrize("way", ["url", "by_socket"])
    def test_all_six_columns(self, database: Database, way: str) -> None:
        save(database, "abc")
        source = of(getattr(database, way))
        assert source.look() == [Row("abc", KEY_TYPE, "t0k3n", "127.0.0.1", 8000, info())]
        source.close()

    def test_a_change_is_found_without_a_notification(
        self, database: Database, source: PostgreSQLSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connecting, "POLL", 0.1)
        assert source.look() == []
        assert source.look() is None
        save(database, "abc")
        assert keys(source.look()) == ["abc"]
        save(database, "abc")  # the same again
        assert source.look() is None
        database.sql("DELETE FROM gxitproxy")
        assert source.look() == []

    def test_a_notification_wakes_it(
        self, database: Database, source: PostgreSQLSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connecting, "POLL", 60.0)
        assert source.look() == []
        writing = threading.Timer(0.2, database.sql, [f"{INSERT.format('abc', info())}; {NOTIFY}"])
        writing.start()
        began = time.monotonic()
        assert keys(source.look()) == ["abc"]
        assert time.monotonic() - began < 20
        writing.join()

    def test_a_thousand_notifications_are_one(
        self, database: Database, source: PostgreSQLSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connecting, "POLL", 0.5)
        source.look()
        for _ in range(3):
            database.sql("SELECT pg_notify('gxitproxy', n::text) FROM generate_series(1, 1000) n")
        looks, waited = 0, 0.0
        while waited < 0.5:
            began = time.monotonic()
            assert source.look() is None
            waited = time.monotonic() - began
            looks += 1
        # One or two; a few more where the server takes long to tell of them all.
        assert looks <= 30

    def test_nothing_can_be_written(self, source: PostgreSQLSource) -> None:
        source.look()
        with (
            pytest.raises(AwayError, match="read-only transaction"),
            source._session.open() as connection,
        ):
            connection.execute("DELETE FROM gxitproxy")

    def test_a_statement_that_takes_too_long_is_given_up(
        self, database: Database, source: PostgreSQLSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgresql, "STATEMENT_TIMEOUT", 100)
        monkeypatch.setattr(connecting, "POLL", 0.1)
        source.look()
        save(database, "abc")
        with locked(database), pytest.raises(AwayError, match="statement timeout"):
            source.look()
        assert keys(source.look()) == ["abc"]


@pytest.mark.usefixtures("table")
class TestBeingTold:
    """With the triggers in the database that name what has changed."""

    @pytest.fixture(autouse=True)
    def triggers(
        self, table: None, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[None]:
        monkeypatch.setattr(connecting, "POLL", 0.2)
        database.sql(TELLING)
        yield
        database.sql(UNTELLING)

    def test_only_what_has_changed_is_read(
        self, database: Database, source: PostgreSQLSource
    ) -> None:
        save(database, "old")
        assert keys(source.look()) == ["old"]
        save(database, "abc")
        assert part(source.look()) == (["abc"], ["abc"])
        save(database, "def")
        database.sql("UPDATE gxitproxy SET key = 'xyz' WHERE key = 'abc'")
        assert part(source.look()) == (["abc", "def", "xyz"], ["def", "xyz"])
        assert source.look() is None
        database.sql("DELETE FROM gxitproxy WHERE key = 'def'")
        assert part(source.look()) == (["def"], [])

    def test_what_others_write_is_not_looked_at(
        self, database: Database, source: PostgreSQLSource
    ) -> None:
        source.look()
        # A sum over the table would have to wait for this.
        database.sql("CREATE TABLE other (); DROP TABLE other")
        with locked(database):
            assert source.look() is None

    def test_more_than_a_thousand_at_once_are_read_with_all_others(
        self, database: Database, source: PostgreSQLSource
    ) -> None:
        source.look()
        many = (
            INSERT.format("k' || n || '", "{}").partition("VALUES (")[2].partition("); COMMIT")[0]
        )
        database.sql(f"INSERT INTO gxitproxy SELECT {many} FROM generate_series(1, 1500) n")
        assert len(keys(source.look()) or ()) == 1500
        database.sql("TRUNCATE gxitproxy")
        assert source.look() == []

    def test_all_is_read_after_a_time_without_a_connection(
        self, database: Database, source: PostgreSQLSource
    ) -> None:
        save(database, "abc")
        source.look()
        source.close()
        save(database, "def")
        assert keys(source.look()) == ["abc", "def"]

    def test_where_nobody_tells_any_more_it_looks_again(
        self, database: Database, source: PostgreSQLSource
    ) -> None:
        save(database, "abc")
        source.look()
        save(database, "abc")
        assert part(source.look()) == (["abc"], ["abc"])
        database.sql(UNTELLING)
        database.sql("DELETE FROM gxitproxy")
        assert source.look() == []

    def test_it_looks_now_and_then_although_nothing_is_told(
        self, database: Database, source: PostgreSQLSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgresql, "CHECK", 0.0)
        source.look()
        quietly = "SET session_replication_role = replica; " + INSERT.format("abc", "{}")
        database.sql(quietly)
        assert keys(source.look()) == ["abc"]


@pytest.mark.usefixtures("table")
class TestWhereNobodyTells:
    def test_a_table_is_not_looked_at_while_nobody_writes(
        self, database: Database, source: PostgreSQLSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connecting, "POLL", 0.1)
        monkeypatch.setattr(postgresql, "STATEMENT_TIMEOUT", 300)
        source.look()
        with locked(database):
            assert source.look() is None


class TestWhatIsAway:
    def test_no_table(self, database: Database, source: PostgreSQLSource) -> None:
        with pytest.raises(AwayError, match='relation "gxitproxy" does not exist'):
            source.look()
        database.sql(TABLE)
        assert source.look() == []
        database.sql("DROP TABLE gxitproxy")

    def test_a_wrong_password_is_not_told(self, database: Database) -> None:
        source = of(database.url.replace("secret", "guess"))
        with pytest.raises(AwayError, match="password authentication failed") as caught:
            source.look()
        assert "guess" not in str(caught.value)

    def test_what_libpq_complains_of_in_a_url_is_not_told(self) -> None:
        with pytest.raises(AwayError, match="libpq does not understand its URL") as caught:
            of("postgresql://galaxy:p?sec/ret@127.0.0.1/galaxy").look()
        assert "sec" not in str(caught.value)

    @pytest.mark.usefixtures("table")
    def test_a_server_that_stops_and_comes_back(
        self, database: Database, source: PostgreSQLSource
    ) -> None:
        assert source.look() == []
        database.stop()
        for _ in range(2):
            with pytest.raises(AwayError):
                source.look()
        database.start()
        assert source.look() is None
        save(database, "abc")
        assert keys(source.look()) == ["abc"]

    @pytest.mark.usefixtures("table")
    def test_one_that_hangs_is_given_up(self, database: Database) -> None:
        source = of(database.url)
        database.server.signal(signal.SIGSTOP)
        try:
            with pytest.raises(AwayError, match="timeout"):
                source.look()
        finally:
            database.server.signal(signal.SIGCONT)

    @pytest.mark.usefixtures("table")
    def test_one_that_hangs_with_the_connection_open_can_be_interrupted(
        self, database: Database, source: PostgreSQLSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connecting, "POLL", 0.1)
        assert source.look() == []
        source.interrupt()  # nothing is waited for now, so this changes nothing
        assert source.look() is None
        (session,) = sessions(database)
        os.kill(session, signal.SIGSTOP)
        over = threading.Event()

        def interrupt() -> None:
            while not over.wait(0.2):
                source.interrupt()

        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        try:
            with pytest.raises(AwayError):
                source.look()
        finally:
            over.set()
            interrupting.join()
            os.kill(session, signal.SIGCONT)
        save(database, "abc")
        assert keys(source.look()) == ["abc"]


@pytest.mark.usefixtures("table")
class TestTLS:
    def test_a_server_that_is_the_one(self, database: Database, root: Path) -> None:
        source = of(f"{database.url}?sslmode=verify-full&sslrootcert={root}")
        assert source.look() == []
        with source._session.open() as connection:
            assert connection.pgconn.ssl_in_use
        source.close()

    def test_one_that_nobody_vouches_for(self, database: Database, tmp_path: Path) -> None:
        other = Authority("Another").write(tmp_path)
        source = of(f"{database.url}?sslmode=verify-full&sslrootcert={other}")
        with pytest.raises(AwayError, match="certificate verify failed"):
            source.look()
