"""One proxy with the limits that it has by itself, and a notebook that the test plays."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

from tests.integration.proxy import Proxy

from .streams import Notebook, Stream, browse

#: Probes would connect to the notebook too; a test wants to know who does.
UNWATCHED = 'health.mode = "off"\n'


@pytest.fixture(scope="session")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The proxy under test."""
    running = Proxy(tmp_path_factory.mktemp("live"), UNWATCHED)
    yield running
    running.child.stop()


@pytest.fixture(scope="session")
def tls(front: Proxy) -> ssl.SSLContext:
    """What browsers need to trust the proxy."""
    return front.client_tls()


@pytest.fixture
def browser(front: Proxy, tls: ssl.SSLContext) -> Iterator[Stream]:
    """A browser's connection."""
    with browse(front.port, tls) as stream:
        yield stream


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    """A port of a notebook."""
    made = Notebook()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def no_traceback(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test during which the proxy logged a traceback."""
    running = [used for used in request.node.funcargs.values() if isinstance(used, Proxy)]
    seen = [len(proxy.child.log()) for proxy in running]
    yield
    for proxy, before in zip(running, seen, strict=True):
        assert "Traceback" not in (new := proxy.child.log()[before:]), new
