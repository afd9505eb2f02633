"""The source for each place that a map may be at. Opens nothing."""

from __future__ import annotations

from ipyproxy.galaxy.files import JSONSource, SQLiteSource
from ipyproxy.galaxy.postgresql import PostgreSQLSource
from ipyproxy.galaxy.source import Source
from ipyproxy.galaxy.spelling import JSONMap, MapPlace, SQLiteMap


def source_of(place: MapPlace) -> Source:
    """What reads the map that is there."""
    if isinstance(place, SQLiteMap):
        return SQLiteSource(place.path)
    if isinstance(place, JSONMap):
        return JSONSource(place.path)
    return PostgreSQLSource(place.conninfo)
