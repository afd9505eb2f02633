"""Where the map is, in Galaxy's spellings."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipyproxy.database.place import PostgreSQL
from ipyproxy.galaxy.spelling import (
    JSONMap,
    MapPlace,
    SQLiteMap,
    anchored,
    read_place,
)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("/srv/galaxy/map.sqlite", SQLiteMap(Path("/srv/galaxy/map.sqlite"))),
        ("database/map.db", SQLiteMap(Path("database/map.db"))),
        ("/srv/galaxy/map.json", JSONMap(Path("/srv/galaxy/map.json"))),
        ("sqlite:////srv/galaxy/map.sqlite", SQLiteMap(Path("/srv/galaxy/map.sqlite"))),
        ("sqlite:///database/map.sqlite", SQLiteMap(Path("database/map.sqlite"))),
        ("sqlite:///./database/map.sqlite?isolation_level=IMMEDIATE",
         SQLiteMap(Path("database/map.sqlite"))),
        ("sqlite+pysqlite:////srv/map", SQLiteMap(Path("/srv/map"))),
        ("postgresql://u:p@db.example.org/galaxy",
         PostgreSQL("postgresql://u:p@db.example.org/galaxy")),
        ("postgresql+psycopg2://u@db/galaxy?sslmode=verify-full",
         PostgreSQL("postgresql://u@db/galaxy?sslmode=verify-full")),
        ("postgres://db/galaxy", PostgreSQL("postgresql://db/galaxy")),
        ("postgresql:///galaxy?host=/var/run/postgresql",
         PostgreSQL("postgresql:///galaxy?host=/var/run/postgresql")),
    ],
)  # fmt: skip
def test_as_galaxy_writes_it(text: str, place: MapPlace) -> None:
    assert read_place(text) == place


@pytest.mark.parametrize(
    "text",
    ["", "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///file:map?uri=true",
     "postgresql://u:pass@word@db/galaxy", "postgresql://u:pass/word@db/galaxy",
     "mysql://u@db/galaxy", "postgresql://", "http://db/", "a\0b", "9x:://"],
)  # fmt: skip
def test_what_names_no_map(text: str) -> None:
    with pytest.raises(ValueError, match=r"is |names |has "):
        read_place(text)


def test_relative_paths_start_where_they_are_said_to() -> None:
    here = Path("/etc/ipyproxy")
    assert anchored(SQLiteMap(Path("map.sqlite")), here) == SQLiteMap(here / "map.sqlite")
    assert anchored(JSONMap(Path("/srv/m.json")), here) == JSONMap(Path("/srv/m.json"))
    database = PostgreSQL("postgresql://db/galaxy")
    assert anchored(database, here) == database


@pytest.mark.parametrize(
    "uri",
    ["postgresql://u:secret@db/galaxy", "postgresql://db/galaxy?user=u&password=secret&a=b",
     "postgresql://u:secret:sec@db/galaxy", "postgresql://:secret@db/galaxy",
     "postgresql://u:sec?secret@db/galaxy"],
)  # fmt: skip
def test_nobody_is_told_a_password(uri: str) -> None:
    assert "secret" not in str(read_place(uri))
    assert "db/galaxy" in str(read_place(uri))


@pytest.mark.parametrize(
    "uri",
    ["postgresql://u:p%secret@db/galaxy", "postgresql://db/galaxy?password=p%secret",
     "postgresql://u:p%00secret@db/galaxy", "postgresql://u:p?@secret@db/galaxy",
     "postgresql://u:p/secret@db/galaxy"],
)  # fmt: skip
def test_a_password_that_libpq_would_complain_of_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="percent-encoded") as caught:
        read_place(uri)
    assert "secret" not in str(caught.value)


def test_an_at_sign_may_be_in_a_parameter() -> None:
    uri = "postgresql:///galaxy?host=/run/a@b"
    assert str(read_place(uri)) == uri
