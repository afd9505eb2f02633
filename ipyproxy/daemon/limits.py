"""Translates the limits of a configuration for each part of the service.

Knows the configuration, and how many file descriptors the process may have.
"""

from __future__ import annotations

import attrs
from twisted.logger import Logger

from ipyproxy.config import Config
from ipyproxy.http1.head import HeadLimits
from ipyproxy.net.sockets import claim_descriptors
from ipyproxy.server.clients import (
    ClientsLimits,
    Rate,
    connections_within,
    descriptors_for,
    excess_beside,
)
from ipyproxy.server.site import ChannelLimits
from ipyproxy.upstream.connection import ClientLimits

_log = Logger(namespace="ipyproxy.service")


def within_descriptors(config: Config) -> Config:
    """``config`` with no more connections than the file descriptors suffice for.

    So a client that comes when all are in use is refused at once and does not wait in the backlog.
    """
    wanted = config.limits.connections
    have = claim_descriptors(descriptors_for(wanted))
    fitting = connections_within(have)
    if fitting >= wanted:
        return config
    _log.warn(
        "only {fitting} connections at once instead of {wanted}: this process may have no more "
        "than {have} descriptors; raise its LimitNOFILE",
        fitting=fitting,
        wanted=wanted,
        have=have,
    )
    return attrs.evolve(config, limits=attrs.evolve(config.limits, connections=fitting))


def channel_limits(config: Config) -> ChannelLimits:
    """Limits of a client's connection."""
    limits, timeouts = config.limits, config.timeouts
    return ChannelLimits(
        head=HeadLimits(limits.head_bytes, limits.head_fields, limits.target_bytes),
        body_bytes=limits.body_bytes,
        body_rate=limits.body_rate,
        buffer_bytes=limits.buffer_bytes,
        handshake_timeout=timeouts.handshake,
        head_timeout=timeouts.head,
        body_timeout=timeouts.body,
        keepalive_timeout=timeouts.keepalive,
    )


def clients_limits(config: Config) -> ClientsLimits:
    """Limits of clients."""
    limits = config.limits
    return ClientsLimits(
        limits.connections,
        limits.connections_per_client,
        connecting=Rate.of(limits.connection_rate, limits.connection_burst),
        requests=Rate.of(limits.request_rate, limits.request_burst),
        login_failures=limits.login_failures,
        excess=excess_beside(limits.connections),
    )


def upstream_limits(config: Config) -> ClientLimits:
    """Limits of connections to upstreams."""
    return ClientLimits(
        idle_connections=config.limits.connections,
        response_head_bytes=config.limits.response_head_bytes,
        buffer_bytes=config.limits.buffer_bytes,
        connect_timeout=config.timeouts.connect,
        response_timeout=config.timeouts.response,
        idle_timeout=config.timeouts.upstream_idle,
    )
