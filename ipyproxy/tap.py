"""The command line of ``twistd ipyproxy``.

Knows twistd, the environment, the configuration file and the global reactor. Knows nothing of how
the service is made, and imports it only at the start.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, ClassVar, NoReturn, cast

from twisted.python import usage

from ipyproxy import __version__
from ipyproxy.config import FLAGS, Config, ConfigError, anchored, parse
from ipyproxy.config.file import lines_of, read_config, with_places

if TYPE_CHECKING:
    from twisted.application.service import IService
    from twisted.logger import ILogObserver

    from ipyproxy.daemon.account import Account
    from ipyproxy.daemon.service import MainReactor
    from ipyproxy.daemon.settings import Settings


class Options(usage.Options):
    """The options; once parsed, ``config`` is the whole configuration, including the file.

    Any error ends the process with status 2 and one line for each problem, before twistd prints its
    usage or goes into the background.
    """

    synopsis = "[options]"
    optFlags: ClassVar = [
        ["check", None, "Look at configuration and certificates, say what is wrong, and exit."],
    ]
    optParameters: ClassVar = [
        ["config", None, None, "The configuration file. What is given here as well wins over it."],
        ["https", None, None, "Port or endpoint for HTTPS. [default: 8443]"],
        ["http", None, None, "Port or endpoint for plain HTTP. [default: none]"],
        ["certificate", None, None, "Certificate chain, a PEM file."],
        ["key", None, None, "The certificate's key, a PEM file."],
        ["user", None, None, "The user to become once the ports are open; takes root."],
        ["ports", None, None, "Ports of the notebook servers. [default: 10000-14999]"],
    ]

    config: Config
    account: Account | None = None
    """The account that the process changes to; None: it does not change."""

    def opt_trusted_origin(self, origin: str) -> None:
        """Origin of other pages that may use the notebooks (may be repeated)."""
        self.setdefault("trusted-origin", []).append(origin)

    def opt_version(self) -> NoReturn:
        """Print ipyproxy's version and exit."""
        sys.stdout.write(f"ipyproxy {__version__}\n")
        sys.exit(0)

    def parseArgs(self, *arguments: str) -> None:
        """Take options only."""
        if arguments:
            raise usage.UsageError(f"unexpected argument {arguments[0]}")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read command line and file, or end the process."""
        # Make the path absolute: twistd changes the working directory, and a reload reads files
        # again.
        self._here = Path.cwd()
        try:
            super().parseOptions(options)
            if self["check"]:
                self._check()
            self.account = self._find_account()
            self.config = self.load()
            self._prepare_twistd()
        except usage.UsageError as error:
            _give_up([str(error)])
        except ConfigError as error:
            _give_up(error.problems)

    def _check(self) -> NoReturn:
        from ipyproxy.daemon.checking import run_check

        sys.exit(run_check(self.load, self.placed, self.user))

    @property
    def user(self) -> str | int | None:
        """The user (name or number) that the process changes to once its ports are open, if any."""
        by_twistd = None if self.parent is None else self.parent.get("uid")
        return self["user"] if self["user"] is not None else by_twistd

    def _find_account(self) -> Account | None:
        if self.user is None:
            return None
        from ipyproxy.daemon.account import NoAccountError, find_account

        if os.geteuid() != 0:
            raise ConfigError(["--user: only root can become another user"])
        try:
            return find_account(self.user)
        except NoAccountError as error:
            raise ConfigError([f"--user: {error}"]) from None

    def rights(self) -> contextlib.AbstractContextManager[None]:
        """Act with the rights of the user that the process will change to.

        So files that this user cannot read or write are an error at once, and not at the first
        reload.
        """
        if self.account is None or os.geteuid() != 0:
            return contextlib.nullcontext()
        from ipyproxy.daemon.account import acting_as

        return acting_as(self.account)

    def _prepare_twistd(self) -> None:
        """Set twistd's own options: the user, and the log observer."""
        twistd = self.parent
        if twistd is None:
            return
        if self.account is not None:
            twistd["uid"] = self.account.uid
            if twistd["gid"] is None:
                twistd["gid"] = self.account.gid
        if not twistd["logger"] and not twistd["syslog"]:
            # twistd takes only the observer's name, without an argument.
            _log.file = twistd["logfile"]
            twistd["logger"] = f"{__name__}.log_observer"

    def load(self) -> Config:
        """Read the present configuration. Raises :class:`ConfigError`."""
        file = self._file
        if file is None:
            return anchored(parse("", self._overrides(), ""), self._here)
        return read_config(file, self._overrides(), self["config"])

    def placed(self, problems: Iterable[str]) -> list[str]:
        """``problems``, each with the line of the file or the option that it is about."""
        return list(with_places(problems, self._file, self._overrides(), self["config"]))

    def unused_listeners(self, port_of: Callable[[object], int | None]) -> Iterator[str]:
        """Ports in the file that are not used, because systemd has opened others.

        :param port_of: returns the port of a socket passed by systemd.
        """
        try:
            in_file = read_config(self._file, {}, self["config"]) if self._file else Config()
        except ConfigError:
            return  # the file is complete only with the command line
        lines = lines_of(self._file)
        for key, ours in ("https", in_file.listen.https), ("http", in_file.listen.http):
            line = lines.get(f"listen.{key}")
            port = port_of(self._overrides().get(f"listen.{key}"))
            if line and port is not None and ours != port:
                yield (
                    f"{self['config']}:{line}: listen.{key}: {ours} has no effect: ipyproxy.socket "
                    f"says where systemd listens, and that is port {port}"
                )

    @property
    def _file(self) -> Path | None:
        return None if self["config"] is None else self._here / self["config"]

    def _overrides(self) -> dict[str, object]:
        given = {key: self.get(flag.removeprefix("--")) for key, flag in FLAGS.items()}
        overrides = {key: value for key, value in given.items() if value is not None}
        for key in ("tls.certificate", "tls.key"):
            if overrides.get(key):
                overrides[key] = str(self._here / overrides[key])
        return overrides


class _Log:
    """The destination of twistd's log."""

    file: str | None = None


_log = _Log()


def log_observer() -> ILogObserver:
    """The observer that writes the log of this process."""
    from ipyproxy.daemon.eventlog import observer

    return observer(_log.file, os.environ)


def _give_up(problems: Iterable[str]) -> NoReturn:
    from ipyproxy.daemon.eventlog import ERROR, is_journal

    priority = ERROR if is_journal(sys.stderr, os.environ) else ""
    sys.stderr.writelines(f"{priority}ipyproxy: {problem}\n" for problem in problems)
    sys.exit(2)


def makeService(options: Options) -> IService:
    """Make the service that twistd runs; an error ends the process."""
    # Objects loaded at the start stay to the end. Searching them for garbage takes long, now and
    # again later, while clients wait.
    gc.disable()
    try:
        return _make_service(options)
    finally:
        gc.freeze()
        gc.enable()


def _make_service(options: Options) -> IService:
    from twisted.internet import reactor as found

    from ipyproxy.clock import measure_durations
    from ipyproxy.daemon.service import make_service
    from ipyproxy.daemon.settings import check, load
    from ipyproxy.daemon.signals import on_signal_too, on_signals
    from ipyproxy.daemon.state import state_directory
    from ipyproxy.daemon.systemd import Manager, handed_over_port

    home = options.account and options.account.home

    def read() -> Settings:
        try:
            with options.rights():
                config = options.load()
                settings = load(config, state_directory(config, os.environ, home))
        except ConfigError as error:
            raise ConfigError(options.placed(error.problems)) from error
        unused = options.unused_listeners(handed_over_port)
        return settings._replace(doubts=(*options.placed(settings.doubts), *unused))

    if options.account is not None:
        # The user that the process changes to may not be able to read Python's own files, some of
        # which are loaded at their first use.
        with contextlib.suppress(ConfigError):
            check(options.config, state_directory(options.config, os.environ, home))

    reactor = cast("MainReactor", found)
    measure_durations(reactor)
    try:
        service = make_service(read, reactor, Manager(os.environ))
    except ConfigError as error:
        _give_up(error.problems)
    signals = {
        Signals.SIGHUP: service.reload,
        Signals.SIGINT: service.stop,
        Signals.SIGTERM: service.stop,
        Signals.SIGQUIT: service.hand_over,
    }
    on_signals(reactor, signals)
    on_signal_too(reactor, Signals.SIGUSR1, service.reopen_log)
    return service
