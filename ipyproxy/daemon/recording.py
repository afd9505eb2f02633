"""The access log and the figures of one process; the log can be replaced.

Knows where the log goes and how it is written. Knows nothing of requests.
"""

from __future__ import annotations

import time
from pathlib import Path

from ipyproxy.config import Config, ConfigError
from ipyproxy.daemon.components import Components
from ipyproxy.records.accesslog import AccessLog
from ipyproxy.records.logwriter import LogWriter
from ipyproxy.records.recorder import Recorder
from ipyproxy.server.server import Record

_STANDARD_OUTPUT = 1


class Recording:
    """The recorder, and its log writer.

    Replacing the log takes two steps: :meth:`prepare` may fail, :meth:`put` may not.
    """

    def __init__(self, components: Components, config: Config) -> None:
        self._path = config.log.access
        self._writer = _writer(self._path)
        access_log = AccessLog(self._writer.write, config.log.format, time.time)
        self._recorder = Recorder(components.statistics, access_log, components.clients)

    @property
    def record(self) -> Record:
        """The function to call with each request when it is over."""
        return self._recorder.record

    def start(self) -> None:
        """Start to write. Raises :class:`ConfigError`."""
        _start(self._writer)

    def prepare(self, config: Config) -> LogWriter:
        """The writer for ``config``: the present one if the log's place does not change.

        :raises ConfigError: if the log cannot be written there.
        """
        if config.log.access == self._path:
            return self._writer
        writer = _writer(config.log.access)
        _start(writer)
        return writer

    def discard(self, writer: LogWriter) -> None:
        """Drop a prepared ``writer``."""
        if writer is not self._writer:
            writer.close()  # otherwise its thread would run for ever

    def put(self, writer: LogWriter, config: Config) -> None:
        """Use ``writer`` and the settings of ``config`` from now on."""
        self._recorder.access_log = AccessLog(writer.write, config.log.format, time.time)
        if writer is self._writer:
            writer.reopen()
        else:
            self._writer.close()
            self._writer, self._path = writer, config.log.access

    def sweep(self, now: float) -> None:
        """Write the waiting lines."""
        self._recorder.sweep(now)
        self._writer.flush()

    def reopen(self) -> None:
        """Write to the file that is now under the log's path, after a rotation."""
        self._writer.reopen()

    def close(self) -> None:
        """Write the rest and close."""
        self._writer.close()


def _writer(access: str) -> LogWriter:
    if access == "-":
        return LogWriter(_STANDARD_OUTPUT)
    return LogWriter(Path(access or "/dev/null"))


def _start(writer: LogWriter) -> None:
    try:
        writer.start()
    except OSError as error:
        raise ConfigError([f"log.access: {error.strerror}"]) from None
