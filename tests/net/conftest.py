"""Plain transports on real sockets, and the poll that serves them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.net.lines import Line
from tests.polls import Poll, connected


@pytest.fixture
def poll() -> Poll:
    return Poll()


@pytest.fixture
def line(poll: Poll) -> Iterator[Line]:
    with connected() as (ours, theirs):
        yield Line(poll, ours, theirs)


@pytest.fixture
def narrow(poll: Poll) -> Iterator[Line]:
    """A line on which the kernel takes little at once."""
    with connected(buffers=4096) as (ours, theirs):
        yield Line(poll, ours, theirs)
