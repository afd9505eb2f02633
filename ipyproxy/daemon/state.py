"""Finds the daemon's state directory.

Knows the configuration, systemd's environment, and homes. Knows nothing of the files in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ipyproxy.config import Config, ConfigError
from ipyproxy.daemon.account import SERVICE


def state_directory(
    config: Config, environment: Mapping[str, str], home: Path | None = None
) -> Path:
    """The state directory: the configured one, systemd's, or one in the user's home.

    For the proxy's own account it is the home itself, which is the same directory as systemd's.

    :param home: the home of the daemon's account; None: that of this process.
    :raises ConfigError: if there is no home to use.
    """
    if config.state.directory is not None:
        return config.state.directory
    # systemd.exec(5): several StateDirectory= come as one list with colons.
    assigned = environment.get("STATE_DIRECTORY", "").partition(":")[0]
    if assigned:
        return Path(assigned)
    try:
        home = home or Path.home()
    except RuntimeError:
        raise ConfigError(["state.directory: must be set, for this user has no home"]) from None
    return home if home.name == SERVICE else home / ".local" / "state" / "ipyproxy"
