"""The map in a file, read while Galaxy writes it."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from ipyproxy.database.watch import AwayError
from ipyproxy.galaxy.entries import Row
from ipyproxy.galaxy.files import JSONSource, SQLiteSource
from tests.galaxy.writing import KEY_TYPE, Galaxy, info

TOOL = Row("abc", KEY_TYPE, "t0k3n", "127.0.0.1", 8000, info())


@pytest.fixture
def galaxy(tmp_path: Path) -> Galaxy:
    return Galaxy(tmp_path / "a map?.sqlite")


@pytest.fixture
def source(galaxy: Galaxy) -> SQLiteSource:
    return SQLiteSource(galaxy.path)


def keys(rows: Sequence[Row] | None) -> list[str] | None:
    return None if rows is None else sorted(row.key for row in rows)


class TestSQLite:
    def test_all_six_columns(self, galaxy: Galaxy, source: SQLiteSource) -> None:
        galaxy.save("abc", "t0k3n", "127.0.0.1", 8000)
        assert source.look() == [TOOL]

    def test_each_change_is_seen_once(self, galaxy: Galaxy, source: SQLiteSource) -> None:
        galaxy.save("abc", "t0k3n", "127.0.0.1", 8000)
        assert keys(source.look()) == ["abc"]
        assert source.look() is None
        galaxy.save("def", "t0k3n", "127.0.0.1", 8001)
        assert keys(source.look()) == ["abc", "def"]
        galaxy.remove("abc")
        assert keys(source.look()) == ["def"]
        assert source.look() is None

    def test_a_change_in_the_very_moment_of_a_look_is_not_missed(
        self, galaxy: Galaxy, source: SQLiteSource
    ) -> None:
        # Within the same tick of the file system's clock, and without another size.
        for number in range(50):
            galaxy.save("abc", f"{number:04}", "127.0.0.1", 8000)
            rows = source.look()
            assert rows is not None
            assert rows[0].token == f"{number:04}"

    def test_nothing_is_made_where_there_is_none(
        self, galaxy: Galaxy, source: SQLiteSource
    ) -> None:
        with pytest.raises(AwayError, match="No such file"):
            source.look()
        assert not list(galaxy.path.parent.iterdir())
        galaxy.save("abc", "t0k3n", "127.0.0.1", 8000)
        assert source.look() == [TOOL]

    @pytest.mark.parametrize("text", [b"", b"no database at all, but long enough to be one" * 99])
    def test_no_table(self, galaxy: Galaxy, source: SQLiteSource, text: bytes) -> None:
        galaxy.path.write_bytes(text)
        with pytest.raises(AwayError, match=r"no such table|not a database"):
            source.look()
        assert galaxy.path.read_bytes() == text

    def test_a_locked_file_is_waited_for(self, galaxy: Galaxy, source: SQLiteSource) -> None:
        galaxy.save("abc", "t0k3n", "127.0.0.1", 8000)
        with closing(sqlite3.connect(galaxy.path, isolation_level=None)) as writer:
            writer.execute("BEGIN EXCLUSIVE")
            with pytest.raises(AwayError, match="locked"):
                source.look()
            writer.execute("COMMIT")
        assert source.look() == [TOOL]

    def test_galaxys_writer_is_never_locked_out(self, galaxy: Galaxy, source: SQLiteSource) -> None:
        galaxy.save("abc", "t0k3n", "127.0.0.1", 8000)
        source.look()
        with closing(sqlite3.connect(galaxy.path, timeout=0)) as writer, writer:
            writer.execute("DELETE FROM gxitproxy")
        assert source.look() == []

    def test_a_file_that_is_put_in_its_place(self, galaxy: Galaxy, source: SQLiteSource) -> None:
        galaxy.save("abc", "t0k3n", "127.0.0.1", 8000)
        source.look()
        other = Galaxy(galaxy.path.with_suffix(".new"))
        other.save("xyz", "t0k3n", "127.0.0.1", 8000)
        other.path.replace(galaxy.path)
        assert keys(source.look()) == ["xyz"]

    def test_a_write_ahead_log_that_is_written_again_from_its_beginning(
        self, galaxy: Galaxy, source: SQLiteSource
    ) -> None:
        # Then it gets no longer, and its time may be the same as before.
        galaxy.save("abc", "t0k3n", "127.0.0.1", 8000)
        log = Path(f"{galaxy.path}-wal")
        with closing(sqlite3.connect(galaxy.path, isolation_level=None)) as writer:
            writer.execute("PRAGMA journal_mode = WAL")
            for number in range(9):
                writer.execute("UPDATE gxitproxy SET port = ?", (number + 1,))
            writer.execute("PRAGMA wal_checkpoint")
            writer.execute("UPDATE gxitproxy SET port = 10")
            now, size = time.time_ns(), log.stat().st_size
            os.utime(log, ns=(now, now))
            assert source.look() == [TOOL._replace(port=10)]
            writer.execute("UPDATE gxitproxy SET port = 11")
            os.utime(log, ns=(now, now))
            assert log.stat().st_size == size
            assert source.look() == [TOOL._replace(port=11)]

    def test_a_write_ahead_log(self, galaxy: Galaxy, source: SQLiteSource) -> None:
        galaxy.save("abc", "t0k3n", "127.0.0.1", 8000)
        with closing(sqlite3.connect(galaxy.path)) as writer:
            writer.execute("PRAGMA journal_mode = WAL")
            assert keys(source.look()) == ["abc"]
            with writer:
                writer.execute("DELETE FROM gxitproxy")
            assert source.look() == []
            # Nobody has written for some seconds.
            os.utime(f"{galaxy.path}-wal", ns=(0, 0))
            assert source.look() == []
            assert source.look() is None

    def test_no_log_is_made_where_there_is_none(self, galaxy: Galaxy, source: SQLiteSource) -> None:
        galaxy.save("abc", "t0k3n", "127.0.0.1", 8000)
        with closing(sqlite3.connect(galaxy.path)) as writer:
            writer.execute("PRAGMA journal_mode = WAL")
        assert source.look() == [TOOL]
        assert [each.name for each in galaxy.path.parent.iterdir()] == [galaxy.path.name]
        assert source.look() is None
        with closing(sqlite3.connect(galaxy.path)) as writer, writer:
            writer.execute("DELETE FROM gxitproxy")
            writer.commit()
            assert source.look() == []
        assert source.look() in ([], None)
        assert [each.name for each in galaxy.path.parent.iterdir()] == [galaxy.path.name]

    def test_nothing_is_written(self, galaxy: Galaxy, source: SQLiteSource) -> None:
        galaxy.save("abc", "t0k3n", "127.0.0.1", 8000)
        before = galaxy.path.read_bytes(), galaxy.path.stat().st_mtime_ns
        source.look()
        assert (galaxy.path.read_bytes(), galaxy.path.stat().st_mtime_ns) == before
        assert [each.name for each in galaxy.path.parent.iterdir()] == [galaxy.path.name]

    def test_bytes_that_are_no_text(self, galaxy: Galaxy, source: SQLiteSource) -> None:
        galaxy.save("abc", "t0k3n", "127.0.0.1", 8000)
        with closing(sqlite3.connect(galaxy.path)) as writer, writer:
            writer.execute(
                "INSERT INTO gxitproxy (key, key_type, token) VALUES "
                "('bad', 'interactivetoolentrypoint', CAST(X'ff' AS TEXT))"
            )
        assert keys(source.look()) == ["abc", "bad"]


class TestJSON:
    def write(self, path: Path, document: object, *, ago: float = 60.0) -> None:
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        import os

        os.utime(path, (time.time() - ago,) * 2)

    def test_entries(self, tmp_path: Path) -> None:
        path = tmp_path / "map.json"
        source = JSONSource(path)
        self.write(
            path, {"abc": {"host": "127.0.0.1", "port": "8000", "token": "t0k3n", "info": info()}}
        )
        assert source.look() == [TOOL]
        assert source.look() is None

    def test_a_file_of_this_second_is_read_once_more(self, tmp_path: Path) -> None:
        path = tmp_path / "map.json"
        source = JSONSource(path)
        self.write(path, {}, ago=0)
        assert source.look() == []
        assert source.look() == []

    @pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000])
    def test_what_is_being_written_is_waited_for(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "map.json"
        source = JSONSource(path)
        with pytest.raises(AwayError, match="No such file"):
            source.look()
        self.write(path, text)
        with pytest.raises(AwayError, match="is no JSON"):
            source.look()
        self.write(path, {"abc": 5, "def": {"host": ["x"], "port": {}}})
        assert keys(source.look()) == ["abc", "def"]
