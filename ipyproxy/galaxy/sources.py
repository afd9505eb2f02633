"""Chooses the source for each kind of map. Opens nothing."""

from __future__ import annotations

from ipyproxy.galaxy.postgresql import PostgreSQLSource
from ipyproxy.galaxy.source import Source
from ipyproxy.galaxy.spelling import JSONMap, MapPlace, SQLiteMap


def source_of(place: MapPlace) -> Source:
    """The source that reads the map at ``place``."""
    if not isinstance(place, SQLiteMap | JSONMap):
        return PostgreSQLSource(place.conninfo)
    # Imported only when needed, since SQLite takes 0.9 MiB.
    from ipyproxy.galaxy.files import JSONSource, SQLiteSource

    source = SQLiteSource if isinstance(place, SQLiteMap) else JSONSource
    return source(place.path)
