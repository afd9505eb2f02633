"""The map in a file: a table of SQLite's, or a JSON object; read, and never written or held locked.

Knows files, and how to tell cheaply that one has changed. Everything here may take as long as a
disk does, so it is for a thread.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from ipyproxy.database.watch import AwayError
from ipyproxy.galaxy.entries import KEY_TYPE, MOST_ENTRIES, Row
from ipyproxy.galaxy.source import SELECT

PAUSE = 1.0
"""Seconds from one look at a file to the next."""
_LOCKED_FOR = 0.5
"""Seconds that a writer is waited for within one look; then there is the next."""
_CHANGE_COUNTER = slice(24, 28)
_VERSION = slice(18, 20)
_WITH_LOG = b"\2\2"
_SALTS = 32
_MOST_JSON = 256 * 2**20
# A file that was changed so short a time ago may be changed again without its time telling.
_SETTLED_AFTER = 2_000_000_000


def _is_settled(changed: int) -> bool:
    return time.time_ns() - changed > _SETTLED_AFTER


class _State(NamedTuple):
    """What is seen of a file of SQLite's from outside.

    :ivar main: what changes with the file.
    :ivar has_log: whether it is written by way of a write-ahead log.
    :ivar log: what changes with that; None: there is none.
    """

    main: tuple[Any, ...]
    has_log: bool
    log: tuple[Any, ...] | None


_READ_ONLY, _BESIDE_A_LOG, _UNLOCKED = "mode=ro", "mode=ro&readonly_shm=1", "immutable=1"


def _how(state: _State) -> str:
    """How to open the file so that none is made beside it (sqlite.org/uri.html).

    With a write-ahead log even a reader makes what is missing of it, and Galaxy could not write to
    files of another user.
    """
    if not state.has_log:
        return _READ_ONLY
    return _UNLOCKED if state.log is None else _BESIDE_A_LOG


class _FileSource:
    """A map in one file."""

    pause = PAUSE

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: object = None

    def interrupt(self) -> None:
        """See :class:`~ipyproxy.galaxy.source.Source`. Nothing cuts short what a disk does."""

    def close(self) -> None:
        """See :class:`~ipyproxy.galaxy.source.Source`."""


class SQLiteSource(_FileSource):
    """The table ``gxitproxy`` in a file of SQLite's.

    A look at an unchanged file costs two calls of stat and 32 bytes read. Of a changed one all rows
    are read at once, and the file is closed again before they are looked at: Galaxy's writer waits
    for a reader, some milliseconds here. The file is opened for reading only, so that nothing is
    made where there is none, and no half-written transaction is undone but by Galaxy.
    """

    def look(self) -> Sequence[Row] | None:
        """See :class:`~ipyproxy.galaxy.source.Source`."""
        try:
            seen = self._state()
            if seen == self._seen:
                return None
            how = _how(seen)
            rows = self._rows(how)
            if how == _UNLOCKED and seen != self._state():
                return None  # somebody writes: there is a log now, and the next look reads it
        except OSError as error:
            raise AwayError(f"{self._path} cannot be read ({error.strerror})") from None
        except sqlite3.Error as error:
            raise AwayError(f"{self._path} cannot be read ({error})") from None
        # A log is written again from its beginning, and then its size does not tell either.
        self._seen = seen if seen.log is None or _is_settled(seen.log[1]) else None
        return rows

    def _state(self) -> _State:
        """What changes whenever somebody has written.

        In the file's head there is a counter of its transactions; with a write-ahead log there are
        other salts at the beginning of that, or more of it (sqlite.org/fileformat2.html).
        """
        with self._path.open("rb") as file:
            main = os.fstat(file.fileno())
            head = file.read(_CHANGE_COUNTER.stop)
        try:
            with Path(f"{self._path}-wal").open("rb") as log:
                status = os.fstat(log.fileno())
                ahead = status.st_size, status.st_mtime_ns, log.read(_SALTS)
        except FileNotFoundError:
            ahead = None
        changed = main.st_ino, main.st_size, main.st_mtime_ns, head[_CHANGE_COUNTER]
        return _State(changed, head[_VERSION] == _WITH_LOG, ahead)

    def _rows(self, how: str) -> list[Row]:
        connection = sqlite3.connect(
            f"file:{quote(str(self._path))}?{how}",
            uri=True,
            timeout=_LOCKED_FOR,
            isolation_level=None,
        )
        try:
            # What is no UTF-8 is a row that nothing is made of, and not the end of all others.
            connection.text_factory = lambda text: text.decode("utf-8", "replace")
            rows = connection.execute(SELECT).fetchall()
        finally:
            connection.close()
        return [Row(*row) for row in rows]


class JSONSource(_FileSource):
    """A JSON object with an entry under each key, as gx-it-proxy takes it."""

    def look(self) -> Sequence[Row] | None:
        """See :class:`~ipyproxy.galaxy.source.Source`."""
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                seen = status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
                if seen == self._seen:
                    return None
                text = file.read(_MOST_JSON)
        except OSError as error:
            raise AwayError(f"{self._path} cannot be read ({error.strerror})") from None
        rows = self._rows(text)
        self._seen = seen if _is_settled(status.st_mtime_ns) else None
        return rows

    def _rows(self, text: bytes) -> list[Row]:
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            raise AwayError(f"{self._path} is no JSON; perhaps it is being written") from None
        if not isinstance(document, dict):
            raise AwayError(f"{self._path} is no JSON object with an entry under each key")
        return [_row(key, entry) for key, entry in list(document.items())[:MOST_ENTRIES]]


def _row(key: str, entry: object) -> Row:
    told = entry if isinstance(entry, dict) else {}
    token, host, port, info = (_plain(told.get(name)) for name in ("token", "host", "port", "info"))
    if isinstance(port, str) and port.isascii() and port.isdigit() and len(port) <= 5:
        port = int(port)  # gx-it-proxy takes it so
    return Row(key, KEY_TYPE, token, host, port, info)


def _plain(value: object) -> object:
    """``value``, if it is one that a column could hold."""
    return value if isinstance(value, (str, int)) else None
