"""Parses the URL of a PostgreSQL database, as libpq and SQLAlchemy spell it. Opens nothing.

Pure.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_URL = re.compile(r"postgres(?:ql)?(?:\+[a-z0-9_]+)?://(?P<rest>.*)", re.DOTALL)
_PASSWORD = re.compile(r"(?<=//)(?P<user>[^:/?@]*:)[^@]*(?=@)|(?<=password=)[^&]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")


class PostgreSQL(NamedTuple):
    """A PostgreSQL database.

    :ivar conninfo: a libpq connection URI, perhaps with a password.
    """

    conninfo: str

    def __str__(self) -> str:
        return _PASSWORD.sub(lambda found: (found["user"] or "") + "...", self.conninfo)


def read_database(text: str) -> PostgreSQL | None:
    """The database that a URL names; None if the URL is of another kind.

    The name of a driver (``postgresql+psycopg2``) matters only to SQLAlchemy and is dropped.

    :raises ValueError: with what is wrong.
    """
    url = _URL.fullmatch(text)
    if url is None:
        return None
    rest = url["rest"]
    if not rest or "\0" in rest:
        raise ValueError("names no database")
    # libpq would misread a part of the password, and show it in its error message.
    user, _, place = rest.partition("@")
    if "@" in (rest if "/" in user else place).partition("?")[0]:
        raise ValueError("has a password in which @ or / is not percent-encoded")
    if _BAD_ESCAPE.search(rest):
        raise ValueError("has a % that is not percent-encoded; write %25 for it")
    return PostgreSQL("postgresql://" + rest)
