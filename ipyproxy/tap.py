"""The command line of ``twistd ipyproxy``.

Knows twistd, the environment, the configuration file and the global reactor. Knows nothing of
how the service is put together, and imports it only when it is to start.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, ClassVar, NoReturn, cast

from twisted.python import usage

from ipyproxy import __version__
from ipyproxy.config import FLAGS, Config, ConfigError, anchored, parse
from ipyproxy.config.file import read_config

if TYPE_CHECKING:
    from twisted.application.service import IService
    from twisted.internet.interfaces import IReactorCore

    from ipyproxy.daemon.settings import Settings


class Options(usage.Options):
    """The options; once parsed, ``config`` is the whole configuration, file and all.

    Whatever is wrong ends the process with one line for each problem and status 2, before twistd
    prints its usage or goes into the background.
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
        ["ports", None, None, "Ports of the notebook servers. [default: 10000-14999]"],
    ]

    config: Config

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
        # twistd changes the working directory later, and a reload reads files again.
        self._here = Path.cwd()
        try:
            super().parseOptions(options)
            self.config = self.load()
            if self["check"]:
                _check(self.config)
        except usage.UsageError as error:
            _give_up([str(error)])
        except ConfigError as error:
            _give_up(error.problems)
        if self["check"]:
            sys.stdout.write("configuration is valid\n")
            sys.exit(0)

    def load(self) -> Config:
        """The configuration as it stands now. Raises :class:`ConfigError`."""
        given = {key: self.get(flag.removeprefix("--")) for key, flag in FLAGS.items()}
        overrides = {key: value for key, value in given.items() if value is not None}
        here = self._here
        for key in ("tls.certificate", "tls.key"):
            if overrides.get(key):
                overrides[key] = str(here / overrides[key])
        if self["config"] is None:
            return anchored(parse("", overrides, ""), here)
        file = here / self["config"]
        return read_config(file, overrides, self["config"])


def _check(config: Config) -> None:
    from ipyproxy.daemon.settings import check

    sys.stderr.writelines(f"ipyproxy: {warning}\n" for warning in check(config))


def _give_up(problems: Iterable[str]) -> NoReturn:
    sys.stderr.writelines(f"ipyproxy: {problem}\n" for problem in problems)
    sys.exit(2)


def state_directory(config: Config, environment: Mapping[str, str]) -> Path:
    """Where state is kept: as configured, as systemd says, or else in the user's home.

    Raises ConfigError where there is no home to fall back on.
    """
    if config.state.directory is not None:
        return config.state.directory
    # systemd.exec(5): several StateDirectory= come as one list with colons.
    assigned = environment.get("STATE_DIRECTORY", "").partition(":")[0]
    if assigned:
        return Path(assigned)
    try:
        return Path.home() / ".local" / "state" / "ipyproxy"
    except RuntimeError:
        raise ConfigError(["state.directory: must be set, for this user has no home"]) from None


def makeService(options: Options) -> IService:
    """Make the service that twistd runs; what keeps it from starting ends the process."""
    # What is loaded at the start stays to the end. To look through it for garbage takes long: now,
    # and again whenever people wait.
    gc.disable()
    try:
        return _make_service(options)
    finally:
        gc.freeze()
        gc.enable()


def _make_service(options: Options) -> IService:
    from twisted.internet import reactor

    from ipyproxy.clock import measure_durations
    from ipyproxy.daemon.service import make_service
    from ipyproxy.daemon.settings import load
    from ipyproxy.daemon.signals import on_signal_too, on_signals
    from ipyproxy.daemon.systemd import Manager

    def read() -> Settings:
        config = options.load()
        return load(config, state_directory(config, os.environ))

    measure_durations(reactor)
    try:
        service = make_service(read, cast("IReactorCore", reactor), Manager(os.environ))
    except ConfigError as error:
        _give_up(error.problems)
    signals = {
        Signals.SIGHUP: service.reload,
        Signals.SIGINT: service.stop,
        Signals.SIGTERM: service.stop,
        Signals.SIGQUIT: service.retire,
    }
    on_signals(reactor, signals)
    on_signal_too(reactor, Signals.SIGUSR1, service.reopen_log)
    return service
