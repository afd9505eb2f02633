"""The class ``IPyProxy``, in JupyterHub's environment, against a proxy that runs as a service."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.processes import free_port
from tests.integration.proxy import Proxy

from .programs import ROOT, jupyterhub

pytestmark = pytest.mark.integration

SEVEN = Path(__file__).parent / "inside" / "seven.py"
TOKEN = "a-token-that-only-these-two-know"


@pytest.mark.parametrize("by", ["socket", pytest.param("port", marks=pytest.mark.soak)])
def test_the_hub_s_calls(tmp_path: Path, by: str) -> None:
    """What the class does for the hub is seen in what the proxy serves."""
    check(tmp_path, by, host_routing=False)


@pytest.mark.soak
def test_the_hub_s_calls_with_subdomains(tmp_path: Path) -> None:
    check(tmp_path, "socket", host_routing=True)


def check(directory: Path, by: str, *, host_routing: bool) -> None:
    """Run the file inside against a service that has its API on a UNIX socket or on a port."""
    token_file = directory / "token"
    token_file.write_text(f"{TOKEN}\n")
    token_file.chmod(0o600)
    api = f"unix:{directory}/hub.sock" if by == "socket" else f"127.0.0.1:{free_port()}"
    names = 'site.hosts = ["localhost", "host.name", "other.host"]\n'
    table = f'{names}[jupyterhub]\napi = "{api}"\ntoken_file = "{token_file}"\n'
    front = Proxy(directory, f"{table}host_routing = {str(host_routing).lower()}\n")
    try:
        where = {
            "IPYPROXY_API": api if by == "socket" else f"http://{api}",
            "IPYPROXY_PUBLIC": front.origin,
            "IPYPROXY_TOKEN": TOKEN,
            "IPYPROXY_HOSTS": "yes" if host_routing else "",
            # Not that of an installation: the code that these tests import.
            "PYTHONPATH": str(ROOT),
        }
        command = [str(jupyterhub() / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += ["--noconftest", "-c", os.devnull, "-o", "asyncio_mode=auto", str(SEVEN)]
        done = subprocess.run(
            command, env={**os.environ, **where}, cwd=directory, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{done.stdout}\n{front.child.log_tail()}"
        assert "Traceback" not in front.child.log()
    finally:
        assert front.child.stop() == 0, front.child.log_tail()
