"""Writes a map as Galaxy does: the same statements, in the same transactions."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

TABLE = """
CREATE TABLE gxitproxy (
    "key" VARCHAR(16) NOT NULL, key_type TEXT NOT NULL, token VARCHAR(32), host TEXT,
    port INTEGER, info TEXT, PRIMARY KEY ("key", key_type)
)
"""
_PAGE = Path(__file__).parents[2] / "docs" / "interactive-tools.md"
TELLING = _PAGE.read_text().partition("```sql\n")[2].partition("```")[0]
"""The triggers by which a database tells what has changed, as people are told to make them."""
UNTELLING = "DROP FUNCTION IF EXISTS ipyproxy_tell CASCADE"
KEY_TYPE = "interactivetoolentrypoint"


def info(*, path: bool = False, header: str | None = None) -> str:
    """What Galaxy says of an entry point."""
    return json.dumps({"requires_path_in_url": path, "requires_path_in_header_named": header})


class Galaxy:
    """Galaxy's writer, on a file of SQLite's."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, key: str, token: str, host: str, port: int, told: str | None = None) -> None:
        """Save an entry point: the row is deleted and written anew, in one transaction."""
        with closing(self._connect()) as connection, connection:
            found = connection.execute("SELECT name FROM sqlite_master WHERE name = 'gxitproxy'")
            if found.fetchone() is None:
                connection.execute(TABLE)
            self._delete(connection, key)
            connection.execute(
                "INSERT INTO gxitproxy (key, key_type, token, host, port, info) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (key, KEY_TYPE, token, host, port, info() if told is None else told),
            )

    def remove(self, key: str) -> None:
        """A tool has been stopped."""
        with closing(self._connect()) as connection, connection:
            self._delete(connection, key)

    def fill(self, tools: Iterable[tuple[str, str, str, int]]) -> None:
        """Save many at once, each with key, token, host and port."""
        self.save("first", "t", "127.0.0.1", 1)
        self.remove("first")
        rows = [(key, KEY_TYPE, token, host, port, info()) for key, token, host, port in tools]
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.executemany("INSERT INTO gxitproxy VALUES (?, ?, ?, ?, ?, ?)", rows)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=30)
        # Who waits for the disk is no part of what is tested.
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    @staticmethod
    def _delete(connection: sqlite3.Connection, key: str) -> None:
        connection.execute("DELETE FROM gxitproxy WHERE key = ? AND key_type = ?", (key, KEY_TYPE))
