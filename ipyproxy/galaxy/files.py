"""The map in a file: an SQLite table or a JSON object. The file is never written, nor kept locked.

Knows files, and how to tell cheaply that one has changed. All calls may wait for a disk, so they
belong in a thread.
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
"""Seconds between two checks of a file."""
_LOCKED_FOR = 0.5
"""Seconds that one check waits for a writer."""
_CHANGE_COUNTER = slice(24, 28)
_VERSION = slice(18, 20)
_WITH_LOG = b"\2\2"
_SALTS = 32
_MOST_JSON = 256 * 2**20
# A file that was changed so recently may change again without a new time stamp.
_SETTLED_AFTER = 2_000_000_000


def _is_settled(changed: int) -> bool:
    return time.time_ns() - changed > _SETTLED_AFTER


class _State(NamedTuple):
    """The state of an SQLite file, as seen without opening it by SQLite.

    :ivar main: differs if the file has changed.
    :ivar has_log: whether it is written through a write-ahead log.
    :ivar log: differs if the log has changed; None: there is none.
    """

    main: tuple[Any, ...]
    has_log: bool
    log: tuple[Any, ...] | None


_READ_ONLY, _BESIDE_A_LOG, _UNLOCKED = "mode=ro", "mode=ro&readonly_shm=1", "immutable=1"


def _how(state: _State) -> str:
    """How to open the file so that SQLite makes no file beside it (sqlite.org/uri.html).

    With a write-ahead log even a reader creates missing files, and Galaxy could not write to files
    of another user.
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
        """See :class:`~ipyproxy.galaxy.source.Source`. Reading from a disk can't be interrupted."""

    def close(self) -> None:
        """See :class:`~ipyproxy.galaxy.source.Source`."""


class SQLiteSource(_FileSource):
    """The table ``gxitproxy`` in an SQLite file.

    A check of an unchanged file costs two calls of stat and a read of 32 bytes. From a changed file
    all rows are read at once, and the file is closed before they are parsed, because Galaxy's
    writer has to wait for a reader: here some milliseconds. The file is opened read-only, so that
    it is never created here, and that only Galaxy rolls back an incomplete transaction.
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
                return None  # a writer has created a log, which the next look reads
        except OSError as error:
            raise AwayError(f"{self._path} cannot be read ({error.strerror})") from None
        except sqlite3.Error as error:
            raise AwayError(f"{self._path} cannot be read ({error})") from None
        # A log may be rewritten from its beginning, so its size is not enough.
        self._seen = seen if seen.log is None or _is_settled(seen.log[1]) else None
        return rows

    def _state(self) -> _State:
        """The state, which differs after every write.

        The file's head has a counter of transactions. With a write-ahead log, the salts at its
        beginning change, or it grows (sqlite.org/fileformat2.html).
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
            # A row that is not UTF-8 is skipped; the other rows are still read.
            connection.text_factory = lambda text: text.decode("utf-8", "replace")
            rows = connection.execute(SELECT).fetchall()
        finally:
            connection.close()
        return [Row(*row) for row in rows]


class JSONSource(_FileSource):
    """A JSON object with one entry for each key, in gx-it-proxy's format."""

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
        port = int(port)  # gx-it-proxy accepts this too
    return Row(key, KEY_TYPE, token, host, port, info)


def _plain(value: object) -> object:
    """``value``, if a column could have it."""
    return value if isinstance(value, (str, int)) else None
