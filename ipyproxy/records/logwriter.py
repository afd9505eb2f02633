"""Writes log lines in a thread, so that a slow disk or a stuck pipe blocks nobody.

Knows files, descriptors and lines. Knows nothing of their content.
"""

from __future__ import annotations

import os
from collections import deque
from enum import Enum
from queue import SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

if TYPE_CHECKING:
    from pathlib import Path

_log: Final = Logger(namespace="ipyproxy.logs")

BATCH_BYTES: Final = 65536
"""If so many bytes are gathered, :class:`LogWriter` passes them to its thread without
:meth:`flush`."""
WAITING_BYTES: Final = 16 * 1024 * 1024
"""Most bytes of lines that wait for a stuck file or pipe; further lines are dropped."""
_RETRY = 1.0


class _Order(Enum):
    """Orders to the writing thread, between batches of lines."""

    REOPEN = "reopen"
    STOP = "stop"


class LogWriter:
    """Writes lines to a file or a descriptor in a thread of its own; its caller never waits.

    Call all methods in the reactor's thread. Lines are gathered until :meth:`flush`, which should
    be called about every half second, or until :data:`BATCH_BYTES`. A failed write (full disk, pipe
    without a reader) is repeated until it succeeds; meanwhile lines wait, up to
    :data:`WAITING_BYTES`. Failures, and the number of dropped lines, are logged by Twisted's
    logger.

    :param destination: the path of a file to append to, or a descriptor (1: standard output), which
        is not closed here.
    """

    def __init__(self, destination: Path | int, *, waiting_bytes: int = WAITING_BYTES) -> None:
        self._destination = destination
        self._most_waiting = waiting_bytes
        self._lines: list[bytes] = []
        self._size = 0
        self._queue: SimpleQueue[bytes | _Order] = SimpleQueue()
        self._worker: Thread | None = None
        self._descriptor = -1
        # Only one thread writes each counter, so no lock is needed.
        self._queued_lines = self._queued_bytes = 0  # the reactor's
        self._written_lines = self._written_bytes = 0  # the writing thread's
        self._dropped = self._told_dropped = 0
        self._reopen_asked = False
        self._closing = Event()
        self._news: deque[str] = deque(maxlen=16)

    @property
    def dropped(self) -> int:
        """Lines lost so far."""
        return self._dropped

    def start(self) -> None:
        """Open the file (created with mode 0640, reduced by the umask) and start the thread.

        Call it after the last fork, which threads do not survive. :meth:`write` may be called
        before.

        :raises OSError: if the file cannot be opened.
        """
        self._descriptor = self._open()
        self._worker = Thread(target=self._run, name="log writer", daemon=True)
        self._worker.start()

    def write(self, line: bytes) -> None:
        """Add one line, which ends with a newline."""
        self._lines.append(line)
        self._size += len(line)
        if self._size >= BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Pass the gathered lines to the thread, and log what went wrong."""
        if self._lines:
            if self._waiting + self._size > self._most_waiting:
                self._dropped += len(self._lines)
            else:
                self._queued_lines += len(self._lines)
                self._queued_bytes += self._size
                self._queue.put(b"".join(self._lines))
            self._lines.clear()
            self._size = 0
        # One message for each period of trouble, not one for each batch that is dropped.
        self._tell(dropped=self._waiting <= self._most_waiting // 2)

    def reopen(self) -> None:
        """Open a new file at the same path, after logrotate has renamed the old one.

        Earlier lines go to the old file, unless it is stuck. If the new one cannot be opened, the
        old one stays. A descriptor stays too.
        """
        self.flush()
        self._reopen_asked = True
        self._queue.put(_Order.REOPEN)

    def close(self, timeout: float = 5.0) -> None:
        """Write the rest and end the thread; waits up to ``timeout`` seconds.

        Lines that a stuck pipe or a full disk has not taken by then are dropped and counted.
        """
        self.flush()
        worker, self._worker = self._worker, None
        if worker is None:
            return
        self._closing.set()
        self._queue.put(_Order.STOP)
        worker.join(timeout)
        self._dropped += self._queued_lines - self._written_lines
        self._tell(dropped=True)

    @property
    def _waiting(self) -> int:
        return self._queued_bytes - self._written_bytes

    def _tell(self, *, dropped: bool) -> None:
        while self._news:
            news = self._news.popleft()
            _log.warn("{destination}: {news}", destination=self._name, news=news)
        if dropped and self._dropped > self._told_dropped:
            count = self._dropped - self._told_dropped
            self._told_dropped = self._dropped
            _log.warn(
                "{destination}: {count} log lines were dropped", destination=self._name, count=count
            )

    @property
    def _name(self) -> str:
        if isinstance(self._destination, int):
            return f"descriptor {self._destination}"
        return str(self._destination)

    def _open(self) -> int:
        if isinstance(self._destination, int):
            return self._destination
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
        return os.open(self._destination, flags, 0o640)

    # Called in the writing thread.

    def _run(self) -> None:
        while (item := self._queue.get()) is not _Order.STOP:
            if item is _Order.REOPEN:
                self._reopen()
            elif not self._deliver(item):
                break
        if self._descriptor != self._destination:
            os.close(self._descriptor)

    def _deliver(self, batch: bytes) -> bool:
        """Write all of ``batch``, however long it takes.

        Returns False if :meth:`close` interrupted it.
        """
        done = 0
        failing = False
        while done < len(batch):
            last_try = self._closing.is_set()
            try:
                done += os.write(self._descriptor, memoryview(batch)[done:])
            except OSError as error:
                if not failing:
                    self._news.append(f"writing fails, and is tried again: {error.strerror}")
                    failing = True
                if self._reopen_asked and self._reopen():
                    done = batch.rfind(b"\n", 0, done) + 1  # the new file starts with a whole line
                elif last_try:
                    self._written_lines += batch.count(b"\n", 0, done)
                    return False
                else:
                    self._closing.wait(_RETRY)
        if failing:
            self._news.append("writing works again")
        self._written_lines += batch.count(b"\n")
        self._written_bytes += len(batch)
        return True

    def _reopen(self) -> bool:
        """Open the file that is now at the path. Returns False if it is the same one."""
        self._reopen_asked = False
        try:
            descriptor = self._open()
        except OSError as error:
            self._news.append(f"not reopened, the old file is kept: {error.strerror}")
            return False
        if descriptor == self._descriptor:
            return False
        os.close(self._descriptor)
        self._descriptor = descriptor
        return True
