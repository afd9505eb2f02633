"""Probes of a real Jupyter: they count as nobody's activity, and leave no connection behind."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

import pytest

from tests.integration.jupyter import Jupyter, notebook_port
from tests.integration.proxy import Proxy

from .mortal import seconds_until

pytestmark = [pytest.mark.integration, pytest.mark.soak]


def established(port: int) -> int:
    """How many connections to *port* are open."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(line[2].endswith(f":{port:04X}") and line[3] == "01" for line in lines)


@pytest.mark.parametrize(
    "manner", ['mode = "tcp"', 'mode = "http"', 'mode = "http"\npath = "api/contents"']
)
def test_they_are_no_activity(tmp_path: Path, manner: str) -> None:
    """The server asks nobody who they are, so that it would count every request."""
    jupyter = Jupyter(
        tmp_path,
        notebook_port(),
        application="jupyter_server",
        credential={},
        options=["--IdentityProvider.token="],
    )
    try:
        configuration = f'[health]\n{manner}\nidle_interval = 0.2\nports = "{jupyter.port}"\n'
        proxy = Proxy(tmp_path, configuration)

        def last_activity() -> str:
            url = f"http://127.0.0.1:{jupyter.port}{jupyter.base_url}api/status"
            with urllib.request.urlopen(url, timeout=10) as answer:
                return str(json.load(answer)["last_activity"])

        try:
            up = f"port {jupyter.port}: unknown -> up"
            seconds_until(lambda: up in proxy.child.log(), at_most=20)
            before = last_activity()
            open_at = []
            for _ in range(50):
                open_at.append(established(jupyter.port))
                time.sleep(0.05)
            assert last_activity() == before
            # One is under way at once, for a quarter of a second, and between two there is none.
            assert max(open_at) <= 1
            assert open_at.count(0) > 10
        finally:
            proxy.child.stop()
        if "http" in manner:
            assert jupyter.settled_log().count("no_track_activity=1") > 5
    finally:
        jupyter.child.stop()
