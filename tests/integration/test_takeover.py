"""Another user of the same host takes the port of a notebook that has stopped."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from .live import ask
from .processes import poll
from .proxy import Proxy
from .sentinel import Sentinel

PYTHON = "/usr/bin/python3"
#: Listens, says so, and counts who comes until its input ends.
MALLORY = """
import select, socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("here", flush=True)
accepts = 0
while sys.stdin not in (ready := select.select([server, sys.stdin], [], [])[0]):
    server.accept()[0].close()
    accepts += 1
print(accepts, flush=True)
"""

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.getuid() != 0, reason="only root can act as a second user"),
    pytest.mark.skipif(
        not (shutil.which("setpriv") and Path(PYTHON).exists()),
        reason=f"needs setpriv and {PYTHON} to run a program as a second user",
    ),
]


@contextmanager
def mallory(port: int) -> Iterator[list[int]]:
    """The second user listens on *port*; afterwards the list has how many connections came."""
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", PYTHON, "-I", "-c"]
    process = subprocess.Popen(
        [*command, MALLORY, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={},
        cwd="/",
    )
    assert process.stdout is not None
    accepts: list[int] = []
    try:
        assert process.stdout.readline() == "here\n"
        yield accepts
    finally:
        accepts.append(int(process.communicate(timeout=30)[0] or -1))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy that serves root's notebooks only, and looks at them often."""
    config = '[notebooks]\nowners = ["root"]\n[health]\ninterval = 0.2\nbackoff_max = 0.3\n'
    proxy = Proxy(tmp_path_factory.mktemp("guarded"), config)
    yield proxy
    proxy.child.stop()
    assert "Traceback" not in proxy.child.log()


def test_whoever_takes_the_port_gets_nothing(guarded: Proxy) -> None:
    with httpx.Client(verify=guarded.client_tls(), base_url=guarded.origin) as browser:
        with Sentinel() as notebook:
            port = notebook.port
            address = f"/ipython/{port}/"
            assert browser.get(address).status_code == 200
        with mallory(port) as accepts:
            for _ in range(10):
                assert browser.get(address).status_code == 403
                assert ask(guarded, address, websocket=True) == 403
                assert browser.get(f"/_ipyproxy/state/{port}").status_code == 200
        assert accepts == [0]
        with Sentinel(port):
            # Meanwhile the port counted as one where nobody listens.
            poll(
                lambda: browser.get(address).status_code == 200 or None,
                seconds=30,
                waiting_for="the notebook to be served again",
            )
            assert ask(guarded, address, websocket=True) == 101
    assert "foreign-port" in guarded.child.log()


def test_without_owners_it_is_anybody_s(proxy: Proxy) -> None:
    with httpx.Client(verify=proxy.client_tls(), base_url=proxy.origin) as browser:
        with Sentinel() as notebook:
            port = notebook.port
            assert browser.get(f"/ipython/{port}/").status_code == 200
        with mallory(port) as accepts:
            browser.get(f"/ipython/{port}/")
        assert accepts[0] > 0
