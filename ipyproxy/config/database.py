"""Reads the URL of a PostgreSQL database. Knows nothing of what is stored there."""

from __future__ import annotations

from importlib.util import find_spec

from ipyproxy.config.values import RefusedError, refused
from ipyproxy.database.place import PostgreSQL, read_database


def read_optional_database(value: object) -> PostgreSQL | None:
    """Read the URL of a PostgreSQL database; the empty string for none."""
    if value == "":
        return None
    text = value if isinstance(value, str) else ""
    try:
        database = read_database(text)
        if database is None:
            raise ValueError("is no URL such as postgresql://ipyproxy@db.example.org/ipyproxy")
    except ValueError as error:
        raise refused(shown(value), str(error)) from None
    return database


def shown(value: object) -> object:
    """``value`` for an error message, without the password that a URL may contain."""
    is_plain = isinstance(value, str) and "@" not in value and "password" not in value
    return value if is_plain else "..."


def take_psycopg(key: str) -> None:
    """Refuse the value of ``key`` if psycopg is not installed."""
    if not has_psycopg():
        why = "needs psycopg: pip install 'ipyproxy[postgresql]', or Debian's python3-psycopg"
        raise RefusedError(why, key=key)


def has_psycopg() -> bool:
    """Whether psycopg is installed."""
    return find_spec("psycopg") is not None
