"""A server beside the public one, for a few programs and administrators.

Knows how it differs: it has no rate limits, and does not count or log requests. Knows nothing of
what is served.
"""

from __future__ import annotations

from ipyproxy.clock import Clock
from ipyproxy.http.forwarding import TrustedProxies
from ipyproxy.server.clients import Clients, ClientsLimits
from ipyproxy.server.server import HTTPServer
from ipyproxy.server.site import ChannelLimits, Site


def private_server(
    reactor: Clock, site: Site, limits: ChannelLimits, connections: int
) -> HTTPServer:
    """Make a server of ``site`` with a limit of connections, all of which one client may have."""
    return HTTPServer(
        reactor,
        site,
        limits,
        Clients(ClientsLimits(connections, connections)),
        TrustedProxies(),
        lambda request, duration: None,
    )
