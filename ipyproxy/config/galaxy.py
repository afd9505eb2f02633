"""The table ``[galaxy]`` of the configuration: where Galaxy's interactive tools are found.

Knows what Galaxy's own configuration says of them. Knows nothing of TOML or of how one is served.
"""

# No "from __future__ import annotations" here: cattrs reads the annotations at run time.

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

import attrs

from ipyproxy.config.values import RefusedError, matching, read_domain, read_network, refused
from ipyproxy.galaxy.spelling import MapPlace, PostgreSQLMap, read_place

_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


def _read_map(value: object) -> MapPlace | None:
    if value == "":
        return None
    try:
        return read_place(value if isinstance(value, str) else "")
    except ValueError as error:
        # A URL may hold a password.
        shown = value if isinstance(value, str) and "@" not in value else "..."
        raise refused(shown, str(error)) from None


@attrs.frozen
class Galaxy:
    """Galaxy's interactive tools: the map that Galaxy keeps of them, and where they are reached.

    ``base`` and ``prefix`` are Galaxy's interactivetools_base_path and interactivetools_prefix.
    Below ``host`` tools that need a host of their own have one. They may run in ``networks`` only.
    """

    map: Annotated[MapPlace | None, _read_map] = None
    base: Annotated[
        str,
        matching(r"/|(/(?!\.\.?(/|$))[A-Za-z0-9._~-]+)+/?", "a path such as / or /galaxy"),
    ] = "/"
    prefix: Annotated[
        str,
        matching(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "a word such as interactivetool"),
    ] = "interactivetool"
    host: Annotated[str, read_domain] = ""
    networks: tuple[Annotated[IPv4Network | IPv6Network, read_network], ...] = _LOOPBACK

    def __attrs_post_init__(self) -> None:
        """Refuse a driver for the map that is not installed."""
        if isinstance(self.map, PostgreSQLMap) and not _has_psycopg():
            why = "needs psycopg: pip install 'ipyproxy[postgresql]', or Debian's python3-psycopg"
            raise RefusedError(why, key="map")

    @property
    def path(self) -> str:
        """The path that all tools are below; gx-it-proxy's proxyPathPrefix."""
        return f"{self.base.rstrip('/')}/{self.prefix}/ep"

    @property
    def domain(self) -> str:
        """The name that the hosts of tools are below; empty: tools have none."""
        return f"ep.{self.prefix}.{self.host}" if self.map and self.host else ""


def _has_psycopg() -> bool:
    from importlib.util import find_spec

    return find_spec("psycopg") is not None
