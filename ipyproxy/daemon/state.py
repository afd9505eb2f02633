"""Where the daemon keeps its state.

Knows the configuration, what systemd says, and homes. Knows nothing of what is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ipyproxy.config import Config, ConfigError
from ipyproxy.daemon.account import SERVICE


def state_directory(
    config: Config, environment: Mapping[str, str], home: Path | None = None
) -> Path:
    """Where state is kept: as configured, as systemd says, or else in the user's home.

    An account of the proxy's own keeps it in its home itself, which is then the directory that
    systemd would have named.

    :param home: of the account that the daemon will run as; None: of this process.
    :raises ConfigError: where there is no home to fall back on.
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
