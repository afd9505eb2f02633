"""Files in the state directory: written atomically, and never where others may write.

Knows directories, descriptors and modes. Knows nothing of what is in a file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


class NotOwnError(PermissionError):
    """Others may write to the directory, so its files could be theirs."""

    def __init__(self, directory: Path) -> None:
        why = "others may write to that directory; make it the service's own, with mode 0700"
        super().__init__(errno.EPERM, why, str(directory))


@contextlib.contextmanager
def own_directory(directory: Path) -> Iterator[int]:
    """A descriptor of ``directory``; it is created if missing, with its parents.

    Operations relative to the descriptor are in the same directory that was checked.

    :raises OSError: :class:`NotOwnError`, or any other error.
    """
    for missing in (directory, *directory.parents)[::-1]:
        missing.mkdir(mode=0o700, exist_ok=True)
    with _opened(directory) as descriptor:
        yield descriptor


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    # systemd's state directories may be symbolic links, which belong to root.
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
            raise NotOwnError(directory)
        yield descriptor
    finally:
        os.close(descriptor)


def read(file: Path) -> bytes:
    """Read ``file``; a symbolic link is not followed.

    :raises OSError: as :func:`own_directory` does, or if it cannot be read.
    """
    with _opened(file.parent) as directory:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(file.name, flags, dir_fd=directory)
        with os.fdopen(descriptor, "rb") as opened:
            return opened.read()


def write(file: Path, content: bytes) -> None:
    """Replace ``file`` by ``content``, readable only by the service's user.

    :raises OSError: as :func:`own_directory` does, or if it cannot be written.
    """
    with own_directory(file.parent) as directory:
        fresh = f".{file.name}.{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(fresh, flags, 0o600, dir_fd=directory)
        try:
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(descriptor)
            os.replace(fresh, file.name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            os.unlink(fresh, dir_fd=directory)
            raise
