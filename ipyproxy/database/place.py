"""Where a database of PostgreSQL's is, as libpq and SQLAlchemy spell it. Opens nothing. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

_URL = re.compile(r"postgres(?:ql)?(?:\+[a-z0-9_]+)?://(?P<rest>.*)", re.DOTALL)
_PASSWORD = re.compile(r"(?<=//)(?P<user>[^:/?@]*:)[^@]*(?=@)|(?<=password=)[^&]*")


class PostgreSQL(NamedTuple):
    """A database of PostgreSQL's.

    :ivar conninfo: a connection URI of libpq's, perhaps with a password.
    """

    conninfo: str

    def __str__(self) -> str:
        return _PASSWORD.sub(lambda found: (found["user"] or "") + "...", self.conninfo)


def read_database(text: str) -> PostgreSQL | None:
    """The database that a URL names; None if the URL is of another kind.

    The name of a driver (``postgresql+psycopg2``) is SQLAlchemy's business, and left out.

    :raises ValueError: with what is wrong.
    """
    url = _URL.fullmatch(text)
    if url is None:
        return None
    rest = url["rest"]
    if not rest or "\0" in rest:
        raise ValueError("names no database")
    authority, _, path = rest.partition("?")[0].partition("/")
    if authority.count("@") > 1 or "@" in path:
        # libpq would take a part of the password for a host, and say so in what it complains.
        raise ValueError("has a password in which @ or / is not percent-encoded")
    return PostgreSQL("postgresql://" + rest)
