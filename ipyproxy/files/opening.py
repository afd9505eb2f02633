"""Opens a file below a directory; no path can leave the directory. Can avoid waiting for a disk.

Knows paths, descriptors and Linux. The kernel resolves the path and refuses everything that leaves
the directory: ``..``, absolute links, and directories that are moved meanwhile (openat2 with
``RESOLVE_BENEATH``). Before Linux 5.6 there is no openat2; then the path is opened step by step,
and no link is followed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Sequence
from functools import cache
from typing import Self

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
# Number, directory, path, how, size of how: declared once, so that ctypes need not infer them.
_syscall.argtypes = (
    ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t
)  # fmt: skip
_syscall.restype = ctypes.c_long
_fstatfs = _libc.fstatfs
_fstatfs.argtypes = (ctypes.c_int, ctypes.c_void_p)
_Statfs = ctypes.c_char * 256
_OPENAT2 = 437  # the same on every architecture
_HOW = struct.Struct("QQQ")
_NO_XDEV, _NO_MAGICLINKS, _BENEATH, _CACHED = 0x01, 0x02, 0x08, 0x20
_WITHIN = _BENEATH | _NO_MAGICLINKS
_AT_ONCE = _CACHED | _NO_XDEV | _WITHIN

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_AT_FDCWD = -100
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_TRIES = 3
MOST_READ = 128 * 1024
"""Most bytes of one read. With more, the transport would copy the rest again for each TLS record: a
gigabyte takes 0.9 s of CPU with this size (the same as proxying it), and 2.4 s with 512 KiB."""
_scratch = bytearray(MOST_READ)
# Local filesystems (statfs(2), f_type): opening a file that is in the kernel's cache never waits.
# All others (NFS, FUSE) may have to ask a server.
_NEAR = frozenset(
    (
        0xEF53,  # ext4
        0x58465342,  # XFS
        0x9123683E,  # Btrfs
        0xF2F52010,  # F2FS
        0x2FC12FC1,  # ZFS
        0x01021994,  # tmpfs
    )
)
# The errors of openat2 if the kernel lacks it, or if a sandbox does not know it.
_NO_CALL = (errno.ENOSYS, errno.EPERM)


class WouldWaitError(Exception):
    """The call would have to wait for a disk or a server."""


class ChangedError(Exception):
    """The file has changed since it was opened."""


class OpenFile:
    """An open plain file, and its metadata at the time of opening.

    :param is_near: whether the parts that the kernel has cached can be read without waiting.
    """

    __slots__ = ("_handle", "_is_near", "inode", "modified_ns", "name", "size")

    def __init__(self, handle: int, name: bytes, status: os.stat_result, *, is_near: bool) -> None:
        self.name = name
        self.size = status.st_size
        self.inode = status.st_ino
        self.modified_ns = status.st_mtime_ns
        self._handle = handle
        self._is_near = is_near

    def read_at_once(self, offset: int, most: int) -> bytes:
        """Read up to ``most`` bytes at ``offset`` from the kernel's cache.

        Call it only in the reactor's thread.

        :raises WouldWaitError: if none of them are cached.
        :raises ChangedError: if the file has changed.
        """
        if not self._is_near:
            raise WouldWaitError
        into = memoryview(_scratch)[:most]
        try:
            count = os.preadv(self._handle, (into,), offset, os.RWF_NOWAIT)
        except BlockingIOError:
            raise WouldWaitError from None
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            raise WouldWaitError from None
        self._check(count)
        return bytes(into[:count])

    def read(self, offset: int, most: int) -> bytes:
        """Read up to ``most`` bytes at ``offset``; may wait. Raises :class:`ChangedError`."""
        data = os.pread(self._handle, most, offset)
        self._check(len(data))
        return data

    def _check(self, count: int) -> None:
        now = os.fstat(self._handle)
        if not count or (now.st_mtime_ns, now.st_size) != (self.modified_ns, self.size):
            raise ChangedError

    def close(self) -> None:
        """Close the file; no read may be running."""
        os.close(self._handle)


class Directory:
    """An open directory, to open files below it.

    :param path: its path, which may contain links.
    :param at_once: fail rather than wait, here and in :meth:`open`.
    :raises WouldWaitError: with ``at_once``.
    :raises OSError: if there is no such directory.
    """

    def __init__(self, path: bytes, *, at_once: bool = False) -> None:
        self._at_once = at_once
        if at_once:
            self._handle = _openat2(_AT_FDCWD, path, _DIRECTORY, _CACHED)
            if not _is_near(self._handle):
                os.close(self._handle)
                raise WouldWaitError
        else:
            self._handle = os.open(path, _DIRECTORY)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def open(self, segments: Sequence[bytes]) -> OpenFile | None:
        """Open the file at ``segments``; None if that is a directory.

        :raises WouldWaitError: if the directory was opened with ``at_once``.
        :raises OSError: if there is no such plain file, or the path leads out.
        """
        path = b"/".join(segments)
        if self._at_once:
            handle = _openat2(self._handle, path, _READ, _AT_ONCE)
            return _opened(handle, segments[-1], is_near=True)
        for _ in range(_TRIES):
            try:
                return _opened(_openat2(self._handle, path, _READ, _WITHIN), segments[-1])
            except WouldWaitError:
                continue  # something was moved meanwhile
            except OSError as error:
                if error.errno not in _NO_CALL:
                    raise
                return _opened(open_by_steps(self._handle, segments), segments[-1])
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def open_if_there(self, segments: Sequence[bytes]) -> OpenFile | None:
        """Like :meth:`open`, but None also if there is no such plain file, or the path leads out.

        Most files that are looked up in this way do not exist, so it has to be cheap.
        """
        try:
            if not self._at_once:
                return self.open(segments)
            handle = _attempt(self._handle, b"/".join(segments), _READ, _AT_ONCE)
            if handle == -errno.ENOENT:
                return None
            return _opened(_checked(handle, _AT_ONCE), segments[-1], is_near=True)
        except OSError:
            return None


def open_alone(path: bytes, *, at_once: bool = False) -> OpenFile | None:
    """Open the file at ``path``, which may contain links; otherwise like :meth:`Directory.open`."""
    handle = _openat2(_AT_FDCWD, path, _READ, _CACHED) if at_once else os.open(path, _READ)
    return _opened(handle, path.rpartition(b"/")[2])


def _opened(handle: int, name: bytes, *, is_near: bool | None = None) -> OpenFile | None:
    """The file with this descriptor.

    :param is_near: see :class:`OpenFile`; None: find out.
    """
    try:
        status = os.fstat(handle)
        if stat.S_ISREG(status.st_mode):
            near = _is_near(handle) if is_near is None else is_near
            file = OpenFile(handle, name, status, is_near=near)
            handle = -1
            return file
        if stat.S_ISDIR(status.st_mode):
            return None
        raise OSError(errno.EACCES, "not a plain file")
    finally:
        if handle >= 0:
            os.close(handle)


def open_by_steps(root: int, segments: Sequence[bytes]) -> int:
    """Open ``segments`` one after the other; a link on the way is an error."""
    *above, last = segments
    at = os.dup(root)
    try:
        for segment in above:
            below = os.open(segment, _DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
        return os.open(last, _READ | os.O_NOFOLLOW, dir_fd=at)
    finally:
        os.close(at)


def _openat2(at: int, path: bytes, flags: int, resolve: int) -> int:
    """openat2(2). Raises OSError, and :class:`WouldWaitError` for EAGAIN."""
    return _checked(_attempt(at, path, flags, resolve), resolve)


def _checked(handle: int, resolve: int) -> int:
    if handle >= 0:
        return handle
    code = -handle
    # The second error: another filesystem is mounted on the way, which may be remote.
    if code == errno.EAGAIN or (code == errno.EXDEV and resolve & _NO_XDEV):
        raise WouldWaitError
    if resolve & _CACHED and code in (*_NO_CALL, errno.EINVAL):
        raise WouldWaitError
    raise OSError(code, os.strerror(code))


def _attempt(at: int, path: bytes, flags: int, resolve: int) -> int:
    """openat2(2). Returns a descriptor, or the negative number of an error."""
    handle: int = _syscall(_OPENAT2, at, path, _how(flags, resolve), _HOW.size)
    return handle if handle >= 0 else -ctypes.get_errno()


@cache
def _how(flags: int, resolve: int) -> bytes:
    return _HOW.pack(flags, 0, resolve)


def _is_near(handle: int) -> bool:
    found = _Statfs()
    if _fstatfs(handle, found) != 0:
        return False
    (kind,) = struct.unpack_from("l", found)
    return kind in _NEAR
