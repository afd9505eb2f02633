"""The configuration: reads TOML text and options into a frozen :class:`Config`."""

from ipyproxy.config.auth import Auth, AuthRule
from ipyproxy.config.galaxy import Galaxy
from ipyproxy.config.limits import Health, Limits, Timeouts
from ipyproxy.config.reading import FLAGS, ConfigError, parse
from ipyproxy.config.routes import RouteEntry
from ipyproxy.config.tables import (
    Config,
    Listen,
    Log,
    Notebooks,
    Site,
    State,
    Tls,
    anchored,
)
from ipyproxy.config.values import Ports, RefusedError

__all__ = [
    "FLAGS",
    "Auth",
    "AuthRule",
    "Config",
    "ConfigError",
    "Galaxy",
    "Health",
    "Limits",
    "Listen",
    "Log",
    "Notebooks",
    "Ports",
    "RefusedError",
    "RouteEntry",
    "Site",
    "State",
    "Timeouts",
    "Tls",
    "anchored",
    "parse",
]
