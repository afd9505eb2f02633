"""A server beside the public one, for programs and administrators, of whom there are few.

Knows how it differs: nobody is slowed down, and nobody's requests are counted or logged. Knows
nothing of what is served.
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
    """A server of ``site`` that has so many connections at most, be they one client's."""
    return HTTPServer(
        reactor,
        site,
        limits,
        Clients(ClientsLimits(connections, connections)),
        TrustedProxies(),
        lambda request, duration: None,
    )
