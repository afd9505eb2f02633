"""The table ``[galaxy]``: Galaxy's interactive tools.

Knows the related keys of Galaxy's own configuration. Knows nothing of TOML or of how a tool is
served.
"""

# No "from __future__ import annotations" here: cattrs reads the annotations at run time.

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

import attrs

from ipyproxy.config.database import shown, take_psycopg
from ipyproxy.config.values import matching, read_domain, read_network, refused
from ipyproxy.database.place import PostgreSQL
from ipyproxy.galaxy.spelling import MapPlace, read_place

_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


def _read_map(value: object) -> MapPlace | None:
    if value == "":
        return None
    try:
        return read_place(value if isinstance(value, str) else "")
    except ValueError as error:
        raise refused(shown(value), str(error)) from None


@attrs.frozen
class Galaxy:
    """Galaxy's interactive tools: the map in which Galaxy lists them, and their public addresses.

    ``base`` and ``prefix`` are Galaxy's interactivetools_base_path and interactivetools_prefix.
    Tools that need their own host have one below ``host``. Tools may only run in ``networks``.
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
        if isinstance(self.map, PostgreSQL):
            take_psycopg("map")

    @property
    def path(self) -> str:
        """The path above all tools; gx-it-proxy's proxyPathPrefix."""
        return f"{self.base.rstrip('/')}/{self.prefix}/ep"

    @property
    def domain(self) -> str:
        """The domain above the tools' own hosts; empty: they have none."""
        return f"ep.{self.prefix}.{self.host}" if self.map and self.host else ""
