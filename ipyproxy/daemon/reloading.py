"""Reloads: reads settings in a thread, puts them in place or refuses them, and reports the result.

Knows the order of a reload, and where the result is reported. The service knows what settings mean.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipyproxy.config import ConfigError
from ipyproxy.daemon.outcome import Outcome, outcome_file, write_outcome
from ipyproxy.daemon.settings import Settings
from ipyproxy.daemon.systemd import Manager
from ipyproxy.net.descriptors import Reactor
from ipyproxy.status.condition import Condition
from ipyproxy.threads import PatientThreads


class Reloadable(Protocol):
    """Takes over new settings."""

    @property
    def state_directory(self) -> Path:
        """The directory for the outcome."""

    def take_over(self, settings: Settings) -> None:
        """Put ``settings`` in place, or raise :class:`ConfigError` and change nothing."""

    def tell_settings(self) -> None:
        """Log the settings in place."""

    def tell_status(self) -> None:
        """Update the status text for the service manager."""


class Reloads:
    """One reload after another.

    :param read: reads the present settings from the disk; raises :class:`ConfigError`.
    :ivar refused: why the last reload was refused, for the service manager; empty if it was not.
    """

    _log = Logger(namespace="ipyproxy.service")

    def __init__(
        self,
        reactor: Reactor,
        read: Callable[[], Settings],
        manager: Manager,
        condition: Condition,
        reloadable: Reloadable,
    ) -> None:
        self._read = read
        self._manager = manager
        self._condition = condition
        self._reloadable = reloadable
        self._reader = PatientThreads(reactor, 1, "settings")
        self._asked = 0
        self.refused = ""

    def ask(self) -> None:
        """Read all settings anew and put them in place; open connections stay.

        Invalid settings change nothing. They are read in a thread, since a disk or a directory of
        users may be slow. A call meanwhile causes one more reload afterwards. The outcome is
        written (:mod:`ipyproxy.daemon.outcome`) before the service manager is told that the reload
        is over.
        """
        self._asked += 1
        if self._asked == 1:
            self._manager.reloading()
            began = time.monotonic()
            reading = self._reader.run(self._read).addCallback(self._reloadable.take_over)
            outcome = reading.addCallbacks(self._done, self._not_done)
            outcome.addCallback(self._write_outcome, began).addBoth(self._over)

    def _done(self, _: None) -> tuple[str, ...]:
        self._condition.reloads += 1
        self.refused = ""
        self._log.info("reloaded")
        self._reloadable.tell_settings()
        return ()

    def _not_done(self, failure: Failure) -> tuple[str, ...]:
        self._condition.refused_reloads += 1
        error = failure.value
        problems = error.problems if isinstance(error, ConfigError) else ("see its log",)
        self.refused = f"reload refused: {problems[0]}"
        if isinstance(error, ConfigError):
            for problem in problems:
                self._log.error("NOT RELOADED, all stays as it was: {problem}", problem=problem)
        else:
            said = "NOT RELOADED, all stays as it was; please report this"
            self._log.failure(said, failure)
        return problems

    def _write_outcome(self, problems: tuple[str, ...], began: float) -> Deferred[None]:
        file = outcome_file(self._reloadable.state_directory)
        outcome = Outcome(os.getpid(), began, problems)
        written: Deferred[None] = self._reader.run(lambda: write_outcome(file, outcome))
        return written.addErrback(
            lambda failure: self._log.warn(
                "what came of the reload cannot be written to {file} ({why}), so 'ipyproxy "
                "reload' and 'systemctl reload' will wait for it in vain",
                file=str(file),
                why=failure.getErrorMessage(),
            )
        )

    def _over(self, _: None) -> None:
        asked, self._asked = self._asked, 0
        self._reloadable.tell_status()
        if asked > 1:
            self.ask()
        else:
            self._manager.ready()
