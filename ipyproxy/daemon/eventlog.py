"""The daemon's event log: one line for each event, to a file, a terminal or systemd's journal.

Knows how to format an event, and which of Twisted's events to leave out. Knows nothing of the
access log, or of what events mean.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from twisted.logger import (
    FilteringLogObserver,
    ILogFilterPredicate,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    PredicateResult,
    eventAsText,
    globalLogBeginner,
    textFileLogObserver,
)
from zope.interface import implementer, provider

# syslog(3), as sd-daemon(3) puts it before a line. Twisted has no level for "notice".
_PRIORITIES = {
    LogLevel.debug: 7,
    LogLevel.info: 6,
    LogLevel.warn: 4,
    LogLevel.error: 3,
    LogLevel.critical: 2,
}
ERROR = f"<{_PRIORITIES[LogLevel.error]}>"
"""The prefix of a journal line that reports an error."""


def is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether ``stream`` leads to systemd's journal: systemd.exec(5)."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def observer(logfile: str | None, environment: Mapping[str, str]) -> ILogObserver:
    """Make the observer that writes events.

    :param logfile: a file, which is rotated at a megabyte; "-" or None: standard output.
    """
    writer: ILogObserver
    if logfile and logfile != "-":
        from twisted.python.logfile import LogFile

        writer = textFileLogObserver(LogFile.fromFullPath(logfile))
    elif is_journal(sys.stdout, environment):
        writer = JournalObserver(sys.stdout)
    else:
        writer = textFileLogObserver(sys.stdout)
    return FilteringLogObserver(writer, [without_noise])


def begin_log(level: str) -> None:
    """Log this process's events to standard output, from the level of this name up."""
    least = LogLevel.lookupByName({"warning": "warn"}.get(level.lower(), level.lower()))
    enough = FilteringLogObserver(
        observer(None, os.environ), [LogLevelFilterPredicate(defaultLogLevel=least)]
    )
    globalLogBeginner.beginLoggingTo([enough], redirectStandardIO=False)


@implementer(ILogObserver)
class JournalObserver:
    """Writes events as lines with a priority; the journal adds the time."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __call__(self, event: LogEvent) -> None:
        """Write ``event``; each line of a traceback gets the same priority."""
        text = eventAsText(event, includeTimestamp=False)
        priority = f"<{_PRIORITIES.get(event.get('log_level', LogLevel.info), 6)}>"
        self._out.write("".join(f"{priority}{line}\n" for line in text.splitlines()))
        self._out.flush()


@provider(ILogFilterPredicate)
def without_noise(event: LogEvent) -> Any:
    """Leave out Twisted's events about itself below the level of a warning."""
    ours = str(event.get("log_namespace", "")).startswith("ipyproxy.")
    matters = event.get("log_level", LogLevel.info) >= LogLevel.warn or event.get("isError")
    return PredicateResult.maybe if ours or matters else PredicateResult.no
