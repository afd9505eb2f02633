"""Records of upstreams as the table makes them."""

from __future__ import annotations

from typing import Any

from ipyproxy.net.address import loopback
from ipyproxy.upstream.upstream import Upstream


def notebook(port: int, **known: Any) -> Upstream:
    """The record of the notebook on ``port``, with what is ``known`` of it."""
    return Upstream(loopback(port), str(port), port, **known)
