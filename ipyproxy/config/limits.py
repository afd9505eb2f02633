"""The tables of limits: sizes, counts, time-outs, and health checks.

Knows what can be configured. Knows nothing of TOML, of files or of the command line.
"""

# No "from __future__ import annotations" here: cattrs reads the annotations at run time.

from typing import Annotated, Literal

import attrs

from ipyproxy.config.values import (
    NO_PORTS,
    Ports,
    RefusedError,
    count,
    matching,
    rate,
    read_optional_ports,
    seconds,
    size,
)


@attrs.frozen
class Limits:
    """Counts, sizes in bytes, rates in bytes or times a second."""

    connections: Annotated[int, count(1, 1_000_000)] = 4096
    connections_per_client: Annotated[int, count(1, 1_000_000, "a share")] = 0
    connections_per_port: Annotated[int, count(1, 1_000_000)] = 128
    connection_rate: Annotated[float, rate(0.01, 1_000_000)] = 50.0
    connection_burst: Annotated[int, count(1, 1_000_000)] = 1024
    request_rate: Annotated[float, rate(0.01, 1_000_000)] = 500.0
    request_burst: Annotated[int, count(1, 1_000_000)] = 20000
    login_failures: Annotated[int, count(1, 1_000_000)] = 10
    head_bytes: Annotated[int, size(1024, 2**20)] = 32768
    head_fields: Annotated[int, count(10, 10_000)] = 100
    target_bytes: Annotated[int, size(256, 2**20)] = 8192
    body_bytes: Annotated[int, size(1, 2**40, "unlimited")] = 0
    response_head_bytes: Annotated[int, size(1024, 2**24)] = 65536
    buffer_bytes: Annotated[int, size(4096, 2**24)] = 65536
    body_rate: Annotated[int, size(1, 2**30, "no floor")] = 512
    message_bytes: Annotated[int, size(1, 2**40, "unlimited")] = 0


@attrs.frozen
class Timeouts:
    """Deadlines and idle times, in seconds."""

    handshake: Annotated[float, seconds(0.1, 600)] = 10.0
    head: Annotated[float, seconds(0.1, 600)] = 10.0
    body: Annotated[float, seconds(0.1, 3600)] = 60.0
    keepalive: Annotated[float, seconds(0.1, 3600)] = 75.0
    # Well under a minute; otherwise notebook containers that count connections would never stop.
    upstream_idle: Annotated[float, seconds(0.1, 50)] = 15.0
    connect: Annotated[float, seconds(0.1, 60)] = 2.0
    response: Annotated[float, seconds(0.1, 86400, "never")] = 300.0
    drain: Annotated[float, seconds(0, 3600)] = 30.0
    drain_websocket: Annotated[float, seconds(0, 86400)] = 600.0


@attrs.frozen
class Health:
    """How ports are probed; intervals in seconds, ``fall`` and ``rise`` in probes.

    ``ports`` are probed even without requests. ``dead_after`` is how long an http probe may get no
    answer until the notebook counts as dead.
    """

    mode: Literal["tcp", "http", "off"] = "tcp"
    path: Annotated[
        str,
        matching(
            r"(?!/)(?!(.*/)?\.\.?([/?]|$))[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*",
            "a path below a notebook's prefix, such as api",
        ),
    ] = "api"
    ports: Annotated[Ports, read_optional_ports] = NO_PORTS
    interval: Annotated[float, seconds(0.1, 3600)] = 2.0
    idle_interval: Annotated[float, seconds(0.1, 3600)] = 10.0
    timeout: Annotated[float, seconds(0.1, 60)] = 1.0
    fall: Annotated[int, count(1, 100)] = 3
    rise: Annotated[int, count(1, 100)] = 1
    dead_after: Annotated[float, seconds(1, 86400, "never")] = 0.0
    backoff_max: Annotated[float, seconds(0.1, 3600)] = 30.0

    def __attrs_post_init__(self) -> None:
        """Refuse ``dead_after`` if probes send no request."""
        if self.dead_after and self.mode != "http":
            raise RefusedError('needs mode = "http" beside it', key="dead_after")
