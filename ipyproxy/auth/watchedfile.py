"""A file that is read again whenever it has changed.

Knows files. Knows nothing of their content, which a reader parses.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from twisted.logger import Logger

T = TypeVar("T")


class UnusableFileError(Exception):
    """A file cannot be used; the message says which one, why, and what to do."""


class WatchedFile(Generic[T]):
    """The file at ``path``, parsed by ``read``. Reading may wait for a disk.

    A file that cannot be used any more lets nobody in: its former content is not used.

    :param read: parses the text; raises ValueError with what is wrong.
    :param secret: whether only the service's user and group may be able to read it.
    :raises UnusableFileError: if the file cannot be used as it is now.
    """

    log = Logger(namespace="ipyproxy.auth.watched")

    def __init__(self, path: Path, read: Callable[[str], T], *, secret: bool) -> None:
        self._path = path
        self._read = read
        self._secret = secret
        self._seen = self._look()
        self._content = self._load()

    def content(self) -> T:
        """The present content.

        :raises UnusableFileError: as above.
        """
        seen = self._look()
        if seen != self._seen:
            self._content = self._load()
            self._seen = seen
            self.log.info("{path} has changed and was read again", path=str(self._path))
        return self._content

    def _look(self) -> tuple[int, ...]:
        """The state of the file, which differs after each change."""
        try:
            status = self._path.stat()
        except OSError as error:
            raise self._unusable(error) from error
        if self._secret and status.st_mode & stat.S_IROTH:
            raise UnusableFileError(
                f"{self._path} can be read by all users of this machine, who could then let "
                "themselves in; make new keys, and chmod it to 640."
            )
        return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino

    def _load(self) -> T:
        try:
            return self._read(self._path.read_text("utf-8"))
        except OSError as error:
            raise self._unusable(error) from error
        except ValueError as error:
            why = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error
            raise UnusableFileError(f"{self._path} cannot be used: {why}.") from error

    def _unusable(self, error: OSError) -> UnusableFileError:
        return UnusableFileError(
            f"{self._path} cannot be read ({error.strerror}); check the path, and that the "
            "service's user may read it."
        )
