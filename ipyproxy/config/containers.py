"""The table ``containers``: the engine whose containers get routes.

Knows what can be configured. Knows nothing of TOML, or of how an engine is queried.
"""

# No "from __future__ import annotations" here: cattrs reads the annotations at run time.

from typing import Annotated

import attrs

from ipyproxy.config.routes import read_servers
from ipyproxy.config.values import SHAPES, refused
from ipyproxy.net.address import TCPAddress, UNIXPath

_EXAMPLE = "/run/docker.sock, nor http://127.0.0.1:2375"


def _read_engine(value: object) -> TCPAddress | UNIXPath | None:
    """Read the address of an engine; the empty string for none."""
    if value == "":
        return None
    if not isinstance(value, str):
        raise refused(value, f"is no socket such as {_EXAMPLE}")
    (server,) = read_servers(f"unix:{value}" if value.startswith("/") else value)
    if server.tls_name or not isinstance(server.address, TCPAddress | UNIXPath):
        raise refused(value, f"is no socket such as {_EXAMPLE}")
    return server.address


SHAPES[_read_engine] = {"type": "string"}


@attrs.frozen
class Containers:
    """The address of the engine; None: containers get no routes."""

    socket: Annotated[TCPAddress | UNIXPath | None, _read_engine] = None
