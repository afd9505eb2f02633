"""Parses the place of Galaxy's map, in all spellings of Galaxy and gx-it-proxy.

Knows ``interactivetools_map`` (a path, or an SQLAlchemy URL) and ``interactivetoolsproxy_map`` (an
SQLAlchemy URL). Opens nothing. Pure.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from ipyproxy.database.place import PostgreSQL, read_database

_URL = re.compile(r"(?P<backend>[a-z0-9]+)(?:\+(?P<driver>[a-z0-9_]+))?://(?P<rest>.*)", re.DOTALL)


class SQLiteMap(NamedTuple):
    """The map is a table in an SQLite file."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


class JSONMap(NamedTuple):
    """The map is a file with one JSON object."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


MapPlace = SQLiteMap | JSONMap | PostgreSQL


def read_place(text: str) -> MapPlace:
    """The place that ``text`` names.

    After ``sqlite:`` comes a path as in SQLAlchemy: relative with three slashes, absolute with
    four. The name of a driver (``postgresql+psycopg2``) matters only to Galaxy and is dropped.

    :raises ValueError: with what is wrong.
    """
    url = _URL.fullmatch(text)
    if url is None:
        return _file(text)
    backend, rest = url["backend"], url["rest"]
    if backend == "sqlite":
        path = rest.partition("?")[0]
        if path[:1] != "/" or path in ("/", "/:memory:") or path.startswith("/file:"):
            raise ValueError("is no sqlite:/// with the path of a file behind it")
        return SQLiteMap(Path(path[1:]))
    if (database := read_database(text)) is not None:
        return database
    raise ValueError("is of a kind that is not read: give SQLite, PostgreSQL or a JSON file")


def _file(text: str) -> MapPlace:
    if not text or "\0" in text or "://" in text:
        raise ValueError("is neither a path nor a URL such as sqlite:////srv/galaxy/map.sqlite")
    path = Path(text)
    return JSONMap(path) if path.suffix == ".json" else SQLiteMap(path)


def anchored(place: MapPlace, directory: Path) -> MapPlace:
    """The same place; a relative path starts from ``directory``."""
    if isinstance(place, PostgreSQL):
        return place
    return place._replace(path=directory / place.path)
