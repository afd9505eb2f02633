"""How much is loaded before the first browser is served: what everybody waits for, and pays for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

START = """\
import os, sys
from twisted.internet import reactor
from ipyproxy.tap import Options, makeService
options = Options()
options.parseOptions(["--config", sys.argv[1]])
service = makeService(options)
service.privilegedStartService()
service.startService()
print(*sys.modules)
from ipyproxy.web.bridge import prepare
print(any(call.func is prepare for call in reactor.getDelayedCalls()))
sys.stdout.flush()
os._exit(0)
"""

# What each is for, and when it is loaded instead.
PUT_OFF = {
    "autobahn": "WebSockets; a moment after the start, see ipyproxy.web.bridge.prepare",
    "ipyproxy.handshake": "the same",
    "cbor2": "part of Autobahn that is of no use here",
    "click": "the same",
    "prometheus_client": "the first scrape of metrics",
    "ipyproxy.status.metrics": "the same",
    "http.server": "part of Prometheus' client",
    "importlib.metadata": "the first look at the status page, which has versions",
    "passlib": "the first password",
    "argon2": "the same",
    "ipyproxy.auth.forward": "a rule that asks another server",
    "twisted.web.client": "the same",
    "twisted.web.http": "never: the server is our own",
    "twisted.web.server": "the same",
    "twisted.spread": "what twisted.web.server loads besides",
    "ipyproxy.commands": "the command line",
    "ipyproxy.config.schema": "the same",
    "ipyproxy.demo": "the same",
    "ipyproxy.doctor": "the same",
}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], str]:
    """The modules that a start with the defaults loads, and whether WebSockets are prepared for."""
    directory = tmp_path_factory.mktemp("start")
    config = directory / "ipyproxy.toml"
    config.write_text(
        f'[listen]\nhttps = "tcp:0:interface=127.0.0.1"\n[state]\ndirectory = "{directory}"\n'
    )
    done = subprocess.run(
        [sys.executable, "-c", START, config],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    modules, prepares = done.stdout.splitlines()[-2:]
    return set(modules.split()), prepares


@pytest.mark.parametrize("name", PUT_OFF)
def test_a_start_does_not_wait_for(name: str, started: tuple[set[str], str]) -> None:
    modules, _ = started
    assert "ipyproxy.web.bridge" in modules
    assert name not in modules


def test_what_the_first_websocket_needs_is_loaded_soon(
    started: tuple[set[str], str],
) -> None:
    _, prepares = started
    assert prepares == "True"
