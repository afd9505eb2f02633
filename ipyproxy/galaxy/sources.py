"""The source for each place that a map may be at. Opens nothing."""

from __future__ import annotations

from ipyproxy.galaxy.postgresql import PostgreSQLSource
from ipyproxy.galaxy.source import Source
from ipyproxy.galaxy.spelling import JSONMap, MapPlace, SQLiteMap


def source_of(place: MapPlace) -> Source:
    """What reads the map that is there."""
    if not isinstance(place, SQLiteMap | JSONMap):
        return PostgreSQLSource(place.conninfo)
    # Nobody else pays for SQLite, which takes 0.9 MiB.
    from ipyproxy.galaxy.files import JSONSource, SQLiteSource

    source = SQLiteSource if isinstance(place, SQLiteMap) else JSONSource
    return source(place.path)
