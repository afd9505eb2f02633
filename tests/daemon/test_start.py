"""How much is loaded before the first browser is served: what everybody waits for, and pays for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

START = """\
import os, sys
from ipyproxy.tap import Options, makeService
options = Options()
options.parseOptions(["--config", sys.argv[1]])
service = makeService(options)
service.privilegedStartService()
service.startService()
print(*sys.modules)
sys.stdout.flush()
os._exit(0)
"""

# What each is for, and when it is loaded instead.
PUT_OFF = {
    "ipyproxy.auth.forward": "a rule that asks another server",
    "twisted.web.client": "the same, and tls.acme",
    "ipyproxy.acme": "tls.acme",
    "ipyproxy.daemon.certificates": "the same",
    "twisted.web.http": "never: the server is our own",
    "twisted.web.server": "the same",
    "twisted.spread": "what twisted.web.server loads besides",
    "ipyproxy.cli": "the command line",
    "ipyproxy.config.schema": "the same",
    "ipyproxy.cli.demo": "the same",
    "ipyproxy.cli.doctoring": "the same",
}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The modules that a start with the defaults loads."""
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
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("name", PUT_OFF)
def test_a_start_does_not_wait_for(name: str, started: set[str]) -> None:
    assert name not in started


@pytest.mark.parametrize("name", ["ipyproxy.websocket.handshake", "ipyproxy.status.metrics"])
def test_what_everybody_may_need_is_there_before_rights_are_given_up(
    name: str, started: set[str]
) -> None:
    """Whom ``--uid`` makes it may not be able to read a file of Python's."""
    assert name in started
