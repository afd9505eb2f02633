"""The hosts that the proxy serves: those of its configuration and of its certificates.

Knows names only. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from ipyproxy.config import Config
from ipyproxy.net.hosts import covers
from ipyproxy.tls import Certificate


def answered_hosts(config: Config, certificates: Iterable[Certificate]) -> set[str]:
    """The served hosts; ``*.`` stands for one label."""
    hosts = {name for each in certificates for name in each.names}
    hosts.update(config.site.hosts, config.certificate_names)
    hosts.update(route.host for route in config.routes if route.host)
    if config.galaxy.domain:
        # Tools at a path are served without a certificate for these hosts.
        hosts.update((config.galaxy.host, f"*.{config.galaxy.domain}"))
    if config.site.notebook_domain:
        hosts.add(f"*.{config.site.notebook_domain}")
    return hosts


def have_in_common(host: str, other: str) -> bool:
    """Whether a host matches both; empty stands for any host."""
    return not host or not other or host == other or covers([host], other) or covers([other], host)
