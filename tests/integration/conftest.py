"""What the integration tests share: one proxy, its upstreams, and clients that go through it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from .client import Client
from .jupyter import ON_PURPOSE, Classic, Jupyter, Lab, notebook_port
from .processes import tail
from .proxy import Proxy


@pytest.fixture(scope="session")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The proxy under test."""
    running = Proxy(tmp_path_factory.mktemp("proxy"))
    yield running
    assert running.child.stop() == 0, running.child.log_tail()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab as it comes, with a token."""
    pytest.importorskip("jupyterlab")
    running = Lab(tmp_path_factory.mktemp("lab"), notebook_port())
    yield running
    running.child.stop()


@pytest.fixture(scope="session")
def classic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Classic]:
    """Jupyter Notebook with a password and no token, and WebSocket compression."""
    pytest.importorskip("notebook")
    running = Classic(tmp_path_factory.mktemp("classic"), notebook_port())
    yield running
    running.child.stop()


@pytest.fixture
def client(proxy: Proxy, lab: Lab) -> Iterator[Client]:
    """A program that carries JupyterLab's token."""
    made = Client(proxy.origin, lab.base_url, tls=proxy.client_tls(), token=lab.token)
    yield made
    made.close()


@pytest.fixture
def guest(proxy: Proxy, lab: Lab) -> Iterator[Client]:
    """Someone who is not logged in to JupyterLab yet."""
    made = Client(proxy.origin, lab.base_url, tls=proxy.client_tls())
    yield made
    made.close()


@pytest.fixture
def member(guest: Client, lab: Lab) -> Client:
    """Someone who has logged in to JupyterLab by its form, and has only cookies to show.

    Jupyter checks Origin, Referer and XSRF for cookies alone; a token passes all of them.
    """
    guest.log_in(lab.token)
    return guest


@pytest.fixture
def galaxy_user(proxy: Proxy, classic: Classic) -> Iterator[Client]:
    """Someone who is not logged in to the classic server yet."""
    made = Client(proxy.origin, classic.base_url, tls=proxy.client_tls())
    yield made
    made.close()


@pytest.fixture(scope="session")
def kernel(proxy: Proxy, lab: Lab) -> str:
    """The id of a running kernel of JupyterLab's, shared by tests that leave it usable."""
    starter = Client(proxy.origin, lab.base_url, tls=proxy.client_tls(), token=lab.token)
    try:
        return starter.start_kernel()
    finally:
        starter.close()


@pytest.fixture(autouse=True)
def nothing_blocked(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test during which Jupyter refused something that it was not meant to refuse."""
    servers = [used for used in request.node.funcargs.values() if isinstance(used, Jupyter)]
    before = [len(server.settled_log()) for server in servers]
    yield
    for server, seen in zip(servers, before, strict=True):
        refusals = [
            line
            for line in server.settled_log()[seen:].splitlines()
            if ("Blocking" in line or " 403 " in line) and ON_PURPOSE not in line
        ]
        assert not refusals, "\n".join(["Jupyter refused:", *refusals])


@pytest.fixture(autouse=True)
def no_traceback(proxy: Proxy) -> Iterator[None]:
    """Fail a test during which the proxy logged a traceback."""
    seen = len(proxy.child.log())
    yield
    assert "Traceback" not in (new := proxy.child.log()[seen:]), new


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the ends of all logs under a failure."""
    report = yield
    if report.failed:
        shared = [used for used in item.funcargs.values() if isinstance(used, Jupyter | Proxy)]
        logs = [used.child.log_file for used in shared]
        if isinstance(own := item.funcargs.get("tmp_path"), Path):
            logs += sorted(own.rglob("*.log"))
        report.sections += [(f"end of {log}", tail(log)) for log in logs]
    return report
