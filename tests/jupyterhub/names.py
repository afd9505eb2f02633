"""A plugin for pytest: every name below localhost.jovyan.org is this machine, without DNS.

JupyterHub's suite uses that domain for its runs with subdomains; its real entries say the same.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any

DOMAIN = "localhost.jovyan.org"

_getaddrinfo = socket.getaddrinfo


def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
    """socket.getaddrinfo that knows the domain."""
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    ours = name == DOMAIN or name.endswith(f".{DOMAIN}")
    return _getaddrinfo("127.0.0.1" if ours else host, *arguments, **options)


socket.getaddrinfo = getaddrinfo
# Where aiodns is installed, aiohttp asks name servers by itself.
with contextlib.suppress(ImportError):
    from aiohttp import connector, resolver

    connector.DefaultResolver = resolver.ThreadedResolver
